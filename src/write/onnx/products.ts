// What a linear layer and a look-up in a table become in a decoder graph, for each number format of transformers.js:
//   floats   Gemm; Gather
//   blocks   MatMulNBits; Gather of codes and scales (onnxruntime-web has no GatherBlockQuantized on the CPU)
//   rows     DynamicQuantizeLinear and MatMulInteger (activations in 8 bits); Gather of codes, scales and zero points
// A table that is also the tied head is one initializer for both.
import type { Graph, Value } from '../../formats/onnx.ts'
import type { Linear } from '../../model/half-block.ts'
import { BLOCK, blocksOf, inBlocks } from './blocks.ts'
import { type Encoding, type FloatType, floats } from './encoding.ts'
import { inRows } from './rows.ts'

const MIDDLE = 128
/** Keeps a row of zeros from division by zero. */
const TINY = 1e-30

/** A tensor of the checkpoint as the file holds it. */
export interface StoredTensor {
  readonly name: string
  readonly columns: number
  readonly encoding: Encoding
  /** Names of the initializers, one a part of the encoding. */
  readonly parts: readonly string[]
}

/** The weights of a graph: each tensor becomes initializers once, however often it is used. */
export class Weights {
  readonly stored = new Map<string, StoredTensor>()
  readonly #quantised = new Map<Value, readonly [Value, Value]>()
  constructor(
    readonly g: Graph,
    /** Of all that is not quantised, and of the activations. */
    readonly float: FloatType,
  ) {}

  /** Initializers of `name` [rows, columns]. */
  matrix(name: string, rows: number, columns: number, encoding: Encoding): Value[] {
    const parts = encoding.parts(rows, columns)
    const names = parts.map(({ suffix }) => `${name}${suffix}`)
    if (!this.stored.has(name)) {
      this.stored.set(name, { name, columns, encoding, parts: names })
      for (const [i, { type, shape }] of parts.entries()) this.g.initializer(names[i], type, shape)
    }
    return names
  }

  vector(name: string, length: number): Value {
    if (!this.stored.has(name)) {
      this.stored.set(name, { name, columns: length, encoding: floats(this.float), parts: [name] })
      this.g.initializer(name, this.float, [length])
    }
    return name
  }

  /** A constant in the type of the activations. */
  constant(values: number | readonly number[]): Value {
    const value = this.g.constant('float32', values)
    return this.float === 'float32' ? value : this.g.cast(value, this.float)
  }

  /** 8-bit `x` [n, in] around `MIDDLE`, and row scales [n, 1]: q = round(x / scale) + 128, scale = max |x| / 127. */
  quantised(x: Value): readonly [Value, Value] {
    let found = this.#quantised.get(x)
    if (!found) {
      const { g } = this
      const largest = g.op('ReduceMax', [g.op('Abs', [x]), g.constant('int64', [-1])], { keepdims: 1 })
      const scale = g.op('Max', [g.op('Mul', [largest, g.constant('float32', 1 / 127)]), g.constant('float32', TINY)])
      const steps = g.op('Round', [g.op('Div', [x, scale])])
      found = [g.cast(g.op('Add', [steps, g.constant('float32', MIDDLE)]), 'uint8'), scale]
      this.#quantised.set(x, found)
    }
    return found
  }

  /** The initializer of the layer's bias, or nothing. */
  bias({ name, out, bias }: Linear): Value[] {
    return bias ? [this.vector(`${name}.bias`, out)] : []
  }
}

export interface Products {
  /** `x Wᵀ + b` of `x` [n, in]. @param head the weight is stored as tables are, and may be one */
  linear(w: Weights, x: Value, layer: Linear, head?: boolean): Value
  /** Rows [n, columns] of the table `name` [rows, columns]. @param ids [n] */
  rows(w: Weights, name: string, rows: number, columns: number, ids: Value): Value
}

const weightOf = (w: Weights, { name, out, in: columns }: Linear, encoding: Encoding) =>
  w.matrix(`${name}.weight`, out, columns, encoding)

export const floatProducts: Products = {
  linear: (w, x, layer) => w.g.op('Gemm', [x, ...weightOf(w, layer, floats(w.float)), ...w.bias(layer)], { transB: 1 }),
  rows: (w, name, rows, columns, ids) => w.g.op('Gather', [...w.matrix(name, rows, columns, floats(w.float)), ids]),
}

/** Layers in 4 bits. Tables hold more of what a small model knows, and cost little more in 8 (docs/onnx.md). */
export const blockProducts: Products = {
  linear(w, x, layer, head = false) {
    const bits = head ? 8 : 4
    const [bias] = w.bias(layer)
    const inputs = [x, ...weightOf(w, layer, inBlocks(bits, w.float)), ...(bias ? ['', '', bias] : [])]
    // accuracy_level 4: blocks of activations in 8 bits, which ONNX Runtime has its fast kernels for
    const attributes = { K: layer.in, N: layer.out, bits, block_size: BLOCK, accuracy_level: 4 }
    return w.g.op('com.microsoft.MatMulNBits', inputs, attributes)
  },
  rows(w, name, rows, columns, ids) {
    const { g } = w
    // codes [n, blocks, 32] and scales [n, blocks]
    const parts = w.matrix(name, rows, columns, inBlocks(8, w.float))
    const [codes, scales] = parts.map(part => g.op('Gather', [part, ids]))
    const steps = g.op('Sub', [g.cast(codes, w.float), w.constant(MIDDLE)])
    const values = g.op('Mul', [steps, g.op('Unsqueeze', [scales, g.constant('int64', [2])])])
    const flat = g.op('Reshape', [values, g.constant('int64', [-1, blocksOf(columns) * BLOCK])])
    if (columns % BLOCK === 0) return flat
    return g.op('Slice', [flat, ...[[0], [columns], [1]].map(v => g.constant('int64', v))])
  },
}

export const rowProducts: Products = {
  linear(w, x, layer, head = false) {
    const { g } = w
    const [codes, scale, zero] = weightOf(w, layer, inRows(!head))
    const weight = head ? g.op('Transpose', [codes], { perm: [1, 0] }) : codes
    const [xCodes, xScale] = w.quantised(x)
    const sums = g.cast(
      g.op('MatMulInteger', [xCodes, weight, g.cast(g.constant('int32', MIDDLE), 'uint8'), zero]),
      w.float,
    )
    const y = g.op('Mul', [g.op('Mul', [sums, xScale]), scale])
    return w.bias(layer).reduce((sum, bias) => g.op('Add', [sum, bias]), y)
  },
  rows(w, name, rows, columns, ids) {
    const [codes, scale, zero] = w.matrix(name, rows, columns, inRows(false)).map(part => w.g.op('Gather', [part, ids]))
    return w.g.op('DequantizeLinear', [codes, scale, zero], { axis: 0 })
  },
}
