// What evaluates, on an engine: in a context of its own.

import type { Phase } from '../src/base/events.ts'
import type { Engine } from '../src/engine/engine.ts'
import { perplexity as perplexityIn } from '../src/evaluate/perplexity.ts'
import {
  evaluateTasks as evaluateTasksIn,
  type Task,
  type TaskOptions,
  taskLikelihoods as taskLikelihoodsIn,
} from '../src/evaluate/tasks/evaluate.ts'
import { wordPerplexity as wordPerplexityIn } from '../src/evaluate/tasks/wikitext.ts'
import { memoryContext } from '../src/forward/context.ts'
import { type GenerateOptions, generate as generateIn } from '../src/forward/generate.ts'
import type { RowObserver } from '../src/forward/losses.ts'
import type { Model } from '../src/model/model.ts'
import type { Windows } from '../src/text/windows.ts'

export const generate = (model: Model, engine: Engine, prompt: ArrayLike<number>, options?: GenerateOptions) =>
  generateIn(memoryContext(engine), model, prompt, options)

export const perplexity = (
  model: Model,
  engine: Engine,
  windows: Windows,
  phase: Phase,
  signal?: AbortSignal,
  observe?: RowObserver,
) => perplexityIn(memoryContext(engine, signal), model, windows, phase, observe)

interface Stoppable extends TaskOptions {
  readonly signal?: AbortSignal
}

export const evaluateTasks = (model: Model, engine: Engine, tasks: readonly Task[], options?: Stoppable) =>
  evaluateTasksIn(memoryContext(engine, options?.signal), model, tasks, options)

export const taskLikelihoods = (model: Model, engine: Engine, tasks: readonly Task[]) =>
  taskLikelihoodsIn(memoryContext(engine), model, tasks)

export const wordPerplexity = (model: Model, engine: Engine, pages: readonly string[], options?: TaskOptions) =>
  wordPerplexityIn(memoryContext(engine), model, pages, options)
