// A model seen with wider layers. Zeros fill the new places, so the model computes the same. Formats need this that
// hold one width (stock configs, value channels in llama.cpp) or multiples of a block (quantised types).
import { pickRows, scatterColumns, scatterRows, splitRows } from '../engine/linalg/scatter.ts'
import type { Floats } from '../formats/tensors.ts'
import { type Architecture, attentionHalves, withLayerWidths } from '../model/architecture.ts'
import { columnsOfRows } from '../model/coupling.ts'
import { hiddenWidth, plainHalves, storedInputs, storedRows } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import { type Move, viewed } from './model-view.ts'

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
export function widened(model: Model, places: readonly Places[]): Model {
  const { architecture: a } = model
  const architecture = widenedArchitecture(a, places)
  const moves = new Map<string, Move>()
  const move = (from: string, values: Move['values']) => moves.set(from, { from, values })
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
        move(`${name}.weight`, values => widen(values, half.inputs[0].in))
        move(`${name}.bias`, values => widen(values, 1))
      }
      const width = hiddenWidth(half)
      move(`${half.output.name}.weight`, values => scatterColumns(values, columns, width))
      move(half.output.name, gram =>
        scatterRows(scatterColumns(gram, columns, width, columns.length), columns, width, width),
      )
    }
  return viewed(model, architecture, moves)
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
