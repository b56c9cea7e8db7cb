// What a run takes of each of several processes (docs/distributed.md), before it begins, from the shapes alone: windows and operations of each
// rank, operations of the root, bytes that go between them. `--dry-run` shows it, `bench/scale.mjs` draws it, and plans.test.ts holds it against
// runs: sums that travel and products outside graphs to the last byte and operation, decisions but for their heads of JSON.
import { solveFlops } from '../flops.ts'
import { DTYPE_BYTES, type FloatDType } from '../formats/dtype.ts'
import { CHUNK, type GroupOptions } from '../group/group.ts'
import { type Architecture, layersOf } from '../model/architecture.ts'
import { type AttentionHalf, expertCount, groupSize, type HalfBlock, hiddenWidth } from '../model/half-block.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Plan } from '../plan.ts'
import { type HalfPlan, halfPlans, measuredHalves } from './half-plans.ts'
import { curveElimination, eliminationFlops, eliminationOf, halfOfColumns, sharedWork } from './shared-work.ts'
import { windowFlops } from './window-flops.ts'

/** Multiplications and additions, by the type that they are made in. */
export interface Work {
  readonly float32: number
  readonly float64: number
}

export interface RankPlan {
  /** Windows to calibrate on that are its own. */
  readonly windows: number
  /** Of its windows. */
  readonly windowFlops: number
  /** Of decisions: the root's, and of others what they do for it. */
  readonly rootFlops: Work
  /** In float64, of these: what the root is spared. Others factor what it factors, too, which spares it nothing. */
  readonly sparedFlops: number
  readonly bytes: { readonly sent: number; readonly received: number }
}

/** What a machine does in a second: FLOPs in either type, and bytes that it sends and at once receives. */
export interface Rates extends Work {
  readonly network: number
}

export interface RankSeconds {
  /** Of the rank that has most windows. */
  readonly windows: number
  readonly root: number
  readonly network: number
  /** These together, as they follow each other in each half-block. */
  readonly all: number
  /** What one process alone takes. */
  readonly alone: number
}

/** Bytes a second of 10 Gb Ethernet. */
export const TEN_GBE = 1.1e9

/** @param ranks processes */
export function rankPlans(
  a: Architecture,
  plan: Pick<Plan, 'widths' | 'layers' | 'tensors'>,
  options: ResolvedOptions,
  ranks: number,
  { chunk = CHUNK, outputs }: Pick<GroupOptions, 'chunk' | 'outputs'> = {},
): RankPlan[] {
  const halves = halfPlans(a, plan, options)
  const stored = plan.tensors.find(({ name }) => name === `${a.halves[0].output.name}.weight`)!.dtype as FloatDType
  const traffic = trafficOf(halves, a, options, { ranks, chunk, stored: DTYPE_BYTES[stored] })
  const rootFlops = rootWork(halves, a, options)
  const shared = sharedWork(halves, a, options, ranks, outputs)
  return shared.map(({ float64, sparedFlops, sent, received }, rank) => {
    const share = (all: number) => Math.floor(((rank + 1) * all) / ranks) - Math.floor((rank * all) / ranks)
    const bytes = rank === 0 ? traffic.root : traffic.other
    const decided = rank === 0 ? rootFlops : { float32: 0, float64: 0 }
    return {
      windows: share(options.windows),
      windowFlops: windowFlops(halves, a, options, share),
      rootFlops: { float32: decided.float32, float64: decided.float64 + float64 },
      sparedFlops,
      bytes: { sent: bytes.sent + sent, received: bytes.received + received },
    }
  })
}

export function secondsOf(ranks: readonly RankPlan[], { float32, float64, network }: Rates): RankSeconds {
  const [{ rootFlops, bytes }] = ranks
  const each = ranks.map(({ windowFlops }) => windowFlops / float32)
  const windows = Math.max(...each)
  const root = rootFlops.float32 / float32 + rootFlops.float64 / float64
  const sending = Math.max(bytes.sent, bytes.received) / network
  const spared = ranks.reduce((sum, { sparedFlops }) => sum + sparedFlops, 0) / float64
  const alone = each.reduce((sum, seconds) => sum + seconds, root + spared)
  return { windows, root, network: sending, all: windows + root + sending, alone }
}

const sum = (works: readonly Work[]): Work => ({
  float32: works.reduce((sum, { float32 }) => sum + float32, 0),
  float64: works.reduce((sum, { float64 }) => sum + float64, 0),
})

/** What the root decides, while the others wait. */
function rootWork(halves: readonly HalfPlan[], a: Architecture, o: ResolvedOptions): Work {
  const measured = o.allocate === 'sensitivity' ? measuredHalves(a, o).map(half => curveWork(half, a, o)) : []
  return sum([...halves.map(half => halfWork(half, o.restore === true)), ...measured])
}

function halfWork({ half, experts, kept, dense, aligns, rotates, eliminates }: HalfPlan, restores: boolean): Work {
  const { in: width, out } = half.output
  const aligning = half.inputs.reduce((sum, l) => sum + 2 * l.out * l.in ** 2, 0)
  const gap = { float32: 2 * out * width ** 2, float64: 0 } // W G
  const all = sum([
    ...(aligns ? [{ float32: aligning, float64: out ** 3 / 3 + 2 * out ** 3 }] : []),
    ...(dense ? [gap] : []),
    ...(rotates ? [rotationWork(half as AttentionHalf, kept, dense)] : []),
    ...(eliminates ? [{ float32: 0, float64: eliminationFlops(eliminationOf(half, kept, dense)) }] : []),
    repairWork(half, kept, restores),
  ])
  return sum(new Array<Work>(Math.max(1, experts)).fill(all))
}

