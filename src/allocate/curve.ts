// What a half-block would lose at each width, from its statistics alone, and the half-block cut to one of these widths:
//   err(w) is the error of backward elimination once all but w neurons or value channels a head are gone;
//   of rotated values it is Σ σ² over the channels that go.
import type { PrunedOutput } from '../blocks/halfblock.ts'
import type { HalfWeights } from '../blocks/weights.ts'
import type { Statistics } from '../calibrate/gram.ts'
import type { Engine } from '../engine/engine.ts'
import type { Architecture } from '../model/architecture.ts'
import { columnGroups, columnsOfRows } from '../model/coupling.ts'
import { restoreColumns } from '../restore/least-squares.ts'
import { eliminate } from '../select/eliminate.ts'
import type { Candidates } from '../select/kept.ts'
import { rotateValues, unrotateOutput } from '../select/rotate.ts'
import { complement } from '../select/top.ts'
import type { WidthCost } from './greedy.ts'

export interface CurveOptions {
  readonly vo: 'ragged' | 'per-head' | 'rotate'
  readonly damp: number
  readonly center: boolean
}

/**
 * @param cutTo width of the half-block that is to be made @param least width that the curve goes down to
 * @returns squared errors at descending widths, from the full one at 0; and the half-block cut to `cutTo`
 */
export async function errorCurve(
  engine: Engine,
  a: Architecture,
  weights: HalfWeights,
  statistics: Statistics,
  cutTo: number,
  least: number,
  { vo, ...options }: CurveOptions,
): Promise<{ errors: readonly WidthCost[]; cut: PrunedOutput }> {
  const { half, output } = weights
  const layer = half.output.name
  const repaired = ({ weights: w, statistics: s }: Candidates, columns: Int32Array<ArrayBuffer>) => {
    const removed = complement(columns, s.width)
    const restoring = { ...options, restore: true, layer }
    return restoreColumns(engine, w.output.weight, w.output.bias, s, columns, removed, restoring)
  }
  if (half.kind === 'attention' && vo === 'rotate') {
    const { headSize: e, kvHeads } = a
    const rotated = await rotateValues(engine, a, weights, statistics)
    const errors: WidthCost[] = [{ width: e, cost: 0 }]
    for (let width = e - 1, cost = 0; width >= least; width--) {
      for (let g = 0; g < kvHeads; g++) cost += Math.max(0, rotated.scores[g * e + width])
      errors.push({ width, cost })
    }
    const first = Int32Array.from(rotated.scores.keys()).filter(row => row % e < cutTo)
    return { errors, cut: await unrotateOutput(engine, a, rotated, await repaired(rotated, columnsOfRows(a, first))) }
  }
  const heads = half.kind === 'ffn' ? 1 : a.kvHeads
  const groups = columnGroups(a, half)
  const full = groups.length / heads
  const { order, curve } = await eliminate(engine, output.weight, statistics, groups, least * heads, {
    ...options,
    center: options.center && output.bias !== undefined,
    layer,
  })
  const kept = complement(order.slice(0, (full - cutTo) * heads), groups.length)
  const columns = half.kind === 'ffn' ? kept : columnsOfRows(a, kept)
  return {
    errors: curve.map(({ removed, error }) => ({ width: full - removed / heads, cost: error })),
    cut: { output: await repaired({ weights, statistics }, columns), columns },
  }
}
