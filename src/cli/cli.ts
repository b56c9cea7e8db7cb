#!/usr/bin/env node
// The `fasp` binary. Commands run in a worker (main.ts), so that this thread obeys signals whatever a native call does.
// Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
import { existsSync, rmdirSync, rmSync } from 'node:fs'
import { getHeapStatistics } from 'node:v8'
import { SHARE_ENV, Worker } from 'node:worker_threads'
import { bytes } from '../base/display.ts'
import { isOneOfSeveral, LEAD_MS, launchedBy } from '../base/launcher.ts'
import { memoryLimits } from '../base/memory-limits.node.ts'
import type { Unfinished } from '../base/unfinished.node.ts'
import { BUG, isNoMemory, outOfMemory } from './command.ts'

/** This process among those that a launcher has started; alone it is 0. */
const launched = launchedBy(process.env)
const rank = isOneOfSeveral(launched) ? launched.rank : 0

/** Time for a command to stop and clear up by itself after a signal. Open MPI ends its processes a second after it. */
const PATIENCE_MS = isOneOfSeveral(launched) ? 250 : 800

/** What a worker does not know of the streams that its output goes to. */
export interface Terminals {
  readonly stdout: Terminal
  readonly stderr: Terminal
}
interface Terminal {
  readonly isTTY: boolean
  readonly columns: number | undefined
}

/** What this thread says to the worker: to stop, or the new width of the terminal. */
export type Word = 'abort' | number

const unfinished = new Map<string, Unfinished['state']>()
const existing = (state: Unfinished['state']) =>
  [...unfinished].flatMap(([path, is]) => (is === state && existsSync(path) ? [path] : []))

/** What was unfinished when the signal came. */
let begun: string[] = []

const KEPT = 'what is done is kept in a hidden folder beside the output'
const SAVED = process.argv[2] === 'ui' ? KEPT : `${KEPT}, and the same command with --resume goes on from there`

/** Of the run itself, and not in its place yet. */
const isSaved = () => [...unfinished.values()].includes('saved')

let told = false

function sayInterrupted(): void {
  if (told || rank > 0) return // the worker may end by itself while it is ended; of several the root says it
  told = true
  const removed = begun.length > 0 && !begun.some(path => existsSync(path))
  const said = [
    'fasp: interrupted',
    ...(removed ? ['unfinished output was removed'] : []),
    ...(existing('resumable').length > 0 ? ['what is done is kept, and the same command goes on from there'] : []),
    ...(isSaved() ? [SAVED] : []),
  ]
  process.stderr.write(`${said.join('; ')}.\n`)
}

function start(): Worker {
  const [stdout, stderr] = [process.stdout, process.stderr].map(({ isTTY, columns }) => ({ isTTY, columns }))
  const worker = new Worker(new URL('./main.js', import.meta.url), {
    argv: process.argv.slice(2),
    env: SHARE_ENV, // native libraries read variables that commands set
    workerData: { stdout, stderr } satisfies Terminals,
    resourceLimits: { maxOldGenerationSizeMb: getHeapStatistics().heap_size_limit / 2 ** 20 }, // of this thread
  })
  worker.on('message', ({ path, state }: Unfinished) => {
    if (state === 'kept') unfinished.delete(path)
    else unfinished.set(path, state)
  })
  worker.on('error', (error: NodeJS.ErrnoException) => {
    const { code, message } = error
    if (code === 'ERR_WORKER_OUT_OF_MEMORY') fail(MEMORY, error)
    else fail(isNoMemory(message) ? outOfMemory(message) : `${message}. ${BUG}`, error)
  })
  worker.on('exit', code => {
    if (code === 130) sayInterrupted()
    else if (code !== 0 && isSaved()) process.stderr.write(`fasp: ${SAVED}.\n`)
    process.exitCode ??= code
  })
  process.stderr.on('resize', () => worker.postMessage(process.stderr.columns satisfies Word))
  return worker
}

const MEMORY =
  'JavaScript has no memory left. Is a file crafted to take it? ' +
  'If not, NODE_OPTIONS=--max-old-space-size=<MB> gives it more.'

/** Something ended the worker, or keeps it from starting. */
function fail(problem: string, error?: Error): void {
  removeUnfinished()
  process.exitCode = 1
  process.stderr.write(`fasp: ${rank > 0 ? `rank ${rank}: ` : ''}${problem}\n`)
  if (process.env.FASP_LOG === 'debug') console.error(error)
}

function removeUnfinished(): void {
  for (const [path, state] of [...unfinished].reverse())
    try {
      if (state === 'temporary') rmSync(path, { recursive: true, force: true, maxRetries: 3 })
      if (state === 'parent') rmdirSync(path)
    } catch {} // somebody uses it
}

/** Launchers then end the others. */
const die = () => process.removeAllListeners('SIGINT') && process.kill(process.pid, 'SIGINT')

/** Obeys a signal where the worker does not. Not by `process.exit`, which waits for native code in the worker. */
function end(worker: Worker): void {
  if (rank === 0) void worker.terminate() // it may write no more
  removeUnfinished()
  sayInterrupted()
  if (rank > 0) setTimeout(die, LEAD_MS)
  else die()
}

function obeySignals(worker: Worker): void {
  let asked = false
  const interrupt = () => {
    if (asked) return end(worker) // a second Ctrl-C does not wait
    asked = true
    begun = existing('temporary')
    worker.postMessage('abort' satisfies Word)
    setTimeout(() => end(worker), PATIENCE_MS).unref()
  }
  process.on('SIGINT', interrupt).on('SIGTERM', interrupt).on('SIGHUP', interrupt)
}

process.stdout.on('error', error => {
  if (error.code === 'EPIPE') process.exit(0) // `fasp … | head`
  process.stderr.write(`fasp: cannot write to stdout (${error.code}); send it elsewhere.\n`)
  process.exit(1)
})
process.stderr.on('error', () => {}) // whoever read the progress has gone: no reason to leave half an output behind

/** Address space of a worker and ONNX Runtime without a model (Node 20, x64). With less, V8 ends the process. */
const START_BYTES = 1.1e9

try {
  process.cwd()
  const { left = Infinity } = memoryLimits().address ?? {}
  if (left < START_BYTES)
    fail(
      `${bytes(START_BYTES)} of address space are needed to start, and ${bytes(Math.max(0, left))} are left. ` +
        'Raise the limit (ulimit -v).',
    )
  else obeySignals(start())
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException
  fail(code === 'ENOENT' ? 'the current folder is gone. Go to another one (cd).' : message, error as Error)
}
