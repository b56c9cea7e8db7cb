// Gradients of a whole model in the memory of one half-block: the forward pass keeps the stream before each half-block
// (in a scratch file where memory is short), and the way back computes each half-block once more, with the gradients of
// its weights.
// Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost, with the half-blocks as its segments.
// Parallel halves y = x + attention(x) + ffn(x) both read x: the gradient through the FFN waits for the gradient
// through attention.
import { copyRows, hostOf, type Precision } from '../engine/engine.ts'
import { addTo } from '../engine/linalg/sums.ts'
import type { Context } from '../forward/context.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import { embedWindows, Stream } from '../forward/stream.ts'
import { type HalfWeights, readHalves } from '../forward/weights.ts'
import { type HalfBlock, isBeside } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import type { Activations } from '../output/activations.ts'
import { BackwardRunner, type GradientSums, zeroGradients } from './backward.ts'
import type { StreamLoss } from './loss.ts'

export interface GradientOptions {
  /** Weights of half-blocks, in the order of the list. @default those of the checkpoint */
  readonly weights?: (halves: readonly HalfBlock[]) => AsyncIterable<HalfWeights>
  /** Those of norms, too. @default false */
  readonly norms?: boolean
  /** Half-blocks whose gradients are wanted. @default all */
  readonly wanted?: (half: HalfBlock) => boolean
  /** That the mean is over. @default those of the windows */
  readonly tokens?: number
  /** Of half-blocks, both ways. @default 'float32' */
  readonly products?: Precision
}

/**
 * Mean loss of the tokens of `windows`, which have one length, and its gradients; zeros where there are no windows.
 * @param visit gets the gradients of each half-block that is wanted, from the last to the first, where they are, with
 * its weights, which it may change
 */
export async function gradients(
  context: Context,
  model: Model,
  windows: readonly Int32Array[],
  loss: StreamLoss,
  visit: (weights: HalfWeights, gradients: GradientSums) => Promise<void>,
  {
    weights = halves => readHalves(model, halves),
    norms = false,
    wanted = () => true,
    tokens,
    products,
  }: GradientOptions = {},
): Promise<number> {
  const { halves, hiddenSize: d } = model.architecture
  const { engine, pool } = context
  const zeros = (half: HalfWeights) => zeroGradients(engine, half, norms)
  if (windows.length === 0) {
    for await (const half of weights(halves.toReversed().filter(wanted))) await visit(half, zeros(half))
    return 0
  }
  const length = windows[0].length
  const runner = new HalfBlockRunner(engine, length, products)
  const stream = await embedWindows(context, model, runner, windows)
  const { batches, rows } = stream
  const borders: Stream[] = [] // before each half-block
  for await (const half of weights(halves)) {
    // What an FFN beside attention reads is no longer in the stream's rows; a fork has both.
    const copy = () => Stream.open(context, runner, batches, d, batch => rows.at(batch))
    borders.push(isBeside(half.half) ? await stream.fork() : await copy())
    await stream.through(half)
  }

  let mean = 0
  // From here on the stream holds the gradient by what it held.
  await stream.change(async (x, { start }) => {
    const { loss: sum, dx } = await loss(start, x, 1 / (tokens ?? stream.tokens))
    mean += sum
    await copyRows(engine.run, dx, x)
    dx.drop?.()
  })
  const backward = new BackwardRunner(engine, length, products)
  let beside: Activations | undefined // the gradient through a parallel FFN
  for await (const half of weights(halves.toReversed())) {
    const border = borders.pop()!
    const waiting = isBeside(half.half) ? await pool.open(batches, d) : undefined
    const sums = wanted(half.half) ? zeros(half) : undefined
    await stream.change(async (dy, batch) => {
      const x = await border.rows.at(batch)
      const read = waiting ? await border.readBy(half, x, batch) : x
      const { dx, dread } = await backward.back(half, x, batch.windows, dy, sums, read)
      if (beside) addTo(await hostOf(dx), await beside.load(batch))
      await copyRows(engine.run, dx, dy)
      dx.drop?.()
      if (!waiting || !dread) return
      await copyRows(engine.run, dread, waiting.roomAt(batch))
      dread.drop?.()
      await waiting.store(batch)
    })
    await border.close()
    await beside?.close()
    beside = waiting
    if (sums) await visit(half, sums)
  }
  await stream.close()
  return mean
}
