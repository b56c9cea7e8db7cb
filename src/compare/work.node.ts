// The folder beside the result that the runs of a comparison share: windows and tasks, the dense model's last stream on each text, and its
// statistics on the calibration windows.
// It goes when the comparison has ended, and stays when it was interrupted.
import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { deserialize, serialize } from 'node:v8'
import { OutputError } from '../errors.ts'
import type { TextWindows } from '../evaluate/measure.ts'
import type { Task } from '../evaluate/tasks/evaluate.ts'
import { attempt } from '../formats/file-errors.node.ts'
import type { Scratch } from '../forward/activations.ts'
import { scratchIn } from '../forward/scratch.node.ts'
import type { DenseStatistics } from '../statistics/dense.ts'
import type { CalibrationSource } from '../text/calibration.ts'
import type { Windows } from '../text/windows.ts'
import { tellUnfinished } from '../unfinished.node.ts'

/** What all runs read. */
export interface Shared {
  /** Of the protocol. */
  readonly key: string
  readonly calibration: Windows
  readonly source: CalibrationSource
  readonly texts: readonly TextWindows[]
  readonly tasks: readonly Task[]
  /** Documents of the task wikitext. */
  readonly pages?: readonly string[]
}

export const workFolder = (output: string): string => join(dirname(resolve(output)), `.${basename(output)}.work`)

/** Makes the folder, or takes over one of the same protocol. @returns whether what all runs share is there. @throws OutputError */
export async function openWork(work: string, key: string): Promise<boolean> {
  tellUnfinished(work, 'resumable')
  const { key: found } = (await readShared(work)) ?? {}
  if (found === key) return true
  await removeWork(work)
  await attempt(`create ${work}`, () => mkdir(work))
  return false
}

export const removeWork = (work: string): Promise<void> => rm(work, { recursive: true, force: true })

/** Where the pruned model of a run is while it is measured. */
export const prunedFolder = (work: string): string => join(work, 'pruned')

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
  const typed = (w: Windows): Windows => ({ ...w, windows: w.windows.map(ids => Int32Array.from(ids)), heldOut: [] })
  return {
    ...shared,
    calibration: typed(shared.calibration),
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
