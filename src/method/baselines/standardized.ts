// How much to cut where, as in FLAP (AL-AM: adaptive across layers and modules; arXiv 2312.11983): scores of each
// half-block are standardised over its columns, z = (s − mean s) / std s; a head has the mean of its columns; all heads
// and neurons are ranked together, and the best stay, up to the wanted number of parameters. A KV head counts with all
// rows and columns of its query heads, (2r + 2) · e · d parameters (FLAP's code: as 170 neurons, in any shape), a
// neuron with its two or three. A layer can lose all its heads, or neurons.
import { type Architecture, decoderLinears, fullWidths, layersOf } from '../../model/architecture.ts'
import { columnGroups, headGroups } from '../../model/coupling.ts'
import type { HalfBlock, Widths } from '../../model/half-block.ts'
import { type Model, readWeights } from '../../model/model.ts'
import type { SensitivityOptions } from '../allocate/sensitivity.ts'
import { sharedOut } from '../least-sparsity.ts'
import { fluctuationScores } from '../score/fluctuation.ts'
import type { DenseStatistics } from '../statistics/dense.ts'

interface Unit {
  readonly layer: number
  readonly kind: HalfBlock['kind']
  readonly score: number
  readonly parameters: number
}

/** Widths of each layer, which leave about 1 − `sparsity` of the decoder linears. */
export async function standardizedWidths(
  model: Model,
  dense: DenseStatistics,
  { sparsity, scope, fits }: Pick<SensitivityOptions, 'sparsity' | 'scope' | 'fits'>,
): Promise<Widths[]> {
  const a = model.architecture
  const { qk, vo, ffn } = decoderLinears(a)
  const units: Unit[] = []
  const layers = layersOf(a)
  for (const half of a.halves) {
    const { layer } = half
    if (half.kind === 'attention' && scope === 'ffn') continue
    const weight = await readWeights(model, `${half.output.name}.weight`)
    const scores = standardized(fluctuationScores(weight, dense.layers[layer][half.kind], half))
    const groups = half.kind === 'attention' ? headGroups(half) : columnGroups(half)
    const parameters = (half.kind === 'attention' ? qk + vo : ffn) / layers / groups.length
    for (const columns of groups) {
      const score = columns.reduce((sum, j) => sum + scores[j], 0) / columns.length
      units.push({ layer, kind: half.kind, score, parameters })
    }
  }
  const inScope = units.reduce((sum, { parameters }) => sum + parameters, 0)
  const share = (sparsity: number) => {
    const stay = best(units, inScope - sparsity * (qk + vo + ffn))
    const count = (layer: number, kind: HalfBlock['kind']) =>
      stay.filter(unit => unit.layer === layer && unit.kind === kind).length
    return Array.from({ length: layers }, (_, layer) => ({
      ffn: count(layer, 'ffn'),
      value: fullWidths(a).value,
      ...(scope !== 'ffn' && { kvHeads: count(layer, 'attention') }),
    }))
  }
  return sharedOut(share, sparsity, fits)
}

/** Widths that a layer will keep about, before measurements. */
export function expectedWidths(a: Architecture, sparsity: number): Widths {
  const { ffn, value, kvHeads } = fullWidths(a)
  return { ffn: Math.round(ffn * (1 - sparsity)), value, kvHeads: Math.round(kvHeads * (1 - sparsity)) }
}

/** The units with the highest scores, as near to `parameters` in all as can be; of equals, the earlier. */
function best(units: readonly Unit[], parameters: number): Unit[] {
  const order = [...units].sort((x, y) => y.score - x.score)
  let [total, miss, stay] = [0, parameters, 0]
  for (const [i, unit] of order.entries()) {
    total += unit.parameters
    if (Math.abs(total - parameters) >= miss) continue
    miss = Math.abs(total - parameters)
    stay = i + 1
  }
  return order.slice(0, stay)
}

function standardized(scores: Float64Array): Float64Array {
  const mean = scores.reduce((sum, s) => sum + s, 0) / scores.length
  const variance = scores.reduce((sum, s) => sum + (s - mean) ** 2, 0) / Math.max(1, scores.length - 1)
  return scores.map(s => (s - mean) / (Math.sqrt(variance) || 1))
}
