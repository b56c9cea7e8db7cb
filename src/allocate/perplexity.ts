// Which whole layers go, as SLEB has it: one after another, each time the one without which the model predicts the calibration text best
// (arXiv 2402.09025). The first and the last of those left always stay, as in its code (sleb.py). Measured on the probe, not on all
// calibration windows: with L layers left a round takes about L² / 2 of them over the probe, and L times the head.
// All candidates of a round go through the model together: at each layer a branch leaves the stream that skips it, so that what is before
// it is computed once, and each layer is read once a round.
import type { ActivationPool } from '../blocks/activations.ts'
import { Head } from '../blocks/decoder.ts'
import { HalfBlockRunner } from '../blocks/halfblock.ts'
import { windowLosses } from '../blocks/losses.ts'
import { copyStream, embedWindows, passThrough, type Stream } from '../blocks/stream.ts'
import { readHalf } from '../blocks/weights.ts'
import type { Windows } from '../calibrate/windows.ts'
import type { Engine } from '../engine/engine.ts'
import type { ProgressEvent } from '../events.ts'
import { halfBlocks } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { RemovedLayer } from './influence.ts'
import { probeWindows } from './probe.ts'

/** Removes `count` layers, at most all but two. @throws FaspError */
export async function* leastMissed(
  model: Model,
  engine: Engine,
  { windows }: Windows,
  pool: ActivationPool,
  { count, probeTokens }: { readonly count: number; readonly probeTokens: number },
  signal?: AbortSignal,
): AsyncGenerator<ProgressEvent, RemovedLayer[]> {
  const { layers, hiddenSize } = model.architecture
  const probe = probeWindows(windows, probeTokens)
  const runner = new HalfBlockRunner(engine, model.architecture, probe[0].length, 'float32')
  const total = count * layers - (count * (count - 1)) / 2 // a round has one layer less than the one before
  yield { type: 'phase', phase: 'allocate', total, unit: 'layers' }
  const head = await Head.open(model, engine)
  let left = Array.from({ length: layers }, (_, layer) => layer)
  const removed: RemovedLayer[] = []
  let done = 0
  while (removed.length < count) {
    const whole = await embedWindows(model, engine, probe, pool)
    const branches: { readonly layer: number; readonly stream: Stream }[] = []
    for (const [place, layer] of left.entries()) {
      const mayGo = place > 0 && place < left.length - 1
      const without = mayGo ? [{ layer, stream: await copyStream(whole, hiddenSize, pool) }] : []
      for (const half of halfBlocks(model.architecture, layer)) {
        const weights = await readHalf(model, half)
        for (const stream of [whole, ...branches.map(branch => branch.stream)])
          await passThrough(runner, stream, weights, signal)
      }
      branches.push(...without)
      yield { type: 'progress', done: ++done, tokens: whole.tokens * branches.length }
    }
    const costs: RemovedLayer[] = []
    for (const { layer, stream } of branches) costs.push({ layer, cost: await perplexityAfter(head, stream, probe) })
    const next = costs.reduce((least, cost) => (cost.cost < least.cost ? cost : least))
    for (const { rows } of [whole, ...branches.map(branch => branch.stream)]) await rows.close()
    left = left.filter(layer => layer !== next.layer)
    removed.push(next)
  }
  return removed
}

async function perplexityAfter(head: Head, { rows, batches }: Stream, windows: readonly Int32Array[]) {
  const losses: number[] = []
  for (const batch of batches)
    losses.push(
      ...(await windowLosses(
        head,
        await rows.load(batch),
        windows.slice(losses.length, losses.length + batch.windows),
      )),
    )
  return Math.exp(losses.reduce((sum, loss) => sum + loss, 0) / losses.length)
}