function repairWork({ output }: HalfBlock, kept: number, restores = true): Work {
  const { product, energy, gemm64 } = solveFlops(output, kept)
  return { float32: product + energy, float64: restores ? gemm64 : 0 }
}

/** `errorCurve`: down to the least width, and cut to half of it. */
function curveWork(half: HalfBlock, a: Architecture, o: ResolvedOptions): Work {
  const kept = halfOfColumns(half)
  return sum([
    half.kind === 'attention' && o.vo === 'rotate'
      ? rotationWork(half, kept, false)
      : { float32: 0, float64: eliminationFlops(curveElimination(half, a, o)) },
    repairWork(half, kept),
  ])
}

/** `rotateValues` and `unrotateOutput`, but for eigenvalues of matrices of a head. */
function rotationWork(half: AttentionHalf, kept: number, dense: boolean): Work {
  const { heads, kvHeads, headSize: e, inputs, output } = half
  const { in: width, out } = output
  const bases = 2 * e ** 2 * (heads * out + 3 * kvHeads * e) // S, F S, (F S) Fᵀ, B
  const [, , v] = inputs
  const turned = 2 * e * (width * (2 * width + out + 1 + (dense ? out : 0)) + v.out * (v.in + Number(v.bias ?? 0)))
  return { float32: 0, float64: bases + turned + 2 * out * kept * e }
}

/** Bytes of arrays that ranks send and are sent. Heads of messages, and what ranks tell each other before each call, are a few KB more. */
function trafficOf(
  halves: readonly HalfPlan[],
  a: Architecture,
  o: ResolvedOptions,
  { ranks, chunk, stored }: { readonly ranks: number; readonly chunk: number; readonly stored: number },
) {
  const root = { sent: 0, received: 0 }
  const other = { sent: 0, received: 0 }
  const d = a.hiddenSize
  /** What each rank has of a sum is sent to its owner, and what the owner has to the root, or to all. */
  const add = (length: number, bytes: number, toAll = false) => {
    const slice = Math.min(Math.max(1, Math.floor(chunk / bytes / ranks)), Math.ceil(length / ranks))
    const own = slice * bytes * (length > 0 ? Math.ceil(length / (slice * ranks)) : 0)
    const others = (ranks - 1) * own
    root.sent += toAll ? 2 * others : others
    root.received += 2 * others
    other.sent += others + (toAll ? others : own)
    other.received += toAll ? 2 * others : others
  }
  const decide = (...arrays: readonly number[]) => {
    const bytes = arrays.reduce((sum, length) => sum + 8 * Math.ceil(length / 8), 0)
    root.sent += bytes
    other.received += bytes
  }
  const gather = (bytes: number) => {
    for (const rank of [root, other]) for (const way of ['sent', 'received'] as const) rank[way] += (ranks - 1) * bytes
  }
  const observed = (width: number, gap: boolean) => {
    add(upperLength(width), 4)
    add(width, 4)
    add(1, 8)
    if (gap)
      for (const [length, bytes] of [
        [width * d, 4],
        [d, 4],
        [1, 8],
      ])
        add(length, bytes)
  }
  if (ranks === 1) return { root, other }
  decide(...Array.from({ length: o.windows + o.heldOut }, () => 4 * o.seqLen))
  if (o.allocate === 'sensitivity') {
    const measured = measuredHalves(a, o)
    for (const half of measured) {
      const { in: width } = half.output
      observed(width, false)
      const rotates = half.kind === 'attention' && o.vo === 'rotate'
      const columns = rotates ? width : halfOfColumns(half)
      decide(4 * d * columns, 4 * columns, biasBytes(half))
    }
    for (const length of [measured.length, 1]) add(length, 8, true)
  }
  if (o.allocate === 'standardized' || o.allocate === 'influence') {
    for (const half of a.halves) gather(2 * 8 * hiddenWidth(half)) // means and squares
    for (let layer = 0; layer < layersOf(a); layer++) add(2, 8, true) // of cosines
  }
  for (const { half, experts, kept, cuts, dense, aligns, rotates } of halves) {
    const { in: width } = half.output
    if (aligns) {
      for (let i = 0; i < 2; i++) add(d ** 2, 4) // XᵀX, Xᵀ(Y − X)
      decide(...half.inputs.flatMap(l => [4 * l.in * l.out, l.bias ? 4 * l.out : 0]))
    }
    // Of a mixture: scores and how many tokens they are of; energy, errors before and after it, and of what is only cut; gates.
    const ofMixture =
      experts > 0 ? [...new Array<number>(2).fill(expertCount(half)), 1, 1, 1, ...(cuts ? [1] : []), 3] : []
    for (const length of ofMixture) add(length, 8, true)
    const group = half.kind === 'ffn' ? 1 : groupSize(half)
    const units = width / (half.kind === 'attention' && o.scope === 'ffn+heads' ? group * half.headSize : group)
    for (let e = 0; e < Math.max(1, experts); e++) {
      observed(width, dense)
      decide(
        ...(cuts ? [8 * units] : []),
        ...[4 * kept, half.kind === 'ffn' ? 0 : (4 * kept) / group],
        ...[4 * d * kept, stored * d * kept, 2 * biasBytes(half)],
        ...(rotates ? [4 * d * width, 4 * width] : []),
      )
    }
    if (o.heldOut > 0) add(2, 8, true)
  }
  return { root, other }
}

const biasBytes = ({ output }: HalfBlock): number => (output.bias ? 4 * output.out : 0)

/** Elements of the blocks that a Gram matrix is added up in, as in `engine/syrk.ts`; a BLAS has those on and above the diagonal. */
export function upperLength(n: number, smallest = Math.max(192, n / 32)): number {
  const half = Math.floor(n / 2)
  return n <= smallest ? n ** 2 : half * (n - half) + upperLength(half, smallest) + upperLength(n - half, smallest)
}
