// One model of a comparison: perplexity of each text, in the same pass its distance from the dense model, tasks, and samples.
import { freemem } from 'node:os'
import { decoderBytes } from '../blocks/decoder.ts'
import { sameCorpus } from '../calibrate/corpus.ts'
import { loadTokenizer } from '../calibrate/tokenizer.ts'
import type { Engine } from '../engine/engine.ts'
import { generate } from '../evaluate/generate.ts'
import { perplexity } from '../evaluate/perplexity.ts'
import { DenseReference, keepRows } from '../evaluate/reference.ts'
import { evaluateTasks, type Task } from '../evaluate/tasks/evaluate.ts'
import type { ProgressEvent } from '../events.ts'
import type { Model } from '../model/model.ts'
import type { DivergenceResult, Run } from '../report/result-file.ts'
import type { PerplexityResult } from '../result.ts'
import { openRows, type Shared } from './work.node.ts'

/** Tokens of a sample: some lines of a report. */
export const SAMPLE_TOKENS = 32

export interface Measuring {
  readonly engine: Engine
  readonly work: string
  readonly shared: Shared
  /** @default those shared */
  readonly tasks?: readonly Task[]
  readonly prompts: readonly string[]
  readonly signal: AbortSignal
}

type Measures = Pick<Run, 'perplexity' | 'divergence' | 'tasks' | 'samples' | 'seconds'>

/** @param dense undefined where `model` is the dense model: then its rows are kept for the others */
export async function* measure(
  model: Model,
  dense: Model | undefined,
  { engine, work, shared, tasks, prompts, signal }: Measuring,
): AsyncGenerator<ProgressEvent, Measures> {
  const seconds: Record<string, number> = {}
  let since = performance.now()
  const lap = (phase: string) => {
    const now = performance.now()
    seconds[phase] = (now - since) / 1000
    since = now
  }
  const perplexities: PerplexityResult[] = []
  const divergences: DivergenceResult[] = []
  for (const [i, text] of shared.evaluation.entries()) {
    const rows = await openRows(work, i, dense ? 'r' : 'w')
    try {
      const reference = dense && (await DenseReference.open(dense, model, engine, rows))
      const observe = reference?.observe ?? keepRows(model, rows)
      const result = yield* perplexity(model, engine, text, 'evaluate', signal, observe)
      const { file, windows: count, seqLen } = result
      const calibratedOn = dense && shared.calibration.texts.find(({ name }) => sameCorpus(name, file))?.name
      perplexities.push({ ...result, bos: shared.bos, calibratedOn })
      if (reference) divergences.push({ file, windows: count, seqLen, ...reference.result() })
    } finally {
      await rows.close()
    }
  }
  lap('evaluate')
  const asked = tasks ?? shared.tasks
  const accuracies = asked.length > 0 ? yield* evaluateTasks(model, engine, asked, { signal }) : []
  if (asked.length > 0) lap('tasks')
  const samples = yield* writeSamples(model, engine, prompts, signal)
  if (samples.length > 0) lap('samples')
  return { perplexity: perplexities, divergence: dense && divergences, tasks: accuracies, samples, seconds }
}

/** Greedy continuations; none where the whole model, which that needs, does not fit the memory. */
async function* writeSamples(
  model: Model,
  engine: Engine,
  prompts: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<ProgressEvent, Run['samples']> {
  if (prompts.length === 0) return []
  const tokenizer = loadTokenizer(model.checkpoint)
  const encoded = prompts.map(prompt => tokenizer.encode(prompt))
  const positions = Math.max(...encoded.map(ids => ids.length)) + SAMPLE_TOKENS
  if (decoderBytes(model.architecture, 1, positions) > freemem()) {
    yield { type: 'notice', message: 'No sample texts: the whole model in float32 does not fit the free memory.' }
    return []
  }
  const samples: Run['samples'][number][] = []
  for (const [i, prompt] of prompts.entries()) {
    const ids: number[] = []
    for await (const id of generate(model, engine, encoded[i], { maxTokens: SAMPLE_TOKENS }, signal)) ids.push(id)
    samples.push({ prompt, text: tokenizer.decode(ids) })
  }
  return samples
}
