// The passes over the stream that one half-block takes: statistics of `H`, then the new stream once the half-block is pruned.
import type { ActivationPool, Activations } from '../blocks/activations.ts'
import type { HalfBlockRunner, PrunedOutput } from '../blocks/halfblock.ts'
import type { Stream } from '../blocks/stream.ts'
import type { HalfWeights } from '../blocks/weights.ts'
import { GapAccumulator } from './gap.ts'
import { GramAccumulator, type Statistics } from './gram.ts'

/** The stream of the dense model beside the pruned one, batch by batch the same windows. */
export interface DenseTarget {
  readonly stream: Stream
  /** How much of what the pruned stream lacks each half-block is to make up for. */
  readonly alpha: number
}

/**
 * Computes `H` once, accumulating its statistics. The result must be advanced, or closed.
 * @param dense its stream is taken through the half-block on the way, as the dense model has it
 */
export async function observe(
  runner: HalfBlockRunner,
  pool: ActivationPool,
  stream: Stream,
  weights: HalfWeights,
  dense?: DenseTarget & { readonly weights: HalfWeights },
  signal?: AbortSignal,
): Promise<{ statistics: Statistics; hidden: Activations }> {
  const { engine, architecture } = runner
  const width = runner.hiddenWidth(weights)
  const hidden = await pool.open(stream.batches, width)
  const gram = new GramAccumulator(engine, width, 'gram', runner.graphs)
  const { weight, bias = new Float32Array(architecture.hiddenSize) } = weights.output
  const gap = dense && new GapAccumulator(engine, width, bias)
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    const h = hidden.room(batch)
    const x = await stream.rows.load(batch)
    await runner.hidden(weights, x, batch.windows, h)
    await gram.accumulate(h, batch.tokens)
    await hidden.store(batch)
    if (!gap) continue
    const y = await dense.stream.rows.load(batch)
    await runner.forward(dense.weights, y, batch.windows)
    await gap.accumulate(h, x, y)
    await dense.stream.rows.store(batch)
  }
  const statistics = gram.finish()
  return {
    statistics: gap ? { ...statistics, gap: await gap.finish(statistics, weight, dense.alpha) } : statistics,
    hidden,
  }
}

/** `x ← x + H_M Wᵀ + b` with the pruned output layer; closes `hidden`. */
export async function advance(
  runner: HalfBlockRunner,
  stream: Stream,
  weights: HalfWeights,
  pruned: PrunedOutput,
  hidden: Activations,
  signal?: AbortSignal,
): Promise<void> {
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    await runner.residual(weights, pruned, await stream.rows.load(batch), await hidden.load(batch))
    await stream.rows.store(batch)
  }
  await hidden.close()
}
