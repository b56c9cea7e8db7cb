// The passes over the stream that one half-block takes: statistics of `H`, then the new stream once the half-block is pruned.
import type { ActivationPool, Activations } from '../blocks/activations.ts'
import type { HalfBlockRunner, HalfWeights, LinearWeights } from '../blocks/halfblock.ts'
import type { Stream } from '../blocks/stream.ts'
import { GramAccumulator, type Statistics } from './gram.ts'

/** Computes `H` once, accumulating its statistics. The result must be advanced, or closed. */
export async function observe(
  runner: HalfBlockRunner,
  pool: ActivationPool,
  stream: Stream,
  weights: HalfWeights,
  signal?: AbortSignal,
): Promise<{ statistics: Statistics; hidden: Activations }> {
  const width = runner.hiddenWidth(weights)
  const hidden = await pool.open(stream.batches, width)
  const gram = new GramAccumulator(runner.engine, width)
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    const h = hidden.room(batch)
    await runner.hidden(weights, await stream.rows.load(batch), batch.windows, h)
    await gram.accumulate(h, batch.tokens)
    await hidden.store(batch)
  }
  return { statistics: gram.finish(), hidden }
}

/** `x ← x + H_M Wᵀ + b` with the columns M = `kept` of `H` and the pruned output layer [d, |M|]; closes `hidden`. */
export async function advance(
  runner: HalfBlockRunner,
  stream: Stream,
  weights: HalfWeights,
  output: LinearWeights,
  kept: Int32Array,
  hidden: Activations,
  signal?: AbortSignal,
): Promise<void> {
  for (const batch of stream.batches) {
    signal?.throwIfAborted()
    await runner.residual(weights, output, kept, await stream.rows.load(batch), await hidden.load(batch))
    await stream.rows.store(batch)
  }
  await hidden.close()
}
