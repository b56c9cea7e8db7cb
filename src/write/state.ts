// The state of a run, in a folder of its unfinished output: `manifest.json`, a file for each step that is done, and the rows that the steps to
// come go on from. The manifest is replaced last, when all that it names is on the disk: whenever a run is killed, one is there that holds.
import { bytes as shown } from '../display.ts'
import { FaspError, FormatError, UsageError } from '../errors.ts'
import type { ProgressEvent } from '../events.ts'
import { fromBase64, toBase64 } from '../formats/base64.ts'
import { hashBytes, hashParts, PartsHash } from '../formats/hash.ts'
import { describeValue, isJsonObject, type JsonObject, parseJsonObject } from '../formats/json.ts'
import { fromTypedJson, toTypedJson } from '../formats/typed-json.ts'
import { type Activations, asBytes, type Scratch } from '../forward/activations.ts'
import { type Doing, done, type Held, type HeldOutput, type Saved, type WrittenTensor } from '../saved.ts'
import { MANIFEST } from '../unfinished.ts'
import { VERSION } from '../version.ts'

/** Of the form of these files. */
const SCHEMA = 2
/** Saving takes no more than one part in so many of the time. */
const SHARE = 50
/** Seconds between two savings, at least. */
export const SAVE_EVERY = 15
/** What a step gives; the statistics of a 70 B model take some 100 MB. */
const MAX_STEP_BYTES = 2 ** 30

/** An open file of a folder. */
export interface StateFile extends Scratch {
  readonly byteLength: number
  /** Waits until the disk has what was written. */
  sync(): Promise<void>
}

/** The folder that a state is in: its own, with files alone. It need not be there. */
export interface StateFolder {
  /** For messages, as all that is text here. */
  readonly path: string
  /** The run whose state it is, as the start of a sentence. */
  readonly whose: string
  /** What the state is for, as the start of one. */
  readonly purpose: string
  /** What to do where the state is of another run: a sentence. */
  readonly remedy: string
  /** Names of its files. */
  list(): Promise<readonly string[]>
  /** All of a file. @throws FormatError where it is missing or has more than `limit` bytes */
  read(name: string, limit: number): Promise<Uint8Array>
  /** Writes a file, and waits until the disk has it. */
  write(name: string, bytes: Uint8Array): Promise<void>
  /** @param create a new one, empty. @default one that is there */
  open(name: string, create?: boolean): Promise<StateFile>
  /** Puts a file in the place of another, at once, and waits until the disk has it so. */
  rename(from: string, to: string): Promise<void>
  /** @param name of a file. @default the folder */
  remove(name?: string): Promise<void>
  /** Bytes of disk that are left beside the output. */
  freeBytes(): Promise<number>
}

/** A file of the state. */
interface Named {
  readonly file: string
  /** As `hashParts` makes it. */
  readonly sha256: string
}

interface Manifest {
  readonly schema: number
  /** What the run is: nothing else may go on from here. */
  readonly run: JsonObject
  readonly steps: readonly (Named & { readonly name: string })[]
  /** `parts`: floats of each matrix, in the order of the file. */
  readonly rows?: Named & { readonly parts: readonly { of: string; name: string; length: number }[] }
  /** Hashes of the tensors that are written, by output and name. */
  readonly written: Readonly<Record<string, Readonly<Record<string, string>>>>
}

/** What tells a run from all others: what it is asked for and reads, and what it runs on. As JSON has it. */
export const identityOf = (asked: object, engine: object): JsonObject =>
  JSON.parse(JSON.stringify({ fasp: VERSION, ...asked, engine }))

export interface FoundState {
  readonly manifest: Manifest
  /** What each step gave. */
  readonly values: ReadonlyMap<string, unknown>
}

/** @throws UsageError where it is of another run; FormatError where it is damaged */
export async function readState(folder: StateFolder, run: JsonObject): Promise<FoundState> {
  const manifest = await readManifest(folder)
  checkSame(manifest.run, run, folder)
  const values = new Map<string, unknown>()
  for (const step of manifest.steps) values.set(step.name, await readStep(folder, step))
  return { manifest, values }
}

