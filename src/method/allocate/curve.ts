// The error of a half-block at each width w, from its statistics alone, and the half-block cut to one of these widths.
// err(w) is the error of backward elimination down to w neurons or value channels a head; for rotated values it is Σ σ²
// over the channels that go.
import type { Engine } from '../../engine/engine.ts'
import type { PrunedOutput } from '../../forward/runner.ts'
import { columnGroups, columnsOfRows } from '../../model/coupling.ts'
import { fullWidth } from '../../model/half-block.ts'
import { cut } from '../cut.ts'
import { eliminate } from '../select/eliminate.ts'
import type { Candidates } from '../select/selection.ts'
import { complement } from '../select/top.ts'
import type { WidthCost } from './greedy.ts'

export interface CurveOptions {
  readonly vo: 'ragged' | 'per-head' | 'rotate'
  readonly damp: number
  readonly shrinkage: number
  readonly center: boolean
}

interface CurveRange {
  /** Width of the half-block to be made. */
  readonly cutTo: number
  /** Least width of the curve. */
  readonly least: number
}

/** @returns squared errors at descending widths, from the full one at 0; and the half-block cut to `cutTo` */
export async function errorCurve(
  engine: Engine,
  seen: Candidates,
  { vo, cutTo, least, ...options }: CurveOptions & CurveRange,
): Promise<{ errors: readonly WidthCost[]; cut: PrunedOutput }> {
  const { half, output } = seen.weights
  const heads = half.kind === 'ffn' ? 1 : half.kvHeads
  const errors: WidthCost[] = []
  const byDirections = (scores: Float64Array) => {
    const e = fullWidth(half)
    errors.push({ width: e, cost: 0 })
    for (let width = e - 1, cost = 0; width >= least; width--) {
      for (let g = 0; g < heads; g++) cost += Math.max(0, scores[g * e + width])
      errors.push({ width, cost })
    }
    return Int32Array.from(scores.keys()).filter(row => row % e < cutTo)
  }
  const byElimination = async () => {
    const groups = columnGroups(half)
    const full = groups.length / heads
    const centring = { ...options, center: options.center && output.bias !== undefined, layer: half.output.name }
    const { order, curve } = await eliminate(engine, output.weight, seen.statistics, groups, least * heads, centring)
    for (const { removed, error } of curve) errors.push({ width: full - removed / heads, cost: error })
    return complement(order.slice(0, (full - cutTo) * heads), groups.length)
  }
  const { pruned } = await cut(engine, seen, {
    rotate: vo === 'rotate',
    restore: { ...options, restore: true },
    round: output => output, // nobody writes it
    async select({ scores }) {
      const kept = scores ? byDirections(scores) : await byElimination()
      return { columns: half.kind === 'ffn' ? kept : columnsOfRows(half, kept) }
    },
  })
  return { errors, cut: pruned }
}
