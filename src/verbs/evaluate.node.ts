// `evaluate` in Node: tasks by name, and the distance to a dense model, whose hidden states are on disk meanwhile.
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Progress } from '../base/events.ts'
import { hashesOf, taskHashes } from '../compare/protocol.node.ts'
import type { Measures } from '../evaluate/measure.ts'
import { readTasks } from '../hub/tasks.node.ts'
import type { Model } from '../model/model.ts'
import { openScratch } from '../output/scratch.node.ts'
import type { ResultFile } from '../report/result-file.ts'
import { choose, type EngineChoice, nodeVerbs, openTexts, type TextInput } from './platform.node.ts'
import { checkMeasured, type TextMeasures } from './verbs.ts'

export interface EvaluateOptions extends EngineChoice, Omit<TextMeasures<TextInput>, 'dense' | 'tasks' | 'pages'> {
  /** A model, by its name or open, to say how far this one has moved from. */
  readonly dense?: string | Model
  /** Zero-shot tasks (`TASK_NAMES`), and `wikitext`. @default none */
  readonly tasks?: readonly string[]
  /**
   * Folders to look for task files in, such as `arc_easy.jsonl` (docs/tasks.md).
   * @default from the Hub
   */
  readonly tasksData?: readonly string[]
}

export interface PathMeasures extends Measures {
  /** What was read, with hashes. */
  readonly contents: Pick<NonNullable<ResultFile['evaluation']>, 'text' | 'tasks'>
}

export async function* evaluateEvents(of: string | Model, options: EvaluateOptions): Progress<PathMeasures> {
  const { signal } = options
  checkMeasured(options)
  const text = yield* openTexts(options.text, 'evaluation', { signal })
  const { tasks, pages } = yield* readTasks(options.tasks ?? [], { data: options.tasksData, signal })
  await using chosen = choose(options)
  await using model = options.dense === undefined ? undefined : yield* nodeVerbs.openModel(options.dense, { signal })
  const dense = model && { model, openRows: () => openScratch(join(tmpdir(), 'fasp')) }
  const measures = yield* nodeVerbs.evaluate(of, { ...options, text, engine: chosen.engine, dense, tasks, pages })
  return {
    ...measures,
    contents: { text: hashesOf(text.filter(({ sha256 }) => sha256)), tasks: taskHashes({ tasks, pages }) },
  }
}
