// Perplexity: exp of the mean negative log-likelihood over the L − 1 targets of each window of L tokens (docs/method.md).
import { NumericError } from '../base/errors.ts'
import type { Phase, Progress } from '../base/events.ts'
import type { Context } from '../forward/context.ts'
import { Head } from '../forward/head.ts'
import type { RowObserver } from '../forward/losses.ts'
import { forward } from '../forward/stream.ts'
import { layersOf } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { PerplexityResult } from '../result/measured.ts'
import type { Windows } from '../text/windows.ts'

/** Bytes of hidden states that go through the layers together; more windows take a second trip through the weights. */
export const STREAM_BYTES = 2 ** 30

/** Evaluates one text. @throws NumericError where the model gives NaN */
export async function* perplexity(
  context: Context,
  model: Model,
  { windows, seqLen, texts }: Windows,
  phase: Phase,
  observe?: RowObserver,
): Progress<Omit<PerplexityResult, 'bos'>> {
  const a = model.architecture
  const perTrip = Math.max(1, Math.floor(STREAM_BYTES / (4 * seqLen * a.hiddenSize)))
  const trips = Math.ceil(windows.length / perTrip)
  yield { type: 'phase', phase, total: trips * layersOf(a), unit: 'layers' }
  const means: number[] = []
  for (let trip = 0; trip < trips; trip++) {
    const some = windows.slice(trip * perTrip, (trip + 1) * perTrip)
    const layers = forward(context, model, some)
    let step = await layers.next()
    for (; !step.done; step = await layers.next())
      yield { type: 'progress', done: trip * layersOf(a) + step.value + 1, tokens: some.length * seqLen }
    const firstRow = trip * perTrip * (seqLen - 1)
    const seen: RowObserver | undefined = observe && ((first, x, logits) => observe(firstRow + first, x, logits))
    means.push(...(await step.value.losses(await Head.open(model, context.engine), some, seen)))
    await step.value.close()
  }
  const mean = means.reduce((sum, m) => sum + m, 0) / means.length
  if (Number.isNaN(mean))
    throw new NumericError(
      `${model.checkpoint.name}: the model gives NaN on ${texts[0].name}; its weights are damaged.`,
    )
  const variance = means.reduce((sum, m) => sum + (m - mean) ** 2, 0) / (means.length - 1)
  return {
    file: texts[0].name,
    source: texts[0].source,
    windows: windows.length,
    seqLen,
    tokens: windows.length * (seqLen - 1),
    perplexity: Math.exp(mean),
    standardError: Math.exp(mean) * Math.sqrt(variance / means.length),
  }
}
