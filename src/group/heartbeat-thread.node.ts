// The thread in which a process gives its sign of life. What it hears is where the root listens; the root's says so.
import { parentPort, workerData } from 'node:worker_threads'
import { type Address, Heartbeat } from './heartbeat.node.ts'

const heartbeat = new Heartbeat(workerData)
parentPort!.on('message', (address: Address) => void heartbeat.join(address))
if (workerData.rank === 0) parentPort!.postMessage(await heartbeat.listen())
