// What all runs of a comparison have in common, as the result names it: options with their defaults, and hashes of what
// is read. Runs that were made under another protocol are never mixed with these.
import { createHash } from 'node:crypto'
import { shortNames } from '../base/display.ts'
import type { Progress } from '../base/events.ts'
import { hashModel } from '../checkpoint/hash-model.node.ts'
import { SAMPLE_PROMPTS } from '../evaluate/continuations.ts'
import type { MeasureOptions } from '../evaluate/measure.ts'
import { readTasks } from '../hub/tasks.node.ts'
import { findTexts } from '../hub/texts.node.ts'
import type { Model } from '../model/model.ts'
import { TEXT_WINDOWS } from '../options/defaults.ts'
import { prepare } from '../prune/run.ts'
import type { ContentHash, Protocol } from '../report/result-file.ts'
import type { NamedText } from '../text/calibration.ts'
import type { TextFiles } from './job.ts'
import type { CompareOptions } from './options.ts'

/** What the runs read beside the model. */
export interface Contents extends Pick<Protocol, 'text' | 'tasks' | 'calibration'> {
  readonly files: TextFiles
}

/** @throws TextError, FormatError, UsageError, HubError for a text or task that cannot be read */
export async function* readContents(
  options: Pick<CompareOptions, 'text' | 'calibration' | 'tasks' | 'tasksData' | 'signal'>,
): Progress<Contents> {
  const { text: texts = [], calibration: others, signal } = options
  const files = {
    text: yield* findTexts(texts, 'evaluation', { signal }),
    calibration: others && (yield* findTexts(others, 'calibration', { signal })),
  }
  const tasks = yield* readTasks(options.tasks ?? [], { data: options.tasksData, signal })
  return { files, text: hashesOf(files.text), tasks: taskHashes(tasks), calibration: hashesOf(files.calibration) }
}

export const taskHashes = ({ tasks, pages }: Pick<MeasureOptions, 'tasks' | 'pages'>): ContentHash[] => [
  ...(tasks ?? []).map(({ name, items }) => ({ file: name, sha256: sha256(JSON.stringify(items)) })),
  ...(pages ? [{ file: 'wikitext', sha256: sha256(JSON.stringify(pages)) }] : []),
]

/** @param local where the model is on disk */
export async function protocolOf(
  local: string,
  model: Model,
  { text, tasks, calibration }: Contents,
  options: CompareOptions,
): Promise<Protocol> {
  const { textWindows, limit, seqLen, windows, calibrationSeqLen, seed, prompts = SAMPLE_PROMPTS } = options
  // `plain` has the windows of most methods, `stock` and `best` windows of their own.
  const asked = { sparsity: 0, method: 'plain', windows, seqLen: calibrationSeqLen, seed }
  const { options: resolved } = prepare(model, asked, { texts: options.calibration && [] })
  return {
    model: await hashModel(local),
    text,
    seqLen: seqLen ?? Math.min(TEXT_WINDOWS.seqLen, model.architecture.maxPositions),
    maxWindows: typeof textWindows === 'number' ? text.map(() => textWindows) : textWindows,
    tasks,
    limit,
    calibration,
    samples: resolved.windows,
    calibrationSeqLen: resolved.seqLen,
    seed: resolved.seed,
    ...(resolved.products !== 'float32' && { products: resolved.products }),
    prompts,
    device: options.engine?.device ?? 'cpu',
  }
}

/** Names of the fields that differ. */
export const differences = (one: Protocol, other: Protocol): string[] =>
  [...new Set([...Object.keys(one), ...Object.keys(other)])].filter(
    key => JSON.stringify(one[key as keyof Protocol]) !== JSON.stringify(other[key as keyof Protocol]),
  )

export const protocolKey = (protocol: Protocol): string => sha256(JSON.stringify(protocol))

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

export function hashesOf(files: readonly Pick<NamedText, 'name' | 'sha256'>[] = []): ContentHash[] {
  const names = shortNames(files.map(({ name }) => name))
  return files.map(({ sha256 = '' }, i) => ({ file: names[i], sha256 }))
}
