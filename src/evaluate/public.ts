// The verbs of evaluation as users call them, with an engine and a signal: each makes the context that the verb itself takes.

import { type GenerateOptions, generate as generateIn } from '../decode/generate.ts'
import type { Engine } from '../engine/engine.ts'
import type { Phase } from '../events.ts'
import { memoryContext } from '../forward/context.ts'
import type { RowObserver } from '../forward/losses.ts'
import type { Model } from '../model/model.ts'
import type { Windows } from '../text/windows.ts'
import { continuations as continuationsIn } from './continuations.ts'
import { logits as logitsIn } from './logits.ts'
import { type MeasureOptions as Measured, measure as measureIn } from './measure.ts'
import { perplexity as perplexityIn } from './perplexity.ts'
import {
  evaluateTasks as evaluateTasksIn,
  type TaskOptions as Limited,
  type Task,
  taskLikelihoods as taskLikelihoodsIn,
} from './tasks/evaluate.ts'
import { wordPerplexity as wordPerplexityIn } from './tasks/wikitext.ts'

interface Stoppable {
  readonly signal?: AbortSignal
}
export interface MeasureOptions extends Measured, Stoppable {}
export interface TaskOptions extends Limited, Stoppable {}

/** Logits of every position of one sequence. @returns [ids.length, vocabulary] row-major */
export const logits = (model: Model, engine: Engine, ids: ArrayLike<number>) =>
  logitsIn(memoryContext(engine), model, ids)

/**
 * Yields token ids after `prompt`, up to `maxTokens`, the model's end-of-text token, or the end of its context.
 * @throws UsageError for an empty prompt or one that fills the context
 */
export const generate = (
  model: Model,
  engine: Engine,
  prompt: ArrayLike<number>,
  options?: GenerateOptions,
  signal?: AbortSignal,
) => generateIn(memoryContext(engine, signal), model, prompt, options)

/** Greedy continuations, 48 tokens each at most. @throws UsageError for an empty prompt or one that fills the context */
export const continuations = (model: Model, engine: Engine, prompts?: readonly string[], signal?: AbortSignal) =>
  continuationsIn(memoryContext(engine, signal), model, prompts)

/** Evaluates one text. @throws NumericError where the model gives NaN */
export const perplexity = (
  model: Model,
  engine: Engine,
  windows: Windows,
  phase: Phase,
  signal?: AbortSignal,
  observe?: RowObserver,
) => perplexityIn(memoryContext(engine, signal), model, windows, phase, observe)

/** All measures of one model. Reads all texts before it runs the model. @throws FaspError */
export const measure = (model: Model, engine: Engine, { signal, ...options }: MeasureOptions) =>
  measureIn(memoryContext(engine, signal), model, options)

/** Accuracies of all tasks, in their order. @throws UsageError, NumericError */
export const evaluateTasks = (
  model: Model,
  engine: Engine,
  tasks: readonly Task[],
  { signal, ...options }: TaskOptions = {},
) => evaluateTasksIn(memoryContext(engine, signal), model, tasks, options)

/** Log-likelihoods in nats of the choices [task][item][choice]. @throws NumericError */
export const taskLikelihoods = (model: Model, engine: Engine, tasks: readonly Task[], signal?: AbortSignal) =>
  taskLikelihoodsIn(memoryContext(engine, signal), model, tasks)

/** @param pages documents as WikiText has them @throws NumericError; UnsupportedModelError for a tokenizer without BOS and EOS */
export const wordPerplexity = (
  model: Model,
  engine: Engine,
  pages: readonly string[],
  { signal, ...options }: TaskOptions = {},
) => wordPerplexityIn(memoryContext(engine, signal), model, pages, options)
