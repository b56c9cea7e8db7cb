// The folder beside the result that the runs of a comparison share: windows and tasks, the dense model's last stream on
// each text, its statistics on the calibration windows, and the last pruned model. It goes when the comparison has ended,
// and stays when it was interrupted.
import { existsSync } from 'node:fs'
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { OutputError } from '../base/errors.ts'
import { attempt } from '../base/file-errors.node.ts'
import { tellLeftover, tellUnfinished, unfinishedIn } from '../base/unfinished.node.ts'
import type { TextWindows } from '../evaluate/measure.ts'
import type { Task } from '../evaluate/tasks/evaluate.ts'
import type { DenseStatistics } from '../method/statistics/dense.ts'
import type { Scratch } from '../output/activations.ts'
import { scratchIn } from '../output/scratch.node.ts'
import type { PruneResult } from '../result/result.ts'
import type { CalibrationSource } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'

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

/** The dense model's statistics, and the time of the pass that made them, which counts for each run that uses them. */
export interface DensePass {
  readonly statistics: DenseStatistics
  readonly seconds: number
  readonly engineSeconds: Readonly<Record<string, number>>
}

/** What runs leave for those after them, by the names of the files. */
interface Left {
  /** The last file that the dense run writes. */
  readonly shared: Shared
  readonly 'dense-pass': DensePass
  /** What the pruned model in its folder came out as, and what it is pruned by: the last file of it. */
  readonly pruned: { readonly cell: string; readonly result: PruneResult }
}

const fileOf = (work: string, name: keyof Left) => join(work, `${name}.bin`)

/** What an earlier run has left; undefined where it has not come so far. */
export async function left<N extends keyof Left>(work: string, name: N): Promise<Left[N] | undefined> {
  const bytes = await readFile(fileOf(work, name)).catch(() => undefined)
  return bytes && deserialize(bytes)
}

/** Complete or not there: a process may be killed at any time. @throws OutputError */
export async function leave<N extends keyof Left>(work: string, name: N, value: Left[N]): Promise<void> {
  const path = fileOf(work, name)
  await attempt(`write ${path}`, async () => {
    await writeFile(`${path}.partial`, serialize(value))
    await rename(`${path}.partial`, path)
  })
}

/** Where the last pruned model is, and where it is healed. */
export const modelFolder = (work: string, of: 'pruned' | 'healed'): string => join(work, of)

/** What is known of the pruned model goes first. */
export async function removePruned(work: string): Promise<void> {
  for (const path of [fileOf(work, 'pruned'), modelFolder(work, 'pruned')])
    await rm(path, { recursive: true, force: true })
}

const ENDING = '.work'

export const workFolder = (output: string): string => join(dirname(resolve(output)), `.${basename(output)}${ENDING}`)

/** Makes the folder, or takes over one of the same protocol. @returns whether what all runs share is there. @throws OutputError */
export async function openWork(work: string, key: string): Promise<boolean> {
  tellUnfinished(work, 'resumable')
  if ((await left(work, 'shared'))?.key === key) return true
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
    if (!name.endsWith(ENDING) || running.has(name) || path === work || !existsSync(fileOf(path, 'shared'))) continue
    tellLeftover(`${path} is of a comparison that was stopped. The same command goes on from there; or remove it.`)
  }
}

export const removeWork = (work: string): Promise<void> => rm(work, { recursive: true, force: true })

/** The dense model's rows on text number `text`, to write or to read. */
export async function openRows(work: string, text: number, flags: 'w' | 'r'): Promise<Scratch> {
  const path = join(work, `dense-${text}.f32`)
  const handle = await attempt(`open ${path}`, () => open(path, flags))
  return scratchIn(handle, path, cause => {
    throw new OutputError(`cannot write ${path}: ${(cause as Error).message}. Free some disk space.`, { cause })
  })
}
