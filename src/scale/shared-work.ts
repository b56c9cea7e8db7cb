// What the root shares with other processes of what it decides (plans.ts): solves, and eliminations.
import { leastShare } from '../allocate/sensitivity.ts'
import { firstOutput, pays, paysToEliminate, type SharedSolve } from '../group/solves.ts'
import type { Architecture } from '../model/architecture.ts'
import { fullWidth, groupSize, type HalfBlock } from '../model/half-block.ts'
import type { ResolvedOptions } from '../options.ts'
import { OUTPUTS } from '../restore/least-squares.ts'
import { ROUND_SHARE, SHRINK_SHARE } from '../select/eliminate.ts'
import { type HalfPlan, measuredHalves } from './half-plans.ts'

/** Columns of the cut that a curve is measured with. */
export const halfOfColumns = (half: HalfBlock) =>
  (half.kind === 'ffn' ? 1 : half.heads) * Math.ceil(fullWidth(half) / 2)

/** One run of `eliminate`. */
interface Elimination {
  readonly width: number
  readonly out: number
  readonly kept: number
  /** There is a gap to the dense stream. */
  readonly dense: boolean
  /** Columns that go together. */
  readonly size: number
  /** Activations are centred. */
  readonly centred?: boolean
  /** How many there are of it. */
  readonly times?: number
}

export const eliminationOf = (half: HalfBlock, kept: number, dense: boolean): Elimination => ({
  ...{ width: half.output.in, out: half.output.out, kept, dense },
  size: half.kind === 'attention' ? groupSize(half) : 1,
})

/** Of `errorCurve`. */
export function curveElimination(half: HalfBlock, a: Architecture, o: ResolvedOptions): Elimination {
  const heads = half.kind === 'ffn' ? 1 : half.heads
  return eliminationOf(half, heads * Math.max(1, Math.ceil(fullWidth(half) * leastShare(a, o))), false)
}

/** Rounds: how many columns go, of how many rows that are held. */
function* roundsOf({ width, kept, size }: Elimination): Generator<{ readonly s: number; readonly rows: number }> {
  const perRound = Math.ceil((width / size) * ROUND_SHARE) * size
  let rows = width
  for (let left = width; left > kept; ) {
    const s = Math.min(perRound, left - kept)
    yield { s, rows }
    left -= s
    if (left < SHRINK_SHARE * rows) rows = left
  }
}

/** A part of `eliminate`: `(G + δI)⁻¹`, and in each round a small system, and what its columns take from W and P. */
export function eliminationFlops(elimination: Elimination): number {
  const { width, out, dense } = elimination
  let flops = width ** 3 + (dense ? 2 * width ** 2 * out : 0) // factored, inverted
  for (const { s, rows } of roundsOf(elimination))
    flops += s ** 3 / 3 + 2 * s ** 2 * (rows + out) + 2 * rows * s * (rows + out)
  return flops
}

function eliminationsOf(halves: readonly HalfPlan[], a: Architecture, o: ResolvedOptions): Elimination[] {
  const curves = (o.allocate === 'sensitivity' ? measuredHalves(a, o) : [])
    .filter(half => half.kind === 'ffn' || o.vo !== 'rotate')
    .map(half => ({ ...curveElimination(half, a, o), centred: o.center && half.output.bias !== undefined }))
  const own = halves
    .filter(({ eliminates }) => eliminates)
    .map(({ half, kept, dense, experts }) => ({
      ...eliminationOf(half, kept, dense),
      centred: o.center && half.output.bias !== undefined,
      times: Math.max(1, experts),
    }))
  return [...own, ...curves]
}

interface Shared {
  float64: number
  sparedFlops: number
  sent: number
  received: number
}

