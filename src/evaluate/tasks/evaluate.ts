// Zero-shot tasks of multiple choice, scored as lm-evaluation-harness scores them: the log-likelihood of each choice after the question;
// acc takes the likeliest choice, acc_norm the likeliest by log-likelihood / characters of the choice.
// Source: lm_eval 0.4.13, api/task.py (process_results), api/model.py (_encode_pair, loglikelihood), api/metrics.py (mean_stderr).
import { UsageError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import type { Context } from '../../forward/context.ts'
import type { Model } from '../../model/model.ts'
import type { Estimate, TaskResult } from '../../result/measured.ts'
import { loadTokenizer, type TextTokenizer } from '../../text/tokenizer.ts'
import { type Continuation, logLikelihoods } from '../likelihood.ts'
import { TASKS, type TaskDefinition, type TaskName } from './definitions.ts'
import type { TaskItem } from './item.ts'

/** A task with its items. */
export interface Task {
  readonly name: TaskName
  readonly items: readonly TaskItem[]
}

export interface TaskOptions {
  /** The first so many items of each task. @default all */
  readonly limit?: number
}

/** Accuracies of all tasks, in their order. @throws UsageError, NumericError */
export async function* evaluateTasks(
  context: Context,
  model: Model,
  tasks: readonly Task[],
  { limit }: TaskOptions = {},
): Progress<TaskResult[]> {
  const limited = tasks.map(({ name, items }) => ({ name, items: items.slice(0, limit) }))
  const likelihoods = yield* taskLikelihoods(context, model, limited)
  return limited.map(({ name, items }, i) => summarise(name, items, likelihoods[i]))
}

/** Log-likelihoods in nats of the choices [task][item][choice]. @throws NumericError */
export async function* taskLikelihoods(context: Context, model: Model, tasks: readonly Task[]): Progress<number[][][]> {
  const tokenizer = loadTokenizer(model.checkpoint)
  const { maxPositions } = model.architecture
  const questions = tasks.flatMap(({ name, items }) =>
    items.map((item, i) => encode(tokenizer, item, maxPositions, `${name}: item ${i + 1}`)),
  )
  const all = yield* logLikelihoods(context, model, questions)
  let from = 0
  return tasks.map(({ items }) => all.slice(from, (from += items.length)))
}

/** Number of the choice that the model takes: the first of the likeliest. */
export function pick(likelihoods: readonly number[], lengths?: readonly number[]): number {
  const scores = likelihoods.map((value, i) => (lengths ? value / lengths[i] : value))
  return scores.indexOf(Math.max(...scores))
}

function summarise(name: TaskName, items: readonly TaskItem[], likelihoods: readonly number[][]): TaskResult {
  const { version, norm }: TaskDefinition = TASKS[name]
  const hits = (normed: boolean) =>
    items.map(({ gold, lengths }, i) => Number(pick(likelihoods[i], normed ? lengths : undefined) === gold))
  return {
    task: name,
    version,
    items: items.length,
    accuracy: estimate(hits(false)),
    ...(norm ? { accuracyNorm: estimate(hits(true)) } : {}),
  }
}

function estimate(hits: readonly number[]): Estimate {
  const value = hits.reduce((sum, hit) => sum + hit, 0) / hits.length
  const variance = hits.reduce((sum, hit) => sum + (hit - value) ** 2, 0) / (hits.length - 1)
  return { value, standardError: Math.sqrt(variance / hits.length) }
}

/** Tokens of each choice. Spaces at the end of the context go to the continuation, and both are cut from one tokenisation. */
function encode(tokenizer: TextTokenizer, { requests }: TaskItem, maxPositions: number, where: string): Continuation[] {
  return requests.map(({ context, continuation }) => {
    const trimmed = context.trimEnd()
    const given = tokenizer.encode(trimmed)
    const whole = tokenizer.encode(context + continuation)
    const targets = whole.length - given.length
    if (given.length === 0 || targets <= 0)
      throw new UsageError(
        `${where}: nothing to score: the tokenizer gives ${given.length} tokens of question and ${targets} of answer.`,
      )
    if (targets > maxPositions)
      throw new UsageError(
        `${where}: an answer has ${targets} tokens; the model has room for ${maxPositions}. Leave the item out.`,
      )
    const ids = new Int32Array(whole.length)
    ids.set(whole)
    ids.set(given) // as the harness does, where the two tokenisations differ
    return { ids, targets }
  })
}
