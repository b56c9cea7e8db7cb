// The rows that a run goes on from, in one file of its state: matrix by matrix, all windows in their order. Each rank
// of a group has those of its windows, or all of some matrices. The root has the file: rows come and go by batches.
import { bytes as shown } from '../base/display.ts'
import { PartsHash } from '../base/hash.ts'
import type { Group } from '../ranks/group.ts'
import { type Activations, asBytes, type Batch } from './activations.ts'
import { damaged, type StateFolder } from './state-folder.ts'
import type { Held } from './steps.ts'

/** A matrix in the file. */
export interface RowsPart {
  /** The streams that it is of. */
  readonly of: string
  readonly name: string
  /** Floats of all ranks. */
  readonly length: number
}

export interface RowsFile {
  readonly file: string
  /** As `hashParts` makes it. */
  readonly sha256: string
  /** In the order of the file. */
  readonly parts: readonly RowsPart[]
}

type Name = Pick<RowsPart, 'of' | 'name'>
type Own = Name & { readonly rows: Activations; readonly whole?: boolean }
/** With the floats of each batch of each rank. */
type Shared = RowsPart & { readonly ranks: readonly (readonly number[])[]; readonly whole: boolean }

const isOf = (one: Name) => (other: Name) => one.of === other.of && one.name === other.name

/** @param names @default all that any rank has: one without windows may lack some */
async function sharedBy(group: Group, own: readonly Own[], names?: readonly Name[]): Promise<Shared[]> {
  const floats = ({ batches, width }: Activations) => batches.map(({ tokens }) => tokens * width)
  const all = await group.gather(own.map(({ rows, ...one }) => ({ ...one, floats: floats(rows) })))
  const most = all.reduce((one, other) => (other.length > one.length ? other : one))
  return (names ?? most).map(({ of, name }) => {
    const found = all.map(its => its.find(isOf({ of, name })))
    const whole = found[0]?.whole ?? false
    const ranks = found.map((its, rank) => (its && !(whole && rank > 0) ? its.floats : []))
    return { of, name, ranks, whole, length: ranks.flat().reduce((sum, floats) => sum + floats, 0) }
  })
}

/** All batches in the order of the file; of this rank's with their place. */
function* batchesOf({ rank: here }: Group, own: readonly Own[], shared: readonly Shared[]) {
  for (const part of shared) {
    const rows = own.find(isOf(part))?.rows
    for (const [rank, batches] of part.ranks.entries())
      for (const [i, floats] of batches.entries()) {
        const isHere = rank === here || part.whole
        const place: readonly [Activations, Batch] | undefined = isHere ? [rows!, rows!.batches[i]] : undefined
        yield { rank, byteLength: 4 * floats, place, whole: part.whole }
      }
  }
}

async function heldBy({ streams }: Held): Promise<Own[]> {
  const own: Own[] = []
  for (const [of, stream] of Object.entries(streams))
    for (const [name, rows] of (await stream?.held()) ?? []) own.push({ of, name, rows, whole: stream?.whole })
  return own
}

/** Gives the root, which calls `writeRows`, what this rank holds. */
export async function giveRows(group: Group, held: Held): Promise<void> {
  const own = await heldBy(held)
  for (const { rank, place, whole } of batchesOf(group, own, await sharedBy(group, own)))
    if (!whole) await group.move(rank, 0, place && asBytes(await place[0].load(place[1])))
}

/**
 * Puts what all ranks hold into a file.
 * @returns what is in it, undefined where nothing is held; it throws what failed when all others have given theirs
 */
export async function writeRows(
  group: Group,
  held: Held,
  folder: StateFolder,
  file: string,
): Promise<() => RowsFile | undefined> {
  const own = await heldBy(held)
  const shared = await sharedBy(group, own)
  if (shared.length === 0) return () => undefined
  let failed: { readonly cause: unknown } | undefined
  const unlessFailed = async <T>(work: () => Promise<T>): Promise<T | undefined> => {
    try {
      return failed ? undefined : await work()
    } catch (cause) {
      failed = { cause }
      return undefined
    }
  }
  const into = await unlessFailed(async () => {
    await checkRoom(folder, 4 * lengthOf(shared))
    return folder.open(file, true)
  })
  const hash = new PartsHash()
  let at = 0
  for (const { rank, byteLength, place } of batchesOf(group, own, shared)) {
    const its = place ? undefined : new Uint8Array(byteLength)
    await group.move(rank, 0, its)
    await unlessFailed(async () => {
      const bytes = its ?? asBytes(await place![0].load(place![1]))
      await hash.add(bytes)
      await into!.write(bytes, at)
      at += bytes.length
    })
  }
  const sha256 = await unlessFailed(async () => {
    await into!.sync()
    return hash.digest()
  })
  await into?.close().catch(cause => {
    failed ??= { cause }
  })
  return () => {
    if (failed) throw failed.cause
    return { file, sha256: sha256!, parts: shared.map(({ of, name, length }) => ({ of, name, length })) }
  }
}

/**
 * Fills what is held from the file, on all ranks.
 * @param folder of the root, which alone reads it
 * @throws FormatError where it is not what was written
 */
export async function readRows(
  group: Group,
  held: Held,
  { file, sha256, parts }: RowsFile,
  folder?: StateFolder,
): Promise<void> {
  // Rows of another allocation are of no use where a run with the same has measured it meanwhile.
  const wanted = parts.filter(({ of }) => of in held.streams)
  if (wanted.length === 0) return
  const own: Own[] = []
  for (const [of, stream] of Object.entries(held.streams)) {
    const names = parts.filter(part => part.of === of).map(({ name }) => name)
    for (const [name, rows] of (await stream?.held(names)) ?? [])
      if (names.includes(name)) own.push({ of, name, rows, whole: stream?.whole })
  }
  const shared = await sharedBy(group, own, wanted)
  const fail = (problem: string) => damaged(`${folder!.path}/${file}`, problem)
  const odd = folder && wanted.find(({ length }, i) => length !== shared[i].length)
  if (odd) throw fail(`has rows of ${odd.of} ${odd.name}`)
  const hash = new PartsHash()
  const from = await folder?.open(file)
  let at = 0
  try {
    if (from && from.byteLength < 4 * lengthOf(parts)) throw fail('ends early')
    for (const { rank, byteLength, place, whole } of batchesOf(group, own, shared)) {
      const bytes = place ? asBytes(place[0].room(place[1])) : from && new Uint8Array(byteLength)
      if (from) {
        await from.read(bytes!, at)
        await hash.add(bytes!)
        at += byteLength
      }
      if (!whole) await group.move(0, rank, bytes)
      else
        for (let to = 1; to < group.size; to++) await group.move(0, to, to === group.rank || from ? bytes : undefined)
      await place?.[0].store(place[1])
    }
  } finally {
    await from?.close()
  }
  if (folder && (await hash.digest()) !== sha256) throw fail('is not what was written')
}

const lengthOf = (parts: readonly RowsPart[]): number => parts.reduce((sum, { length }) => sum + length, 0)

async function checkRoom(folder: StateFolder, needed: number): Promise<void> {
  const room = await folder.freeBytes()
  if (room < needed)
    throw new Error(`it takes ${shown(needed)}, and the disk has ${shown(Math.max(0, room))} beside the output.`)
}
