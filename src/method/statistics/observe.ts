// Statistics of a half-block for score and restoration, from one pass of the stream through it.
import { outputGains } from '../../forward/observation.ts'
import type { DenseTarget, Stream } from '../../forward/stream.ts'
import type { HalfWeights } from '../../forward/weights.ts'
import { hiddenSize, hiddenWidth } from '../../model/half-block.ts'
import type { Activations } from '../../output/activations.ts'
import { GapAccumulator } from './gap.ts'
import { countedRows, GramAccumulator, type Statistics } from './gram.ts'

/**
 * Computes `H` once. The caller advances the stream with `hidden` (`Stream.advance`), or closes it.
 * @param dense its stream goes through the dense model's half-block on the way
 */
export async function observe(
  stream: Stream,
  weights: HalfWeights,
  dense?: DenseTarget & { readonly weights: HalfWeights },
): Promise<{ statistics: Statistics; hidden: Activations }> {
  const { engine, graphs } = stream.runner
  const { weight, bias = new Float32Array(hiddenSize(weights.half)) } = weights.output
  const width = hiddenWidth(weights.half)
  const gram = new GramAccumulator(graphs, width)
  const gap = dense && new GapAccumulator(engine, width, bias)
  const hidden = await stream.observe(weights, gap ? [gram, gap] : [gram], dense)
  const { group } = stream.context
  const statistics = { ...(await gram.finish(group)), gains: outputGains(weights) }
  const lacks = await gap?.finish(statistics, countedRows(weight, statistics), dense!.alpha, group)
  return { statistics: { ...statistics, gap: lacks }, hidden }
}
