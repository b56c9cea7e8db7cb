// The process that reads the cases of one target: started by ../fuzz.test.ts, which watches it.
// usage: child.ts TARGET SEED FROM TO FOLDER   sends what it finds, each kind once; the case it is at stands in FOLDER/current
import { mkdirSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import { FaspError } from '../../src/base/errors.ts'
import type { Files } from './target.ts'
import { makeCase, TARGETS } from './targets.ts'

export interface Found {
  readonly number: number
  readonly problem: string
}

/** What a case may take besides four times its input: buffers of fixed size, and garbage. */
const ROOM_BYTES = 64 * 2 ** 20
/** Time of the processor that a case may take. A case is too slow where each of some readings is: other work can hold one up. */
const MAX_SECONDS = 1
const MAX_READINGS = 5

const [name, seed, from, to, folder] = process.argv.slice(2)
const target = TARGETS[name]
const place = join(folder, 'files')
const current = openSync(join(folder, 'current'), 'w')
const seen = new Set<string>()
Error.stackTraceLimit = Number.POSITIVE_INFINITY // what overflowed the stack is below thousands of frames of V8's own
process.on('disconnect', () => process.exit())
mkdirSync(place, { recursive: true })

/** Sends a problem of a kind that was not sent before. */
function found(number: number, kind: string, problem: string): void {
  if (!seen.has(kind)) process.send!({ number, problem } satisfies Found)
  seen.add(kind)
}

const written = new Map<string, Uint8Array>()
function write(files: Files): void {
  for (const file of written.keys()) if (!(file in files) && written.delete(file)) rmSync(join(place, file))
  for (const [file, bytes] of Object.entries(files)) {
    if (written.get(file) === bytes) continue
    writeFileSync(join(place, file), bytes)
    written.set(file, bytes)
  }
}

/** The most that was resident, and what is allocated in buffers, which need not be resident. */
const memory = () => [process.resourceUsage().maxRSS * 1024, process.memoryUsage().arrayBuffers]
let before = memory()
/** Reads the files. @returns the time of the processor that the reading took, and what it threw */
async function read(files: Files): Promise<{ seconds: number; error?: unknown }> {
  const before = process.cpuUsage()
  let error: unknown
  try {
    await target.read(files, place)
  } catch (thrown) {
    error = thrown
  }
  const { user, system } = process.cpuUsage(before)
  return { seconds: (user + system) * 1e-6, error }
}

for (let number = Number(from); number < Number(to); number++) {
  writeSync(current, String(number).padEnd(12), 0)
  const files = makeCase(target, Number(seed), number)
  if (target.onDisk) write(files)
  const { seconds, error } = await read(files)
  if (error !== undefined && !(error instanceof FaspError)) {
    const { stack } = error instanceof Error ? error : new Error(`throws ${error}`)
    const [what, ...frames] = stack!.split('\n    at ').filter((line, i) => i === 0 || line.includes('/'))
    found(number, frames[0], [what, ...frames.slice(0, 8)].join('\n    at '))
  }
  let least = seconds
  for (let reading = 1; least > MAX_SECONDS && reading < MAX_READINGS; reading++)
    least = Math.min(least, (await read(files)).seconds)
  if (least > MAX_SECONDS) found(number, 'time', `takes ${least.toFixed(1)} s`)
  const after = memory()
  const taken = Math.max(...after.map((bytes, i) => bytes - before[i]))
  before = after
  const allowed = 4 * Object.values(files).reduce((sum, { length }) => sum + length, 0) + ROOM_BYTES
  if (taken > allowed) found(number, 'memory', `takes ${taken} bytes, allowed are ${allowed}`)
  if (number % 256 === 0) await setImmediate()
}
process.disconnect()
