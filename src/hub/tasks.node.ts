// Names of tasks → their items: from local folders, or from the Hub.
import { didYouMean, UsageError } from '../base/errors.ts'
import type { Progress, ProgressEvent } from '../base/events.ts'
import { TASK_NAMES, TASKS, type TaskDefinition, type TaskName } from '../evaluate/tasks/definitions.ts'
import type { Task } from '../evaluate/tasks/evaluate.ts'
import { findTaskFile, readPages, readTask } from '../evaluate/tasks/records.node.ts'
import { WIKITEXT } from '../evaluate/tasks/wikitext.ts'
import { fetchSplit } from './dataset.node.ts'

export interface LoadTasksOptions {
  /**
   * Folders to look for task files in, such as `arc_easy.jsonl` (docs/tasks.md).
   * @default none: the data sets are fetched from the Hub
   */
  readonly data?: readonly string[]
  readonly signal?: AbortSignal
}

type Source = Pick<TaskDefinition, 'dataset' | 'items'>

/**
 * Reads the items of tasks of multiple choice.
 * @throws UsageError for an unknown task or a missing file; FormatError, TextError for a broken or empty one; HubError
 */
export async function* loadTasks(names: readonly string[], options: LoadTasksOptions = {}): Progress<Task[]> {
  const known = names.map(taskName) // all, before the first is fetched
  const tasks: Task[] = []
  for (const name of known) {
    const task = await readTask(name, yield* filesOf(name, TASKS[name], options))
    yield* tellCount(name, task.items.length, TASKS[name])
    tasks.push(task)
  }
  return tasks
}

/** Reads the documents of the task wikitext. @throws as `loadTasks` */
export async function* loadWikitext(options: LoadTasksOptions = {}): Progress<string[]> {
  const pages = await readPages(yield* filesOf('wikitext', WIKITEXT, options))
  yield* tellCount('wikitext', pages.length, WIKITEXT)
  return pages
}

/** Reads tasks of both kinds by their names. @throws as `loadTasks` */
export async function* readTasks(
  names: readonly string[],
  options: LoadTasksOptions = {},
): Progress<{ readonly tasks: Task[]; readonly pages?: string[] }> {
  const choice = [...new Set(names)].filter(name => name !== 'wikitext')
  return {
    tasks: yield* loadTasks(choice, options),
    pages: names.includes('wikitext') ? yield* loadWikitext(options) : undefined,
  }
}

async function* filesOf(name: string, { dataset }: Source, { data, signal }: LoadTasksOptions): Progress<string[]> {
  return data ? [await findTaskFile(name, data)] : yield* fetchSplit(dataset, { signal })
}

function* tellCount(name: string, found: number, { items }: Source): Generator<ProgressEvent> {
  const message = `${name}: ${found} items, where the whole data set has ${items}. Published figures are of all.`
  if (found !== items) yield { type: 'notice', message }
}

/** @throws UsageError */
function taskName(name: string): TaskName {
  if (Object.hasOwn(TASKS, name)) return name as TaskName
  const names = [...TASK_NAMES, 'wikitext']
  throw new UsageError(`unknown task "${name}"; there is: ${names.join(', ')}.${didYouMean(name, names)}`)
}
