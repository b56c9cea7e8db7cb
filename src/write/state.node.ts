// The state of a run, in a folder of its unfinished output: `manifest.json`, a file for each step that is done, and the rows that the steps to
// come go on from. The manifest is replaced last, when all that it names is on the disk: whenever a run is killed, one is there that holds.
import { createHash } from 'node:crypto'
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { bytes as shown } from '../display.ts'
import type { EngineFacts } from '../engine/facts.ts'
import { FaspError, FormatError, UsageError } from '../errors.ts'
import type { ProgressEvent } from '../events.ts'
import { hashFile, openRegular, readInto, readSmallFile } from '../formats/file.node.ts'
import { attempt } from '../formats/file-errors.node.ts'
import { describeValue, isJsonObject, type JsonObject, parseJsonObject } from '../formats/json.ts'
import { type Activations, asBytes } from '../forward/activations.ts'
import { scratchIn } from '../forward/scratch.node.ts'
import { type Doing, done, type Held, type HeldOutput, type Saved, type WrittenTensor } from '../saved.ts'
import { MANIFEST, STATE, tellUnfinished } from '../unfinished.node.ts'
import { VERSION } from '../version.ts'
import { allocatedBytes, freeBytes, syncFolder } from './place.node.ts'

/** Of the form of these files. */
const SCHEMA = 1
/** Saving takes no more than one part in so many of the time. */
const SHARE = 50
/** Seconds between two savings, at least. */
export const SAVE_EVERY = 15
/** What a step gives; the statistics of a 70 B model take some 100 MB. */
const MAX_STEP_BYTES = 2 ** 30

/** A file of the state. */
interface StateFile {
  readonly file: string
  readonly sha256: string
}

interface Manifest {
  readonly schema: number
  /** What the run is: nothing else may go on from here. */
  readonly run: JsonObject
  readonly steps: readonly (StateFile & { readonly name: string })[]
  /** `parts`: floats of each matrix, in the order of the file. */
  readonly rows?: StateFile & { readonly parts: readonly { of: string; name: string; length: number }[] }
  /** Hashes of the tensors that are written, by output and name. */
  readonly written: Readonly<Record<string, Readonly<Record<string, string>>>>
}

export interface StateOptions {
  /** What the run is: its options, and hashes of what it reads. */
  readonly run: JsonObject
  /** Seconds between two savings, at least; 0: after each step. @default 15 */
  readonly every?: number
  /** Bytes of disk that the output needs, whole. */
  readonly reserved?: number
}

/** What tells a run from all others: what it is asked for and reads, and what it runs on. As JSON has it. */
export const identityOf = (asked: object, facts: EngineFacts): JsonObject => {
  const engine = { ...facts, cores: availableParallelism(), node: process.version }
  return JSON.parse(JSON.stringify({ fasp: VERSION, ...asked, engine }))
}

/** The state in an unfinished output. @param pending its folder @param found what an earlier run has left there */
export const openState = (
  pending: string,
  { run, every = SAVE_EVERY, reserved = 0 }: StateOptions,
  found?: FoundState,
) => new State(join(pending, STATE), run, every, reserved, found)

export interface FoundState {
  readonly manifest: Manifest
  /** What each step gave. */
  readonly values: ReadonlyMap<string, unknown>
}

/** @throws UsageError where it is of another run; FormatError where it is damaged */
export async function readState(pending: string, run: JsonObject): Promise<FoundState> {
  const links = (await readdir(pending, { recursive: true, withFileTypes: true })).filter(one => one.isSymbolicLink())
  if (links.length > 0) throw damaged(join(links[0].parentPath, links[0].name), 'is a link, which fasp makes none of')
  return readStateIn(join(pending, STATE), run)
}

/** @param folder of the state */
export async function readStateIn(folder: string, run: JsonObject): Promise<FoundState> {
  const manifest = await readManifest(folder)
  checkSame(manifest.run, run, join(folder, '..'))
  const values = new Map<string, unknown>()
  for (const step of manifest.steps) values.set(step.name, await readStep(folder, step))
  return { manifest, values }
}

