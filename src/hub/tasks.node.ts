// Names of tasks → tasks with their items: from local folders, or from the Hub.
import { UsageError } from '../errors.ts'
import { TASK_NAMES, TASKS, type TaskDefinition, type TaskName } from '../evaluate/tasks/definitions.ts'
import type { Task } from '../evaluate/tasks/evaluate.ts'
import { findTaskFile, readTask } from '../evaluate/tasks/records.node.ts'
import type { ProgressEvent } from '../events.ts'
import { fetchSplit } from './dataset.node.ts'

export interface LoadTasksOptions {
  /**
   * Folders to look for task files in, such as `arc_easy.jsonl` or `piqa/valid.jsonl` (docs/tasks.md).
   * @default none: the data sets are fetched from the Hub
   */
  readonly data?: readonly string[]
  readonly signal?: AbortSignal
}

/**
 * Reads the items of tasks, before any long work.
 * @throws UsageError for an unknown task or a missing file; FormatError, TextError for a file that is cut short, malformed or empty; HubError
 */
export async function* loadTasks(
  names: readonly string[],
  { data, signal }: LoadTasksOptions = {},
): AsyncGenerator<ProgressEvent, Task[]> {
  const known = [...new Set(names)].map(asTask)
  const local = data && (await Promise.all(known.map(async name => [await findTaskFile(name, data)])))
  const tasks: Task[] = []
  for (const [i, name] of known.entries()) {
    const { dataset, items }: TaskDefinition = TASKS[name]
    const task = await readTask(name, local ? local[i] : yield* fetchSplit(dataset, { signal }))
    if (task.items.length !== items)
      yield {
        type: 'notice',
        message: `${name}: ${task.items.length} items, where the whole data set has ${items}. Figures of others are of all.`,
      }
    tasks.push(task)
  }
  return tasks
}

/** @throws UsageError */
function asTask(name: string): TaskName {
  const known = TASK_NAMES.find(one => one === name)
  if (known) return known
  throw new UsageError(`unknown task "${name}"; there is: ${TASK_NAMES.join(', ')}.`)
}
