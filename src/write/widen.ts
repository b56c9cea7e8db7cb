// A model seen with wider layers: zeros take the new places, so that it computes the same. For what can hold only one width (stock
// configs, value channels in llama.cpp), or only multiples of one (quantised blocks). Nothing is read before it is asked for.

import type { FloatDType } from '../formats/dtype.ts'
import { fromFloat32, isDType } from '../formats/dtype.ts'
import type { Floats, TensorInfo, TensorSource } from '../formats/tensors.ts'
import { pickRows, scatterColumns, scatterRows, splitRows } from '../linalg/scatter.ts'
import { type Architecture, attentionHalves, tensorShapes, withLayerWidths } from '../model/architecture.ts'
import { columnsOfRows } from '../model/coupling.ts'
import { hiddenWidth, plainHalves, storedInputs, storedRows } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'

/** Where the neurons and value rows of a layer go. */
export interface Places {
  /** FFN width to come. */
  readonly ffn: number
  /** Place of each neuron, ascending. */
  readonly neurons: Int32Array
  /** Place of each row of v_proj among all `kvHeads · headSize`, ascending. */
  readonly valueRows: Int32Array
}

/** The model with the FFN widths of `places`, and `headSize` value channels in every head. */
export function widened({ checkpoint, architecture: a }: Model, places: readonly Places[]): Model {
  const architecture = widenedArchitecture(a, places)
  const { tensors: source } = checkpoint
  const moves = new Map<string, (values: Floats) => Floats>()
  for (const [i, wide] of architecture.halves.entries())
    for (const half of plainHalves(wide)) {
      const { neurons, valueRows } = places[half.layer]
      const isFfn = half.kind === 'ffn'
      const rows = isFfn ? neurons : valueRows
      const columns = isFfn ? neurons : columnsOfRows(half, valueRows)
      for (const [name, slices] of storedInputs(half)) {
        if (!slices.some(j => half.coupled.includes(j))) continue
        const before = slices.map(j => a.halves[i].inputs[j].out)
        const after = slices.map(j => half.inputs[j].out)
        const [from, to] = [storedRows(a.halves[i]), storedRows(half)]
        const widen = (values: Floats, columns: number) => {
          const wide = new Float32Array(after.reduce((sum, n) => sum + n, 0) * columns)
          const places = splitRows(wide, after, columns)
          const parts = splitRows(from ? pickRows(values, from, columns) : values, before, columns)
          for (const [s, part] of parts.entries())
            places[s].set(half.coupled.includes(slices[s]) ? scatterRows(part, rows, after[s], columns) : part)
          return to ? scatterRows(wide, to, to.length, columns) : wide
        }
        moves.set(`${name}.weight`, values => widen(values, half.inputs[0].in))
        moves.set(`${name}.bias`, values => widen(values, 1))
      }
      const width = hiddenWidth(half)
      moves.set(`${half.output.name}.weight`, values => scatterColumns(values, columns, width))
      moves.set(half.output.name, gram =>
        scatterRows(scatterColumns(gram, columns, width, columns.length), columns, width, width),
      )
    }
  const tensors = new Map<string, TensorInfo>()
  for (const [name, shape] of tensorShapes(architecture)) tensors.set(name, { ...source.tensors.get(name)!, shape })
  const widens = (source: TensorSource) => async (name: string) => {
    const values = await source.float32(name)
    return moves.get(name)?.(values) ?? values
  }
  const float32 = widens(source)
  const wider = {
    ...source,
    tensors,
    float32,
    rows: async (name: string, ids: Int32Array) =>
      moves.has(name) ? pickRows(await float32(name), ids, tensors.get(name)!.shape[1]) : source.rows(name, ids),
    bytes: async (name: string) => {
      const { dtype } = source.tensors.get(name)!
      return moves.has(name) && isDType(dtype)
        ? fromFloat32(await float32(name), dtype as FloatDType)
        : source.bytes(name)
    },
  }
  const statistics = checkpoint.statistics && { ...checkpoint.statistics, float32: widens(checkpoint.statistics) }
  return { checkpoint: { ...checkpoint, tensors: wider, statistics }, architecture }
}

function widenedArchitecture(a: Architecture, places: readonly Places[]): Architecture {
  const [{ ffn }] = places
  const widths = attentionHalves(a).map(({ values, headSize }, i) => ({
    ffn: places[i].ffn,
    values: values.map(() => headSize),
  }))
  if (places.some(layer => layer.ffn !== ffn)) return withLayerWidths(a, widths)
  return { ...withLayerWidths(a, widths, false), ffnWidth: ffn }
}