class State implements Saved {
  #held?: Held
  /** All that were held, by name. */
  readonly #outputs: Record<string, HeldOutput | undefined> = {}
  #manifest?: Manifest
  /** Whether what is held is what an earlier run has made of it. */
  #restored = false
  #told = false
  #on = true
  #savedAt = performance.now()
  #spent = 0
  /** Steps that no manifest names yet. */
  readonly #new: [name: string, value: unknown][] = []

  constructor(
    readonly folder: string,
    readonly run: JsonObject,
    readonly every: number,
    readonly reserved: number,
    readonly found?: FoundState,
  ) {
    this.#manifest = found?.manifest
  }

  has(name: string): boolean {
    return this.found?.values.has(name) ?? false
  }

  holds(held?: Held): void {
    this.#held = held
    this.#restored = false
    Object.assign(this.#outputs, held?.outputs)
  }

  async *step<T>(name: string, doing: Doing<T>): AsyncGenerator<ProgressEvent, T> {
    if (this.has(name)) return this.found!.values.get(name) as T
    yield* this.restore()
    const value = yield* done(doing)
    this.#new.push([name, value])
    const since = (performance.now() - this.#savedAt) / 1000
    if (this.#on && since >= (this.every && Math.max(this.every, SHARE * this.#spent))) yield* this.#save()
    return value
  }

  async *restore(): AsyncGenerator<ProgressEvent, void> {
    if (this.#restored || !this.#held) return
    this.#restored = true
    if (!this.found) return
    const { folder } = this
    const { manifest } = this.found
    for (const [of, output] of Object.entries(this.#held.outputs ?? {})) {
      const hashes = manifest.written[of] ?? {}
      await output?.resume(Object.keys(hashes)).catch(error => {
        throw error instanceof FaspError ? error : damaged(join(folder, MANIFEST), error.message)
      })
      for (const tensor of (await output?.written()) ?? [])
        if (tensor.name in hashes && (await hashPart(tensor)) !== hashes[tensor.name])
          throw damaged(String(tensor.file), `${tensor.name} is not what was written`)
    }
    // Rows of another allocation are of no use where a run with the same has measured it meanwhile.
    const { rows } = manifest
    if (rows?.parts.some(({ of }) => of in this.#held!.streams)) await readRows(folder, rows, this.#held)
    if (this.#told) return
    this.#told = true
    const last = manifest.steps.at(-1)!.name
    tellUnfinished(join(folder, '..'), 'saved')
    yield { type: 'notice', message: `Goes on after ${last}, as an earlier run had left it.` }
  }

  async *#save(): AsyncGenerator<ProgressEvent, void> {
    const started = performance.now()
    try {
      await this.#write()
      this.#savedAt = performance.now()
      this.#spent = (this.#savedAt - started) / 1000
    } catch (error) {
      this.#on = false
      await this.#removeUnnamed().catch(() => {}) // what made this fail may keep it from that, too
      const last = this.#manifest?.steps.at(-1)
      const kept = last ? `stays at ${last.name}` : 'is not kept'
      const message = `The state that --resume would go on from ${kept}: ${(error as Error).message}`
      yield { type: 'notice', message }
    }
  }

  async #write(): Promise<void> {
    const { folder, run } = this
    const manifest = this.#manifest
    await mkdir(folder, { recursive: true })
    const rows =
      this.#held && (await this.#writeRows(this.#held, manifest?.rows?.file === 'rows-0' ? 'rows-1' : 'rows-0'))
    const steps = [...(manifest?.steps ?? [])]
    for (const [name, value] of this.#new) {
      const file = `step-${steps.length}.json`
      steps.push({ name, file, sha256: await writeSynced(join(folder, file), toJson({ value })) })
    }
    const written: Record<string, Record<string, string>> = {}
    for (const [of, output] of Object.entries(this.#outputs)) {
      const known = manifest?.written[of] ?? {}
      const tensors = (await output?.written()) ?? []
      const added = tensors.filter(({ name }) => known[name] === undefined)
      for (const file of new Set(added.map(tensor => tensor.file))) await sync(String(file))
      written[of] = { ...known }
      for (const tensor of added) written[of][tensor.name] = await hashPart(tensor)
    }
    const next: Manifest = { schema: SCHEMA, run, steps, rows, written }
    await writeSynced(join(folder, `${MANIFEST}.new`), JSON.stringify(next))
    await rename(join(folder, `${MANIFEST}.new`), join(folder, MANIFEST))
    for (const of of [folder, join(folder, '..'), join(folder, '../..')]) await syncFolder(of)
    this.#manifest = next
    this.#new.length = 0
    if (manifest?.rows && !rows) await this.#removeUnnamed()
    tellUnfinished(join(folder, '..'), 'saved')
  }

  /** What no manifest names takes room. */
  async #removeUnnamed(): Promise<void> {
    if (!this.#manifest) return rm(this.folder, { recursive: true, force: true })
    const { steps, rows } = this.#manifest
    const named = [MANIFEST, ...steps.map(({ file }) => file), rows?.file]
    for (const name of await readdir(this.folder)) if (!named.includes(name)) await rm(join(this.folder, name))
  }

  async #writeRows({ streams }: Held, file: string): Promise<Manifest['rows']> {
    const held: [of: string, name: string, rows: Activations][] = []
    for (const [of, stream] of Object.entries(streams))
      for (const [name, rows] of (await stream?.held()) ?? []) held.push([of, name, rows])
    const parts = held.map(([of, name, { batches, width }]) => {
      const length = batches.reduce((sum, { tokens }) => sum + tokens, 0) * width
      return { of, name, length }
    })
    if (parts.length === 0) return undefined
    await this.#checkRoom(parts.reduce((sum, { length }) => sum + 4 * length, 0))
    const path = join(this.folder, file)
    const hash = createHash('sha256')
    const handle = await open(path, 'w')
    const scratch = scratchIn(handle, path, cause => {
      throw cause
    })
    let at = 0
    try {
      for (const [, , rows] of held)
        for (const batch of rows.batches) {
          const bytes = asBytes(await rows.load(batch))
          hash.update(bytes)
          await scratch.write(bytes, at)
          at += bytes.length
        }
      await handle.sync()
    } finally {
      await handle.close()
    }
    return { file, sha256: hash.digest('hex'), parts }
  }

  async #checkRoom(needed: number): Promise<void> {
    const written = await allocatedBytes(join(this.folder, '..'), STATE)
    const room = (await freeBytes(this.folder)) - Math.max(0, this.reserved - written)
    if (room < needed)
      throw new Error(`it takes ${shown(needed)}, and the disk has ${shown(Math.max(0, room))} beside the output.`)
  }
}

const damaged = (path: string, problem: string) =>
  new FormatError(path, `${problem}. The state of the earlier run is damaged: remove its folder, and begin anew`)

/** @throws UsageError that names what differs */
function checkSame(there: JsonObject, here: JsonObject, pending: string): void {
  const [before, now] = [leaves(there), leaves(here)]
  const names = [...new Set([...before.keys(), ...now.keys()])].filter(name => before.get(name) !== now.get(name))
  if (names.length === 0) return
  const list = names
    .slice(0, 5)
    .map(name => `${name} is ${now.get(name) ?? 'absent'}, there ${before.get(name) ?? 'absent'}`)
  throw new UsageError(
    `${pending} holds the state of another run: ${list.join('; ')}. Resume with what it was begun with, or leave --resume out.`,
  )
}

/** The values in an object by their paths, as text. */
function leaves(value: unknown, path = ''): Map<string, string> {
  const inner = Array.isArray(value)
    ? value.map((one, i) => [i + 1, one])
    : isJsonObject(value)
      ? Object.entries(value)
      : []
  if (inner.length === 0) return new Map(value === undefined ? [] : [[path, describeValue(value)]])
  return new Map(inner.flatMap(([name, one]) => [...leaves(one, path ? `${path} ${name}` : String(name))]))
}

async function readManifest(folder: string): Promise<Manifest> {
  const path = join(folder, MANIFEST)
  const { schema, run, steps, rows, written } = parseJsonObject(await readSmallFile(path, MAX_STEP_BYTES), path)
  if (schema !== SCHEMA) throw damaged(path, `schema is ${describeValue(schema)}; this version of fasp reads ${SCHEMA}`)
  const isList = (list: unknown, is: (one: JsonObject) => boolean) =>
    Array.isArray(list) && list.every(one => isJsonObject(one) && is(one))
  const isPart = ({ of, name, length }: JsonObject) =>
    isText(of) && isText(name) && Number.isSafeInteger(length) && Number(length) >= 0
  const isHashes = (hashes: unknown) => isJsonObject(hashes) && Object.values(hashes).every(isText)
  if (
    !isJsonObject(run) ||
    !(isList(steps, one => isFile(one) && isText(one.name)) && (steps as unknown[]).length > 0) ||
    !(rows === undefined || (isJsonObject(rows) && isFile(rows) && isList(rows.parts, isPart))) ||
    !(isJsonObject(written) && Object.values(written).every(isHashes))
  )
    throw damaged(path, 'is not in the form that fasp writes')
  return { schema, run, steps, rows, written } as Manifest
}

const isText = (value: unknown) => typeof value === 'string'
/** No path: nothing outside the folder is read. */
const isFile = ({ file, sha256 }: JsonObject) =>
  isText(sha256) && typeof file === 'string' && /^(step-\d+\.json|rows-[01])$/.test(file)

async function readStep(folder: string, { file, sha256 }: StateFile): Promise<unknown> {
  const path = join(folder, file)
  const bytes = await readSmallFile(path, MAX_STEP_BYTES)
  if (sha256Of(bytes) !== sha256) throw damaged(path, 'is not what was written')
  const { value } = parseJsonObject(bytes, path)
  try {
    return revived(value)
  } catch {
    throw damaged(path, 'has values in a form that fasp does not write')
  }
}

/** Fills what is held from the file. */
async function readRows(
  folder: string,
  { file, sha256, parts }: NonNullable<Manifest['rows']>,
  held: Held,
): Promise<void> {
  const path = join(folder, file)
  const hash = createHash('sha256')
  const { handle, size } = await openRegular(path)
  let at = 0
  try {
    if (size < parts.reduce((sum, { length }) => sum + 4 * length, 0)) throw damaged(path, 'ends early')
    for (const [of, stream] of Object.entries(held.streams)) {
      const own = parts.filter(part => part.of === of)
      const into = await stream?.held(own.map(({ name }) => name))
      for (const { name } of own) {
        const rows = into?.get(name)
        if (!rows) throw damaged(path, `has rows of ${of} ${name}`)
        for (const batch of rows.batches) {
          const bytes = asBytes(rows.room(batch))
          await readInto(bytes, handle, path, at)
          hash.update(bytes)
          at += bytes.length
          await rows.store(batch)
        }
      }
    }
  } finally {
    await handle.close()
  }
  if (hash.digest('hex') !== sha256) throw damaged(path, 'is not what was written')
}

async function hashPart({ file, offset, byteLength }: WrittenTensor): Promise<string> {
  return (await hashFile(String(file), createHash('sha256'), offset, offset + byteLength)).digest('hex')
}

async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r+')
  await handle.sync().finally(() => handle.close())
}

const sha256Of = (data: string | Uint8Array) => createHash('sha256').update(data).digest('hex')

/** @returns its hash */
async function writeSynced(path: string, text: string): Promise<string> {
  await attempt(`write ${path}`, async () => {
    await writeFile(path, text, { flush: true })
  })
  return sha256Of(text)
}

const ARRAYS = { Int32Array, Float32Array, Float64Array, Uint8Array, Int8Array } as const

/** JSON that keeps typed arrays, and numbers and undefined, which JSON has not. */
const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, one) => {
    if (typeof one === 'number' && (!Number.isFinite(one) || Object.is(one, -0)))
      return { $number: Object.is(one, -0) ? '-0' : String(one) }
    if (one === undefined) return { $undefined: true }
    if (!ArrayBuffer.isView(one)) return one
    const { buffer, byteOffset, byteLength } = one
    return { $array: one.constructor.name, bytes: Buffer.from(buffer, byteOffset, byteLength).toString('base64') }
  })

function revived(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revived)
  if (!isJsonObject(value)) return value
  if ('$number' in value) return Number(value.$number)
  if ('$undefined' in value) return undefined
  if ('$array' in value) {
    const bytes = Uint8Array.from(Buffer.from(String(value.bytes), 'base64'))
    return new ARRAYS[value.$array as keyof typeof ARRAYS](bytes.buffer)
  }
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, revived(one)]))
}
