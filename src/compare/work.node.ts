// The folder beside the result that the runs of a comparison share: windows and tasks, the dense model's last stream on each text, and its
// statistics on the calibration windows.
// It goes when the comparison has ended, and stays when it was interrupted.
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { OutputError } from '../base/errors.ts'
import { tellLeftover, tellUnfinished, unfinishedIn } from '../base/unfinished.node.ts'
import type { TextWindows } from '../evaluate/measure.ts'
import type { Task } from '../evaluate/tasks/evaluate.ts'
import { attempt } from '../formats/file-errors.node.ts'
import type { DenseStatistics } from '../method/statistics/dense.ts'
import type { Scratch } from '../output/activations.ts'
import { scratchIn } from '../output/scratch.node.ts'
import type { PruneResult } from '../result/result.ts'
import type { CalibrationSource } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'
import type { Cell } from './grid.ts'

/** What all runs read. */
export interface Shared {
  /** Of the protocol. */
  readonly key: string
  readonly calibration: Windows
  readonly source: CalibrationSource
  /** What models are healed on, with windows held out. */
  readonly healing?: Windows
  readonly texts: readonly TextWindows[]
  readonly tasks: readonly Task[]
  /** Documents of the task wikitext. */
  readonly pages?: readonly string[]
}

const ENDING = '.work'

export const workFolder = (output: string): string => join(dirname(resolve(output)), `.${basename(output)}${ENDING}`)

/** Makes the folder, or takes over one of the same protocol. @returns whether what all runs share is there. @throws OutputError */
export async function openWork(work: string, key: string): Promise<boolean> {
  tellUnfinished(work, 'resumable')
  const { key: found } = (await readShared(work)) ?? {}
  if (found === key) return true
  await removeWork(work)
  await attempt(`create ${work}`, () => mkdir(work))
  return false
}

/** Tells of what other comparisons left in the same folder that were stopped and do not run. */
export async function tellOtherWork(work: string): Promise<void> {
  const folder = dirname(work)
  const running = new Set(unfinishedIn(folder).map(({ start }) => `${start}${ENDING}`))
  for (const name of await readdir(folder).catch((): string[] => [])) {
    const path = join(folder, name)
    if (!name.endsWith(ENDING) || running.has(name) || path === work || !existsSync(sharedFile(path))) continue
    tellLeftover(`${path} is of a comparison that was stopped. The same command goes on from there; or remove it.`)
  }
}

export const removeWork = (work: string): Promise<void> => rm(work, { recursive: true, force: true })

/** Where the pruned model of the last run is. */
export const prunedFolder = (work: string): string => join(work, 'pruned')

const prunedFile = (work: string) => join(work, 'pruned.bin')
/** What it is pruned by. */
const keyOf = ({ name, options }: Cell) => JSON.stringify([name, options])

/** What the pruned model in the folder came out as; undefined where it is that of another cell, or of none. */
export async function readPruned(work: string, cell: Cell): Promise<PruneResult | undefined> {
  const bytes = await readFile(prunedFile(work)).catch(() => undefined)
  const { key, result } = bytes ? deserialize(bytes) : {}
  return key === keyOf(cell) ? result : undefined
}

/** The last file of a pruned model. */
export const writePruned = (work: string, cell: Cell, result: PruneResult): Promise<void> =>
  replaceFile(prunedFile(work), serialize({ key: keyOf(cell), result }))

export async function removePruned(work: string): Promise<void> {
  for (const path of [prunedFile(work), prunedFolder(work)]) await rm(path, { recursive: true, force: true })
}

/** And where the healed one is. */
export const healedFolder = (work: string): string => join(work, 'healed')

const sharedFile = (work: string) => join(work, 'shared.json')

/** The last file that the dense run writes. */
export function writeShared(work: string, shared: Shared): Promise<void> {
  const plain = (_: string, value: unknown) => (value instanceof Int32Array ? [...value] : value)
  return replaceFile(sharedFile(work), JSON.stringify(shared, plain))
}

/** Undefined where the dense run has not ended. */
export async function readShared(work: string): Promise<Shared | undefined> {
  const text = await readFile(sharedFile(work), 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  const shared: Shared = JSON.parse(text)
  const arrays = (windows: Windows['windows'] = []) => windows.map(ids => Int32Array.from(ids))
  const typed = (w: Windows): Windows => ({ ...w, windows: arrays(w.windows), heldOut: [] })
  const { healing } = shared
  return {
    ...shared,
    calibration: typed(shared.calibration),
    healing: healing && { ...typed(healing), heldOut: arrays(healing.heldOut) },
    texts: shared.texts.map(text => ({ ...text, windows: text.windows.map(typed) })),
  }
}

/** The dense model's rows on text number `text`, to write or to read. */
export async function openRows(work: string, text: number, flags: 'w' | 'r'): Promise<Scratch> {
  const path = join(work, `dense-${text}.f32`)
  const handle = await attempt(`open ${path}`, () => open(path, flags))
  return scratchIn(handle, path, cause => {
    throw new OutputError(`cannot write ${path}: ${(cause as Error).message}. Free some disk space.`, { cause })
  })
}

/** The dense model's statistics, and the time of the pass that made them, which counts for each run that uses them. */
export interface DensePass {
  readonly statistics: DenseStatistics
  readonly seconds: number
  readonly engineSeconds: Readonly<Record<string, number>>
}

const passFile = (work: string) => join(work, 'dense-pass')

/** Undefined where no method before has asked for them. */
export const readPass = async (work: string): Promise<DensePass | undefined> => {
  const bytes = await readFile(passFile(work)).catch(() => undefined)
  return bytes && deserialize(bytes)
}

/** For the methods after this. */
export const writePass = (work: string, pass: DensePass): Promise<void> => replaceFile(passFile(work), serialize(pass))

/** Complete or not there: a process may be killed at any time. @throws OutputError */
async function replaceFile(path: string, contents: string | Uint8Array): Promise<void> {
  await attempt(`write ${path}`, async () => {
    await writeFile(`${path}.partial`, contents)
    await rename(`${path}.partial`, path)
  })
}
