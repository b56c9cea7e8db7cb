// The sign of life of a process, by TCP between the root and each other rank: a byte a second, each way. It comes from a thread of its own
// (heartbeat-thread.node.ts), which goes on while another is in a native call, and stops where the process is stopped. Not by MPI, which
// few libraries let two threads call without a cost (docs/log.md). A connection that ends is one of a process that has ended, which the
// launcher sees; one that cannot be made is missed by nobody.
import { randomBytes } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { networkInterfaces } from 'node:os'
import { Worker } from 'node:worker_threads'
import { BEAT, HEARTBEAT, isMissing, type Missing, nobodyMissing, silentBeats, takeMissing } from './heartbeat.ts'
import type { AbsentError } from './waiting.ts'

/** Where the root listens. */
export interface Address {
  readonly hosts: readonly string[]
  readonly port: number
  /** What a rank says that it is one, and what it hears then. */
  readonly words: readonly [asked: string, answered: string]
}

/** What a beat says: that its process runs, or that it misses another and ends all, for a launcher may be slow at that. */
const [ALIVE, OVER] = ['.', '!']
/** Milliseconds for a connection, and the first line of it. */
const CONNECT = 2000
/** Characters of that line, at most. */
const LINE = 100
/** Addresses that are told of: more would not fit into `ROOM`. */
const HOSTS = 16

export interface HeartbeatOptions extends Missing {
  /** Whether all ranks are on this machine: then nobody else is listened to. */
  readonly isLocal?: boolean
  /** Milliseconds. @default BEAT */
  readonly beat?: number
}

interface Link {
  readonly rank: number
  readonly socket: Socket
  /** Beats in a row that have not come. Counted, for where this thread itself has not run, time says nothing of the others. */
  missed: number
}

export class Heartbeat {
  readonly #links = new Set<Link>()
  readonly #timer: ReturnType<typeof setInterval>
  #server?: Server

  constructor(readonly options: HeartbeatOptions) {
    this.#timer = setInterval(() => this.#beat(), options.beat ?? BEAT)
  }

  /** At the root. @throws Error of the system */
  async listen(): Promise<Address> {
    const { isLocal, size } = this.options
    const words = [0, 1].map(() => randomBytes(16).toString('hex')) as [string, string]
    const admit = async (socket: Socket) => {
      const [word, rank] = (await firstLine(socket)).split(' ')
      if (word !== words[0] || !(Number(rank) > 0 && Number(rank) < size)) return socket.destroy()
      socket.write(`${words[1]}\n`)
      return this.#watch(Number(rank), socket)
    }
    this.#server = createServer(socket => void admit(socket).catch(() => socket.destroy()))
    this.#server.listen(0, isLocal ? LOOPBACK : undefined)
    await once(this.#server, 'listening')
    const { port } = this.#server.address() as { port: number }
    return { hosts: isLocal ? [LOOPBACK] : addresses().slice(0, HOSTS), port, words }
  }

  /** At the others. @returns whether the root is where it says */
  async join({ hosts, port, words: [asked, answered] }: Address): Promise<boolean> {
    for (const host of hosts) {
      const socket = connect(port, host)
      try {
        socket.write(`${asked} ${this.options.rank}\n`)
        if ((await firstLine(socket)) !== answered) throw new Error('somebody else')
        this.#watch(0, socket)
        return true
      } catch {
        socket.destroy()
      }
    }
    return false
  }

  close(): void {
    clearInterval(this.#timer)
    this.#server?.close()
    for (const { socket } of this.#links) socket.destroy()
  }

  #watch(rank: number, socket: Socket): void {
    const link = { rank, socket, missed: 0 }
    this.#links.add(link)
    socket.on('data', text => {
      link.missed = 0
      if (text.includes(OVER)) Atomics.compareExchange(this.options.state, 0, 0, -1)
    })
    socket.on('close', () => this.#links.delete(link))
  }

  #beat(): void {
    const { rank, state } = this.options
    for (const link of this.#links)
      if (++link.missed >= silentBeats(rank)) Atomics.compareExchange(state, 0, 0, 1 + link.rank)
    for (const { socket } of this.#links) socket.write(isMissing(this.options) ? OVER : ALIVE)
  }
}

const LOOPBACK = '127.0.0.1'

/** Of this machine, those that others may reach first. */
const addresses = (): string[] =>
  Object.values(networkInterfaces())
    .flatMap(all => all ?? [])
    .filter(({ scopeid }) => !scopeid) // of a link: they need to be told by which
    .sort((a, b) => Number(a.internal) - Number(b.internal) || a.family.localeCompare(b.family))
    .map(({ address }) => address)

/** @throws Error where none comes in time */
function firstLine(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const end = () => socket.destroy()
    const timer = setTimeout(end, CONNECT)
    const hear = (chunk: string) => {
      text += chunk
      const length = text.indexOf('\n')
      if (length < 0 && text.length < LINE) return
      clearTimeout(timer)
      socket.off('data', hear)
      resolve(text.slice(0, Math.max(0, length)))
    }
    socket.setEncoding('latin1').setNoDelay().on('data', hear).on('error', end)
    socket.on('close', () => {
      clearTimeout(timer)
      reject(new Error('no answer'))
    })
  })
}

/** What a process has of the thread that beats for it. Whatever fails there, the run goes on without. */
export interface Beating {
  /** Once, when all ranks are there. @param broadcast what the root has, to all */
  connect(broadcast: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>): Promise<void>
  /** As `takeMissing`. */
  absent(): AbsentError | undefined
  close(): Promise<void>
}

/** Bytes of an address, as JSON. */
const ROOM = 1024
/** Milliseconds that all wait for the root to listen. */
const START = 5000

/** @param isOn else this rank has none, and the root tells the others so */
export function startBeating(rank: number, size: number, isLocal: boolean, isOn: boolean): Beating {
  const missing = nobodyMissing(rank, size)
  let address = Promise.resolve<Address | undefined>(undefined)
  const worker = isOn ? startThread({ ...missing, isLocal }) : undefined
  if (worker) {
    channel(HEARTBEAT).publish(missing)
    if (rank === 0)
      address = new Promise(resolve => {
        const timer = setTimeout(() => resolve(undefined), START)
        worker.on('message', resolve).on('exit', () => resolve(undefined))
        worker.on('message', () => clearTimeout(timer)).on('exit', () => clearTimeout(timer))
      })
    worker.unref()
  }
  return {
    async connect(broadcast) {
      const bytes = new Uint8Array(ROOM)
      const own = JSON.stringify((await address) ?? null)
      if (rank === 0 && own.length <= ROOM) bytes.set(new TextEncoder().encode(own))
      await broadcast(bytes)
      const told: Address | null = JSON.parse(new TextDecoder().decode(bytes).replace(/\0+$/, '') || 'null')
      if (rank > 0 && told) worker?.postMessage(told)
    },
    absent: () => takeMissing(missing),
    async close() {
      await worker?.terminate()
    },
  }
}

function startThread(options: HeartbeatOptions): Worker | undefined {
  try {
    return new Worker(THREAD, { workerData: options, stdout: true, stderr: true }).on('error', () => {})
  } catch {
    return undefined
  }
}

/** As built. */
const THREAD = new URL('./heartbeat.js', import.meta.url)
