// One model of a comparison: perplexity and distance from the dense model on each text, tasks, and samples.
import { totalmem } from 'node:os'
import type { Progress } from '../base/events.ts'
import { continuationBytes, continuations } from '../evaluate/continuations.ts'
import { type Measures, measure, perplexityOf } from '../evaluate/measure.ts'
import { perplexity } from '../evaluate/perplexity.ts'
import { DenseReference, keepRows } from '../evaluate/reference.ts'
import type { Context } from '../forward/context.ts'
import type { Model } from '../model/model.ts'
import type { DivergenceResult, Run } from '../report/result-file.ts'
import type { PerplexityResult } from '../result/measured.ts'
import { sameCorpus } from '../text/corpus.ts'
import { openRows, type Shared } from './work.node.ts'

/** @param dense undefined where `model` is the dense model: then its rows are kept for the others */
export async function* measureRun(
  context: Context,
  model: Model,
  dense: Model | undefined,
  { work, shared, prompts }: { readonly work: string; readonly shared: Shared; readonly prompts: readonly string[] },
): Progress<Measures & Pick<Run, 'samples' | 'seconds'>> {
  const started = performance.now()
  const perplexities: PerplexityResult[] = []
  const divergences: DivergenceResult[] = []
  for (const [i, text] of shared.texts.entries()) {
    const rows = await openRows(work, i, dense ? 'r' : 'w')
    try {
      const reference = dense && (await DenseReference.open(context, dense, model, rows))
      const observe = reference?.observe ?? keepRows(model, rows)
      const result = yield* perplexity(context, model, text.windows[0], 'evaluate', observe)
      const { file, windows, seqLen } = result
      const calibratedOn = dense && shared.calibration.texts.find(({ name }) => sameCorpus(name, file))?.name
      perplexities.push(perplexityOf({ ...text, calibratedOn }, result))
      if (reference) divergences.push({ file, windows, seqLen, ...reference.result() })
    } finally {
      await rows.close()
    }
  }
  const measured = performance.now()
  const { tasks, pages } = shared
  const others = yield* measure(context, model, { tasks, pages })
  const answered = performance.now()
  // Writing takes the whole model in memory.
  const writes = prompts.length > 0 && continuationBytes(model) < totalmem() / 2
  const samples = writes ? yield* continuations(context, model, prompts) : []
  return {
    ...others,
    perplexity: perplexities,
    divergence: dense && divergences,
    samples,
    seconds: {
      evaluate: (measured - started) / 1000,
      ...(tasks.length > 0 || pages ? { tasks: (answered - measured) / 1000 } : {}),
      ...(writes ? { continuations: (performance.now() - answered) / 1000 } : {}),
    },
  }
}
