// Names of tasks → tasks with their items: from local folders.
import { UsageError } from '../errors.ts'
import { TASK_NAMES, type TaskName } from '../evaluate/tasks/definitions.ts'
import type { Task } from '../evaluate/tasks/evaluate.ts'
import { findTaskFile, readTask } from '../evaluate/tasks/records.node.ts'
import type { ProgressEvent } from '../events.ts'

export interface LoadTasksOptions {
  /** Folders to look for task files in, such as `arc_easy.jsonl` or `piqa/valid.jsonl` (docs/tasks.md). */
  readonly data: readonly string[]
  readonly signal?: AbortSignal
}

/** @throws UsageError for an unknown task or a missing file; FormatError, TextError for one that is cut short, malformed or empty */
export async function* loadTasks(
  names: readonly string[],
  { data }: LoadTasksOptions,
): AsyncGenerator<ProgressEvent, Task[]> {
  const tasks: Task[] = []
  for (const name of names) tasks.push(await readTask(asTask(name), [await findTaskFile(asTask(name), data)]))
  return tasks
}

/** @throws UsageError */
function asTask(name: string): TaskName {
  const known = TASK_NAMES.find(one => one === name)
  if (known) return known
  throw new UsageError(`unknown task "${name}"; there is: ${TASK_NAMES.join(', ')}.`)
}
