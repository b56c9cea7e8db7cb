// A model seen with wider layers: zeros take the new places, so that it computes the same. For what can hold only one width (stock
// configs, value channels in llama.cpp), or only multiples of one (quantised blocks). Nothing is read before it is asked for.

import type { FloatDType } from '../formats/dtype.ts'
import { fromFloat32, isDType } from '../formats/dtype.ts'
import type { Floats, TensorInfo } from '../formats/tensors.ts'
import { pickRows, scatterColumns, scatterRows } from '../linalg/scatter.ts'
import { type Architecture, halfBlocks, tensorShapes } from './architecture.ts'
import { columnsOfRows } from './coupling.ts'
import type { Model } from './model.ts'

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
  for (const [layer, { ffn: width, neurons, valueRows }] of places.entries()) {
    const columns = columnsOfRows(a, valueRows)
    const kinds = { attention: [valueRows, columns, a.kvHeads * a.headSize], ffn: [neurons, neurons, width] } as const
    for (const { kind, inputs, coupled, output } of halfBlocks(architecture, layer)) {
      const [rows, fromColumns, total] = kinds[kind]
      for (const i of coupled) {
        moves.set(`${inputs[i].name}.weight`, values => scatterRows(values, rows, total, inputs[i].in))
        moves.set(`${inputs[i].name}.bias`, values => scatterRows(values, rows, total, 1))
      }
      moves.set(`${output.name}.weight`, values => scatterColumns(values, fromColumns, output.in))
    }
  }
  const tensors = new Map<string, TensorInfo>()
  for (const [name, shape] of tensorShapes(architecture)) tensors.set(name, { ...source.tensors.get(name)!, shape })
  const float32 = async (name: string) => {
    const values = await source.float32(name)
    return moves.get(name)?.(values) ?? values
  }
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
  return { checkpoint: { ...checkpoint, tensors: wider }, architecture }
}

function widenedArchitecture(a: Architecture, places: readonly Places[]): Architecture {
  const [{ ffn }] = places
  if (places.every(layer => layer.ffn === ffn)) return { ...a, ffnWidth: ffn, layerWidths: undefined }
  const values = new Array<number>(a.kvHeads).fill(a.headSize)
  return { ...a, layerWidths: places.map(layer => ({ ffn: layer.ffn, values })) }
}
