// Which whole layers go, as in SLEB (arXiv 2402.09025): one after another, next the layer without which the model
// predicts the calibration text best. The first and the last layer left always stay, as in its code (sleb.py). The
// probe is measured, not all calibration windows: with L layers left, a round takes about L² / 2 layers and L heads.
// All candidates of a round go through the model together, each on a branch that skips its layer, so that each layer is
// read once a round.
import type { Progress } from '../../base/events.ts'
import type { Context } from '../../forward/context.ts'
import { Head } from '../../forward/head.ts'
import { HalfBlockRunner } from '../../forward/runner.ts'
import { embedWindows, type Stream } from '../../forward/stream.ts'
import { readHalf } from '../../forward/weights.ts'
import { halfBlocks, layersOf } from '../../model/architecture.ts'
import type { Model } from '../../model/model.ts'
import { ALONE } from '../../ranks/group.ts'
import type { Windows } from '../../text/windows.ts'
import { probeWindows } from '../allocate/probe.ts'
import type { RemovedLayer } from './influence.ts'

/** Removes `count` layers, at most all but two. */
export async function* leastMissed(
  context: Context,
  model: Model,
  { windows }: Windows,
  { count, probeTokens }: { readonly count: number; readonly probeTokens: number },
): Progress<RemovedLayer[]> {
  const { engine, group = ALONE } = context
  const layers = layersOf(model.architecture)
  const probe = probeWindows(windows, probeTokens)
  const runner = new HalfBlockRunner(engine, probe[0].length, 'float32')
  const total = count * layers - (count * (count - 1)) / 2 // each round has one layer less
  yield { type: 'phase', phase: 'allocate', total, unit: 'layers' }
  const head = await Head.open(model, engine)
  let left = Array.from({ length: layers }, (_, layer) => layer)
  const removed: RemovedLayer[] = []
  let done = 0
  while (removed.length < count) {
    const whole = await embedWindows(context, model, runner, probe)
    const branches: { readonly layer: number; readonly stream: Stream }[] = []
    for (const [place, layer] of left.entries()) {
      const mayGo = place > 0 && place < left.length - 1
      const without = mayGo ? [{ layer, stream: await whole.fork() }] : []
      for (const half of halfBlocks(model.architecture, layer)) {
        const weights = await readHalf(model, half)
        for (const stream of [whole, ...branches.map(branch => branch.stream)]) await stream.through(weights)
      }
      branches.push(...without)
      yield { type: 'progress', done: ++done, tokens: whole.tokens * branches.length }
    }
    const own: number[][] = []
    for (const { stream } of branches) own.push(await stream.losses(head, group.share(probe)))
    const all = await group.gather(own)
    const next = await group.decide(() => {
      const costs = branches.map(({ layer }, i) => ({ layer, cost: perplexity(all.flatMap(of => of[i])) }))
      return costs.reduce((least, cost) => (cost.cost < least.cost ? cost : least))
    })
    for (const stream of [whole, ...branches.map(branch => branch.stream)]) await stream.close()
    left = left.filter(layer => layer !== next.layer)
    removed.push(next)
  }
  return removed
}

const perplexity = (losses: readonly number[]): number =>
  Math.exp(losses.reduce((sum, loss) => sum + loss, 0) / losses.length)