export interface StateOptions {
  /** What the run is: its options, and hashes of what it reads. */
  readonly run: JsonObject
  /** Seconds between two savings, at least; 0: after each step. @default 15 */
  readonly every?: number
}

/** What is saved in `folder`. @param found what an earlier run has left there */
export class State implements Saved {
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

  readonly #run: JsonObject
  readonly #every: number

  constructor(
    readonly folder: StateFolder,
    { run, every = SAVE_EVERY }: StateOptions,
    readonly found?: FoundState,
  ) {
    this.#run = run
    this.#every = every
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
    if (this.#on && since >= (this.#every && Math.max(this.#every, SHARE * this.#spent))) yield* this.#save()
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
        throw error instanceof FaspError ? error : damaged(`${folder.path}/${MANIFEST}`, error.message)
      })
      for (const tensor of (await output?.written()) ?? [])
        if (tensor.name in hashes && (await hashPart(tensor)) !== hashes[tensor.name])
          throw damaged(tensor.file.name, `${tensor.name} is not what was written`)
    }
    // Rows of another allocation are of no use where a run with the same has measured it meanwhile.
    const { rows } = manifest
    if (rows?.parts.some(({ of }) => of in this.#held!.streams)) await readRows(folder, rows, this.#held)
    if (this.#told) return
    this.#told = true
    const last = manifest.steps.at(-1)!.name
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
      const message = `${this.folder.purpose} ${kept}: ${(error as Error).message}`
      yield { type: 'notice', message }
    }
  }

  async #write(): Promise<void> {
    const { folder } = this
    const manifest = this.#manifest
    const rows =
      this.#held && (await this.#writeRows(this.#held, manifest?.rows?.file === 'rows-0' ? 'rows-1' : 'rows-0'))
    const steps = [...(manifest?.steps ?? [])]
    for (const [name, value] of this.#new) {
      const file = `step-${steps.length}.json`
      const bytes = textBytes(toJson({ value }))
      await folder.write(file, bytes)
      steps.push({ name, file, sha256: await hashBytes(bytes) })
    }
    const written: Record<string, Record<string, string>> = {}
    for (const [of, output] of Object.entries(this.#outputs)) {
      const known = manifest?.written[of] ?? {}
      const tensors = (await output?.written()) ?? []
      const added = tensors.filter(({ name }) => known[name] === undefined)
      for (const file of new Map(added.map(({ file }) => [file.name, file])).values()) await file.sync()
      written[of] = { ...known }
      for (const tensor of added) written[of][tensor.name] = await hashPart(tensor)
    }
    const next: Manifest = { schema: SCHEMA, run: this.#run, steps, rows, written }
    await folder.write(`${MANIFEST}.new`, textBytes(JSON.stringify(next)))
    await folder.rename(`${MANIFEST}.new`, MANIFEST)
    this.#manifest = next
    this.#new.length = 0
    if (manifest?.rows && !rows) await this.#removeUnnamed()
  }

  /** What no manifest names takes room. */
  async #removeUnnamed(): Promise<void> {
    if (!this.#manifest) return this.folder.remove()
    const { steps, rows } = this.#manifest
    const named = [MANIFEST, ...steps.map(({ file }) => file), rows?.file]
    for (const name of await this.folder.list()) if (!named.includes(name)) await this.folder.remove(name)
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
    const hash = new PartsHash()
    const into = await this.folder.open(file, true)
    let at = 0
    try {
      for (const [, , rows] of held)
        for (const batch of rows.batches) {
          const bytes = asBytes(await rows.load(batch))
          await hash.add(bytes)
          await into.write(bytes, at)
          at += bytes.length
        }
      await into.sync()
    } finally {
      await into.close()
    }
    return { file, sha256: await hash.digest(), parts }
  }

  async #checkRoom(needed: number): Promise<void> {
    const room = await this.folder.freeBytes()
    if (room < needed)
      throw new Error(`it takes ${shown(needed)}, and the disk has ${shown(Math.max(0, room))} beside the output.`)
  }
}

