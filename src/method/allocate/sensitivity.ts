// How much to cut in each layer, by the cost to the whole model. For each half-block on the dense stream:
//   a curve err(w) of the restored error against the width w (curve.ts);
//   KL = mean KL(dense ‖ model in which this half-block alone is cut to half its width), measured on a small probe;
//   predicted cost of width w: KL · err(w) / err(half), as KL grows with the square of a small disturbance.
// The widths follow by greedy.ts. All branches of the probe's stream, one through each cut half-block, go on together
// with the dense stream, so that every layer is read once. The measurement is ours; EvoPress (arXiv 2410.14649)
// searches for per-layer levels by KL.
import { UsageError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import { rowsOf } from '../../engine/values.ts'
import type { Context } from '../../forward/context.ts'
import { divergences } from '../../forward/divergence.ts'
import { Head, headRows } from '../../forward/head.ts'
import { HalfBlockRunner, wholeOutput } from '../../forward/runner.ts'
import { embedWindows, heldBy, type Stream } from '../../forward/stream.ts'
import { type HalfWeights, readHalf } from '../../forward/weights.ts'
import {
  type Architecture,
  decoderLinears,
  fullWidths,
  halfBlocks,
  layersOf,
  linearWeights,
  type Scope,
} from '../../model/architecture.ts'
import { fullWidth, type HalfBlock, hiddenSize, hiddenWidth, type Widths } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import { type Saved, UNSAVED } from '../../output/steps.ts'
import { ALONE } from '../../ranks/group.ts'
import type { Windows } from '../../text/windows.ts'
import { sharedOut } from '../least-sparsity.ts'
import { observe } from '../statistics/observe.ts'
import { type CurveOptions, errorCurve } from './curve.ts'
import { greedyWidths, type WidthCost } from './greedy.ts'
import { probeWindows, some } from './probe.ts'
import type { WidthOptions } from './uniform.ts'

export interface SensitivityOptions extends CurveOptions, WidthOptions {
  readonly probeTokens: number
  /** Whether widths are small enough, in the place of `sparsity`. */
  readonly fits?: (widths: readonly Widths[]) => boolean
  readonly saved?: Saved
}

/** Measurements of one half-block. Widths are neurons, or value channels of each KV head. */
export interface HalfSensitivity {
  readonly layer: number
  readonly kind: HalfBlock['kind']
  /** The width of the measurement, and its cost, a mean KL in nats a token. */
  readonly probe: WidthCost
  /** Predicted KL, at widths from the full one down. */
  readonly curve: readonly WidthCost[]
  /** The chosen width. */
  readonly width: number
}

export interface Allocation {
  readonly probeTokens: number
  readonly halfBlocks: readonly HalfSensitivity[]
}

/** Least number of tokens for the curves; twice the FFN width, if that is more, so that G has full rank. */
const STATISTICS_TOKENS = 8192
/** The least part of its width that a half-block keeps; beyond that sparsity, half of what uniform widths leave. */
const LEAST_SHARE = 1 / 8

type CalibrationSize = Readonly<Record<'windows' | 'seqLen' | 'probeTokens', number>>

/** Bytes of activations: the dense streams, a branch for each half-block, and hidden activations of one half-block. */
export function allocationBytes(a: Architecture, { windows, seqLen, probeTokens }: CalibrationSize): number {
  const d = a.hiddenSize * (a.halves[0].parallel ? 2 : 1) // the input of parallel half-blocks is kept
  const observed = Math.min(windows * seqLen, statisticsTokens(a))
  const hidden = Math.max(...a.halves.map(hiddenWidth))
  return 4 * (observed * (d + hidden) + probeTokens * d * (a.halves.length + 1))
}

const statisticsTokens = (a: Architecture): number => Math.max(STATISTICS_TOKENS, 2 * fullWidths(a).ffn)

interface Measured {
  readonly half: HalfBlock
  readonly cutTo: number
  readonly errors: readonly WidthCost[]
}

/** @throws UsageError where all half-blocks together cannot be cut so far */
export function checkReach(a: Architecture, options: WidthOptions): void {
  const { sparsity, multiple, scope } = options
  const least = leastShare(a, options)
  const most = a.halves
    .filter(half => inScope(half, scope))
    .map(half => choicesOf(half, multiple, least))
    .reduce((sum, { unit, widths }) => sum + unit * (widths[0] - widths[widths.length - 1]), 0)
  const linears = linearWeights(a)
  if (most < Math.floor(sparsity * linears))
    throw new UsageError(
      `sparsity ${sparsity} cannot be reached: in FFN widths that are a multiple of ${multiple}, allocation by ` +
        `sensitivity can remove ${((100 * most) / linears).toFixed(1)} % of the decoder linears. Use a smaller ` +
        'multiple or a lower sparsity.',
    )
}

/** Measures all half-blocks in scope and divides the cut among them. */
export async function* allocateBySensitivity(
  context: Context,
  model: Model,
  windows: Windows,
  options: SensitivityOptions,
): Progress<{ widths: Widths[]; allocation: Allocation }> {
  const { saved = UNSAVED } = options
  const a = model.architecture
  const least = leastShare(a, options)
  const measuring = () => measure(context, model, windows, { ...options, least, saved })
  const { errors, kl, tokens } = yield* saved.step(`sensitivities down to ${least}`, measuring)
  const measured = a.halves.flatMap((half, i) => (errors[i] ? { half, cutTo: cutTo(half), errors: errors[i] } : []))
  const share = (sparsity: number) => shareOut(a, measured, kl, { ...options, sparsity }, least, tokens)
  return sharedOut(share, options.sparsity, options.fits && (({ widths }) => options.fits!(widths)))
}

const cutTo = (half: HalfBlock): number => Math.ceil(fullWidth(half) / 2)

/** @returns the curve of each half-block, undefined out of scope; the KL of each in scope; the probe's tokens */
async function* measure(
  context: Context,
  model: Model,
  { windows, seqLen }: Windows,
  options: SensitivityOptions & { readonly least: number; readonly saved: Saved },
) {
  const { engine, group = ALONE } = context
  const { least, saved } = options
  const a = model.architecture
  yield { type: 'phase', phase: 'allocate', total: layersOf(a), unit: 'layers' } as const
  const observed = some(windows, Math.ceil(statisticsTokens(a) / seqLen))
  const others = windows.filter(window => !observed.includes(window))
  const probed = probeWindows(others.length > 0 ? others : windows, options.probeTokens)
  const runner = new HalfBlockRunner(engine, seqLen, 'float32')
  const stream = await embedWindows(context, model, runner, observed)
  const probe = await embedWindows(context, model, runner, probed)
  const branches: Stream[] = []
  const cutAndBranch = async (weights: HalfWeights, half: HalfBlock) => {
    const { statistics, hidden } = await observe(stream, weights)
    const range = { cutTo: cutTo(half), least: leastOf(fullWidth(half), least) }
    const curve = () => errorCurve(engine, { weights, statistics }, { ...options, ...range })
    const { errors, cut } = await group.decide(curve)
    const branch = await probe.fork()
    await branch.throughPruned(weights, cut)
    branches.push(branch)
    await stream.advance(weights, wholeOutput(weights), hidden)
    return errors
  }
  const held = async (names: readonly string[] = []) => {
    while (names.includes(`branch${branches.length}`)) branches.push(await probe.fork())
    const all = branches.map((branch, i) => [`branch${i}`, branch])
    return heldBy({ stream, probe, ...Object.fromEntries(all) }, names)
  }
  saved.holds({ streams: { allocation: { held } } })
  const errors: (readonly WidthCost[] | undefined)[] = []
  for (let layer = 0; layer < layersOf(a); layer++) {
    for (const half of halfBlocks(a, layer)) {
      const one = saved.step(`sensitivity of ${half.kind} ${layer}`, async () => {
        const weights = await readHalf(model, half)
        for (const branch of branches) await branch.through(weights)
        const isIn = inScope(half, options.scope)
        const errors = isIn ? await cutAndBranch(weights, half) : undefined
        if (!isIn) await stream.through(weights)
        await probe.through(weights)
        return errors
      })
      errors.push(yield* one)
    }
    yield { type: 'progress', done: layer + 1, tokens: stream.tokens + probe.tokens * (branches.length + 1) } as const
  }
  yield* saved.restore() // where all steps were done
  const { length } = probed[0]
  const kl = await branchDivergences(model, probe, branches, length)
  saved.holds()
  for (const each of [stream, probe, ...branches]) await each.close()
  return { errors, kl, tokens: probed.length * length }
}

/** Mean KL(dense ‖ branch) of each branch, over the second half of every probe window, whose tokens have a context. */
async function branchDivergences(model: Model, probe: Stream, branches: readonly Stream[], length: number) {
  const most = headRows(model.architecture)
  const { engine, group = ALONE } = probe.context
  const head = await Head.open(model, engine)
  const rooms = [0, 1].map(() => head.room())
  const [sums, rows] = [new Float64Array(branches.length), new Float64Array(1)]
  await probe.read(async (x, batch) => {
    for (let w = 0; w < batch.windows; w++)
      for (let from = Math.floor(length / 2); from < length; from += most) {
        const [start, end] = [from, Math.min(from + most, length)].map(row => w * length + row)
        const logits = await head.logitsIn(rooms[0], rowsOf(x, start, end))
        for (const [b, branch] of branches.entries()) {
          const others = await head.logitsIn(rooms[1], rowsOf(await branch.rows.at(batch), start, end))
          sums[b] += (await divergences(engine, logits, others)).reduce((sum, kl) => sum + kl, 0)
          others.drop?.()
        }
        logits.drop?.()
        rows[0] += end - start
      }
  })
  await group.sum(sums, rows)
  return sums.map(sum => sum / rows[0])
}

/** The least part of its width that a half-block keeps. */
function leastShare(a: Architecture, { sparsity, scope }: WidthOptions): number {
  const { vo, ffn } = decoderLinears(a)
  const cut = (sparsity * linearWeights(a)) / (scope === 'ffn' ? ffn : ffn + vo)
  return Math.min(LEAST_SHARE, (1 - cut) / 2)
}

const inScope = ({ kind }: HalfBlock, scope: Scope): boolean => kind === 'ffn' || scope !== 'ffn'

/** Possible widths of a half-block, descending, and the parameters of one unit of width. */
function choicesOf(half: HalfBlock, multiple: number, least: number) {
  const full = fullWidth(half)
  const step = half.kind === 'ffn' ? multiple : 1
  const widths = [full]
  for (let width = Math.ceil(full / step - 1) * step; width >= leastOf(full, least); width -= step) widths.push(width)
  return { unit: hiddenSize(half) * (half.kind === 'ffn' ? half.inputs.length + 1 : half.heads + half.kvHeads), widths }
}

const leastOf = (full: number, share: number): number => Math.max(1, Math.ceil(full * share))

/** From measured numbers to widths. */
function shareOut(
  a: Architecture,
  measured: readonly Measured[],
  kl: Float64Array,
  { sparsity, multiple }: SensitivityOptions,
  least: number,
  probeTokens: number,
) {
  const curves = measured.map(({ half, cutTo, errors }, i) => {
    const { unit, widths } = choicesOf(half, multiple, least)
    const error = interpolate(errors, cutTo)
    const scale = error > 0 ? kl[i] / error : 0 // a dead half-block is free
    return { unit, points: widths.map(width => ({ width, cost: scale * interpolate(errors, width) })) }
  })
  const chosen = greedyWidths(curves, sparsity * linearWeights(a))
  const full = fullWidths(a)
  const widths = Array.from({ length: layersOf(a) }, (_, layer): Widths => {
    const of = (kind: HalfBlock['kind'], full: number) =>
      chosen[measured.findIndex(({ half }) => half.layer === layer && half.kind === kind)] ?? full
    return { ffn: of('ffn', full.ffn), value: of('attention', full.value) }
  })
  const halfBlocks = measured.map(
    ({ half, cutTo }, i): HalfSensitivity => ({
      layer: half.layer,
      kind: half.kind,
      probe: { width: cutTo, cost: kl[i] },
      curve: sampled(curves[i].points),
      width: chosen[i],
    }),
  )
  return { widths, allocation: { probeTokens, halfBlocks } }
}

/** Some of the points, with both ends. */
const sampled = (points: readonly WidthCost[], count = 12): WidthCost[] =>
  points.filter((_, i) => i === points.length - 1 || (i * count) % points.length < count)

/** Linear between points of descending widths. */
function interpolate(points: readonly WidthCost[], width: number): number {
  const found = points.findIndex(point => point.width <= width)
  const next = Math.max(1, found)
  const [above, below] = [points[next - 1], points[next]]
  return above.cost + ((above.width - width) / (above.width - below.width)) * (below.cost - above.cost)
}
