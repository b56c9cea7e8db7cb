// What the windows of one of several processes take (plans.ts). Half-blocks count at full widths.
import { PROBE_LENGTH } from '../allocate/probe.ts'
import { statisticsTokens } from '../allocate/sensitivity.ts'
import { layersToRemove } from '../baselines/influence.ts'
import { total } from '../clock.ts'
import { headFlops, passFlops } from '../flops.ts'
import { TOKENS_PER_RUN } from '../forward/stream.ts'
import { type Architecture, layersOf } from '../model/architecture.ts'
import { expertCount, type FfnHalf, type HalfBlock, hiddenSize, hiddenWidth } from '../model/half-block.ts'
import type { ResolvedOptions } from '../options.ts'
import { type HalfPlan, measuredHalves } from './half-plans.ts'

/** Of so many the part of one rank. */
type Share = (all: number) => number

/** In float32: streams, statistics, and losses at the end. @param share of so many windows those of this rank */
export function windowFlops(halves: readonly HalfPlan[], a: Architecture, o: ResolvedOptions, share: Share): number {
  const pass = passOf(a, a.halves, o.seqLen)
  const windows = share(o.windows)
  const calibrated = o.scope === 'layers' ? 0 : calibrationWork(halves, a, o, windows) // of whole layers nothing is measured
  const again = halves.reduce((sum, plan) => sum + (plan.experts > 0 ? mixtureFlops(plan.half as FfnHalf) : 0), 0)
  const checked = share(2 * o.heldOut) * o.seqLen * (2 * pass + again + 2 * headFlops(a, 1)) // as many that are calibrated on
  if (o.allocate === 'uniform' || o.allocate === 'custom') return calibrated + checked
  if (o.allocate === 'perplexity') return calibrated + checked + removalWork(a, o, share)
  if (o.allocate !== 'sensitivity') return calibrated + checked + windows * o.seqLen * pass // of the dense model
  const observed = share(Math.min(o.windows, Math.ceil(statisticsTokens(a) / o.seqLen))) * o.seqLen
  const length = Math.min(PROBE_LENGTH, o.seqLen)
  const probed = share(Math.ceil(o.probeTokens / length)) * length
  const branches = measuredHalves(a, o).length
  const { gram } = passFlops(a, 1, o.seqLen)
  return (
    calibrated +
    checked +
    observed * (pass + gram) +
    probed * (pass * (1 + branches / 2) + (branches * headFlops(a, 1)) / 2)
  )
}

/** Of a token through some half-blocks at full widths. */
function passOf(a: Architecture, halves: readonly HalfBlock[], seqLen: number): number {
  const { gram: _, ...parts } = passFlops({ ...a, halves }, 1, seqLen)
  const routers = halves.reduce((sum, half) => sum + 2 * expertCount(half) * hiddenSize(half), 0)
  return total(parts) + routers
}

/** Through all half-blocks, with the statistics of those that are cut or repaired. */
function calibrationWork(halves: readonly HalfPlan[], a: Architecture, o: ResolvedOptions, windows: number): number {
  const tokens = windows * o.seqLen
  const mixtures = halves.filter(({ experts }) => experts > 0)
  const changed = halves.filter(({ experts }) => experts === 0).map(({ half }) => half)
  const others = a.halves.filter(half => !mixtures.some(plan => plan.half === half))
  const { gram } = passFlops({ ...a, halves: changed }, 1, o.seqLen)
  const beside = changed.reduce(
    (sum, half) => {
      const d = hiddenSize(half)
      return sum + 2 * hiddenWidth(half) * d + (o.inputs === 'aligned' ? 4 * d ** 2 : 0)
    },
    passOf(a, changed, o.seqLen),
  )
  const dense = o.target === 'dense' && o.alpha > 0
  const first = Math.min(windows, Math.max(1, Math.floor(TOKENS_PER_RUN / o.seqLen))) * o.seqLen // of a batch
  return (
    tokens * (passOf(a, others, o.seqLen) + gram + (dense ? beside : 0)) +
    mixtures.reduce((sum, plan) => sum + mixtureWork(plan, dense, tokens, first), 0)
  )
}

/** Of a token through a mixture with so many experts and neurons in each. Whichever it goes to, they are as many. */
function mixtureFlops(half: FfnHalf, experts = expertCount(half), neurons = half.output.in): number {
  const each = [...half.inputs, half.output].reduce((sum, l) => sum + 2 * l.in * l.out, 0)
  const active = Math.min(half.experts!.active, experts)
  return 2 * experts * hiddenSize(half) + (active * each * neurons) / half.output.in
}

/** `pruneMixture`, on windows of one rank. @param dense another stream of the dense model goes beside @param first tokens that all experts see */
function mixtureWork(plan: HalfPlan, dense: boolean, tokens: number, first: number): number {
  const { experts, kept, cuts } = plan
  const half = plan.half as FfnHalf
  const [d, { in: width }] = [hiddenSize(half), half.output]
  const hidden = half.inputs.reduce((sum, l) => sum + 2 * l.in * l.out, 0)
  const active = Math.min(half.experts!.active, experts)
  const asItWas = mixtureFlops(half) * (dense ? 2 : 1)
  const same = experts === expertCount(half) && !dense
  const fewer = (same ? 0 : mixtureFlops(half, experts)) + (cuts ? mixtureFlops(half, experts, kept) : 0)
  const observed = active * (hidden + width ** 2 + 2 * width * d)
  const repaired = active * (hidden + 2 * width * d + 2 * kept * d)
  const routed = 2 * experts * d
  return tokens * (asItWas + fewer + routed + observed + repaired) + first * experts * (hidden + width ** 2)
}

/** `leastMissed`, as if all layers were alike: in each round through those that are left, and for each that may go through those after it. */
function removalWork(a: Architecture, o: ResolvedOptions, share: Share): number {
  const length = Math.min(PROBE_LENGTH, o.seqLen)
  const layers = layersOf(a)
  const layer = (length * passOf(a, a.halves, length)) / layers
  let flops = 0
  for (let left = layers; left > layers - layersToRemove(a, o.sparsity); left--)
    flops += layer * (left + ((left - 1) * (left - 2)) / 2) + (left - 2) * headFlops(a, length - 1)
  return flops * share(Math.min(o.windows, Math.ceil(o.probeTokens / length)))
}
