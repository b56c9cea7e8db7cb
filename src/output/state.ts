// The state of a run, in a folder of its unfinished output: `manifest.json`, a file for each step done, and the rows
// that later steps need. The manifest is replaced last, when the disk has all that it names: one that holds is there.
import { FaspError, UsageError } from '../base/errors.ts'
import { notice, type Progress } from '../base/events.ts'
import { hashBytes, hashParts } from '../base/hash.ts'
import { describeValue, isJsonObject, type JsonObject, parseJsonObject } from '../base/json.ts'
import { MANIFEST } from '../base/unfinished.ts'
import { VERSION } from '../base/version.ts'
import { fromBase64, toBase64 } from '../formats/base64.ts'
import { fromTypedJson, toTypedJson } from '../formats/typed-json.ts'
import { ALONE } from '../ranks/group.ts'
import { damaged, type StateFolder } from './state-folder.ts'
import { type RowsFile, readRows, writeRows } from './state-rows.ts'
import { type Doing, done, type Held, type HeldOutput, type Saved, type WrittenTensor } from './steps.ts'

/** Of the form of these files. */
const SCHEMA = 2
/** Saving takes no more than one part in so many of the time. */
const SHARE = 50
/** Seconds between two savings, at least. */
export const SAVE_EVERY = 15
/** What a step gives; the statistics of a 70 B model take some 100 MB. */
const MAX_STEP_BYTES = 2 ** 30

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
  /** What it was done on. Where it goes on, that may be another, which moves last bits; absent in older ones. */
  readonly on?: JsonObject
  readonly steps: readonly (Named & { readonly name: string })[]
  readonly rows?: RowsFile
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
  /** The CPU that it is done on, where that is known, and on a device of its own the way of attention. */
  readonly cpu?: string
  readonly attention?: string
  /** Seconds between two savings, at least; 0: after each step. @default 15 */
  readonly every?: number
}

/** What is saved in `folder`. @param found what an earlier run has left there */
export class State implements Saved {
  /** Who does the steps: this process, or all ranks of a group, of which the others have a `Follower`. */
  group = ALONE
  /** How many do the run. */
  processes = 1
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

  readonly #options: StateOptions
  readonly #every: number

  constructor(
    readonly folder: StateFolder,
    options: StateOptions,
    readonly found?: FoundState,
  ) {
    this.#options = options
    this.#every = options.every ?? SAVE_EVERY
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

  async *step<T>(name: string, doing: Doing<T>): Progress<T> {
    if (this.has(name)) return this.found!.values.get(name) as T
    yield* this.restore()
    const value = yield* done(doing, name)
    this.#new.push([name, value])
    if (await this.group.decide(() => this.#isDue())) yield* this.#save()
    return value
  }

  #isDue(): boolean {
    const since = (performance.now() - this.#savedAt) / 1000
    return this.#on && since >= (this.#every && Math.max(this.#every, SHARE * this.#spent))
  }

  async *restore(): Progress<void> {
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
    if (manifest.rows) await readRows(this.group, this.#held, manifest.rows, folder)
    if (this.#told) return
    this.#told = true
    const last = manifest.steps.at(-1)!.name
    yield notice(`Goes on after ${last}, as an earlier run had left it.`)
    const others = differences(manifest.on ?? this.#where(), this.#where())
    if (others.length > 0)
      yield notice(`${others.join('; ')}. Last bits may be others than where nothing was stopped (docs/output.md).`)
  }

  async drop(): Promise<void> {
    this.#on = false
    await this.folder.remove()
  }

  #where(): JsonObject {
    const { cpu, attention } = this.#options
    return { cpu, attention, processes: this.processes }
  }

  async *#save(): Progress<void> {
    const started = performance.now()
    const file = this.#manifest?.rows?.file === 'rows-0' ? 'rows-1' : 'rows-0'
    const rows = this.#held && (await writeRows(this.group, this.#held, this.folder, file))
    try {
      await this.#write(rows?.())
      this.#savedAt = performance.now()
      this.#spent = (this.#savedAt - started) / 1000
    } catch (error) {
      this.#on = false
      await this.#removeUnnamed().catch(() => {}) // what made this fail may keep it from that, too
      const last = this.#manifest?.steps.at(-1)
      const kept = last ? `stays at ${last.name}` : 'is not kept'
      yield notice(`${this.folder.purpose} ${kept}: ${(error as Error).message}`)
    }
  }

  async #write(rows: Manifest['rows']): Promise<void> {
    const { folder } = this
    const manifest = this.#manifest
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
    const next: Manifest = { schema: SCHEMA, run: this.#options.run, on: this.#where(), steps, rows, written }
    await folder.write(`${MANIFEST}.new`, textBytes(JSON.stringify(next)))
    await folder.rename(`${MANIFEST}.new`, MANIFEST)
    this.#manifest = next
    this.#new.length = 0
    if (manifest?.rows) await this.#removeUnnamed()
  }

  /** What no manifest names takes room. */
  async #removeUnnamed(): Promise<void> {
    if (!this.#manifest) return this.folder.remove()
    const { steps, rows } = this.#manifest
    const named = [MANIFEST, ...steps.map(({ file }) => file), rows?.file]
    for (const name of await this.folder.list()) if (!named.includes(name)) await this.folder.remove(name)
  }
}

/** @throws UsageError that names what differs */
function checkSame(there: JsonObject, here: JsonObject, { whose, remedy }: StateFolder): void {
  const list = differences(there, here).slice(0, 5)
  if (list.length > 0) throw new UsageError(`${whose} holds the state of another run: ${list.join('; ')}. ${remedy}`)
}

function differences(there: JsonObject, here: JsonObject): string[] {
  const [before, now] = [leaves(there), leaves(here)]
  return [...new Set([...before.keys(), ...now.keys()])]
    .filter(name => before.get(name) !== now.get(name))
    .map(name => `${name} is ${now.get(name) ?? 'absent'}, there ${before.get(name) ?? 'absent'}`)
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
  const { schema, run, on, steps, rows, written } = parseJsonObject(bytes, `${folder.path}/${MANIFEST}`)
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
    !(on === undefined || isJsonObject(on)) ||
    !(isList(steps, one => isFile(one) && isText(one.name)) && (steps as unknown[]).length > 0) ||
    !(rows === undefined || (isJsonObject(rows) && isFile(rows) && isList(rows.parts, isPart))) ||
    !(isJsonObject(written) && Object.values(written).every(isHashes))
  )
    throw damaged(`${folder.path}/${MANIFEST}`, 'is not in the form that fasp writes')
  return { schema, run, on, steps, rows, written } as Manifest
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