export const damaged = (path: string, problem: string) =>
  new FormatError(path, `${problem}. The state of the earlier run is damaged: remove all of it, and begin anew`)

/** @throws UsageError that names what differs */
function checkSame(there: JsonObject, here: JsonObject, { whose, remedy }: StateFolder): void {
  const [before, now] = [leaves(there), leaves(here)]
  const names = [...new Set([...before.keys(), ...now.keys()])].filter(name => before.get(name) !== now.get(name))
  if (names.length === 0) return
  const list = names
    .slice(0, 5)
    .map(name => `${name} is ${now.get(name) ?? 'absent'}, there ${before.get(name) ?? 'absent'}`)
  throw new UsageError(`${whose} holds the state of another run: ${list.join('; ')}. ${remedy}`)
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

async function readManifest(folder: StateFolder): Promise<Manifest> {
  const bytes = await folder.read(MANIFEST, MAX_STEP_BYTES)
  const { schema, run, steps, rows, written } = parseJsonObject(bytes, `${folder.path}/${MANIFEST}`)
  if (schema !== SCHEMA)
    throw damaged(
      `${folder.path}/${MANIFEST}`,
      `schema is ${describeValue(schema)}; this version of fasp reads ${SCHEMA}`,
    )
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
    throw damaged(`${folder.path}/${MANIFEST}`, 'is not in the form that fasp writes')
  return { schema, run, steps, rows, written } as Manifest
}

const isText = (value: unknown) => typeof value === 'string'
/** No path: nothing outside the folder is read. */
const isFile = ({ file, sha256 }: JsonObject) =>
  isText(sha256) && typeof file === 'string' && /^(step-\d+\.json|rows-[01])$/.test(file)

async function readStep(folder: StateFolder, { file, sha256 }: Named): Promise<unknown> {
  const bytes = await folder.read(file, MAX_STEP_BYTES)
  if ((await hashBytes(bytes)) !== sha256) throw damaged(`${folder.path}/${file}`, 'is not what was written')
  const { value } = parseJsonObject(bytes, `${folder.path}/${file}`)
  try {
    return revived(value)
  } catch {
    throw damaged(`${folder.path}/${file}`, 'has values in a form that fasp does not write')
  }
}

/** Fills what is held from the file. */
async function readRows(
  folder: StateFolder,
  { file, sha256, parts }: NonNullable<Manifest['rows']>,
  held: Held,
): Promise<void> {
  const hash = new PartsHash()
  const from = await folder.open(file)
  let at = 0
  try {
    if (from.byteLength < parts.reduce((sum, { length }) => sum + 4 * length, 0))
      throw damaged(`${folder.path}/${file}`, 'ends early')
    for (const [of, stream] of Object.entries(held.streams)) {
      const own = parts.filter(part => part.of === of)
      const into = await stream?.held(own.map(({ name }) => name))
      for (const { name } of own) {
        const rows = into?.get(name)
        if (!rows) throw damaged(`${folder.path}/${file}`, `has rows of ${of} ${name}`)
        for (const batch of rows.batches) {
          const bytes = asBytes(rows.room(batch))
          await from.read(bytes, at)
          await hash.add(bytes)
          at += bytes.length
          await rows.store(batch)
        }
      }
    }
  } finally {
    await from.close()
  }
  if ((await hash.digest()) !== sha256) throw damaged(`${folder.path}/${file}`, 'is not what was written')
}

const hashPart = ({ file, offset, byteLength }: WrittenTensor): Promise<string> =>
  hashParts(byteLength, async (start, end) => {
    const bytes = new Uint8Array(end - start)
    await file.read(bytes, offset + start)
    return bytes
  })

const textBytes = (text: string): Uint8Array => new TextEncoder().encode(text)

const toJson = (value: unknown): string =>
  toTypedJson(value, ({ buffer, byteOffset, byteLength }) => ({
    bytes: toBase64(new Uint8Array(buffer, byteOffset, byteLength)),
  }))

const revived = (value: unknown) =>
  fromTypedJson(value, (Type, { bytes }) => new Type(fromBase64(String(bytes)).buffer))