/** Rows are taken to go evenly from all who have them. */
function addElimination(work: readonly Shared[], elimination: Elimination, each: number | undefined): void {
  const { width: n, out, dense, size, centred = false, times = 1 } = elimination
  const ranks = work.length
  if (ranks === 1 || size > 1 || !paysToEliminate(n, ranks, each)) return
  const rounds = [...roundsOf(elimination)]
  const sumOf = (of: (round: { readonly s: number; readonly rows: number }) => number) =>
    times * rounds.reduce((sum, round) => sum + of(round), 0)
  const alone = times * eliminationFlops(elimination)
  const common = (times * n ** 3) / 3 + sumOf(({ s, rows }) => s ** 3 / 3 + 2 * s ** 2 * (rows + out))
  const parted =
    times * (2 * n ** 3 + (dense ? 2 * n ** 2 * out : 0)) + sumOf(({ s, rows }) => 2 * rows * s * (rows + out))
  let left = n
  const gathered = sumOf(({ s, rows }) => {
    const costs = left
    left -= s
    return 8 * (costs + s * (1 + rows + out) + ranks)
  })
  const toAll = times * (8 * n + 4 * n * (n - 1) + (dense ? (centred ? 8 : 4) * n * out : 0)) // shrunk, so in float64
  const partOf = (rank: number) => (firstOutput(rank + 1, ranks, n, each) - firstOutput(rank, ranks, n, each)) / n
  const [root, ...others] = work
  for (const [rank, of] of work.entries()) {
    of.float64 += common + partOf(rank) * parted
    for (const way of ['sent', 'received'] as const) of[way] += ((ranks - 1) / ranks) * gathered
  }
  root.float64 -= alone
  root.sent += toAll
  for (const [i, other] of others.entries()) {
    const rows = times * 4 * partOf(i + 1) * n * out // of W
    root.sent += rows
    other.received += toAll + rows
    other.sparedFlops += (alone - common - partOf(0) * parted) / others.length
  }
}

/** Of repairs, the solves for all outputs. */
function solvesOf(halves: readonly HalfPlan[], a: Architecture, o: ResolvedOptions): SharedSolve[] {
  const measured = o.allocate === 'sensitivity' ? measuredHalves(a, o) : []
  const repaired = [
    ...(o.restore === true ? halves : []),
    ...measured.map(half => ({ half, experts: 0, kept: halfOfColumns(half) })),
  ]
  return repaired.flatMap(({ half, experts, kept }) => {
    const centred = o.center && half.output.bias !== undefined
    const solve = { n: kept, outputs: half.output.out, bytes: centred ? 8 : 4 } as const
    return new Array<SharedSolve>(Math.max(1, experts)).fill(solve)
  })
}

/** What `solvesOver` makes of these half-blocks, by rank: FLOPs in float64 beside what the root would do alone, and bytes. */
export function sharedWork(
  halves: readonly HalfPlan[],
  a: Architecture,
  o: ResolvedOptions,
  ranks: number,
  each: number | undefined,
) {
  const work = Array.from({ length: ranks }, () => ({ float64: 0, sparedFlops: 0, sent: 0, received: 0 }))
  for (const elimination of eliminationsOf(halves, a, o)) addElimination(work, elimination, each)
  const [root, ...others] = work
  for (const solve of solvesOf(halves, a, o)) {
    if (ranks === 1 || !pays(solve, ranks, each)) continue
    const { n, outputs, bytes } = solve
    const matrix = 8 * n + (bytes * n * (n - 1)) / 2
    root.sent += matrix
    for (const [i, other] of others.entries()) {
      let own = 0
      for (let first = 0; first < outputs; first += OUTPUTS) {
        const [from, to] = [1, 2].map(next => firstOutput(i + next, ranks, Math.min(OUTPUTS, outputs - first), each))
        own += to - from
      }
      const flops = 2 * n ** 2 * own
      other.float64 += n ** 3 / 3 + flops
      other.sparedFlops += flops
      root.float64 -= flops
      other.sent += 8 * n * own
      other.received += matrix + bytes * n * own
      root.sent += bytes * n * own
      root.received += 8 * n * own
    }
  }
  return work
}
