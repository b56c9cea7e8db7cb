// The whole decoder as one graph with a KV cache. Inputs and outputs are those of transformers.js (from 4.2) and
// optimum, with t = p + s:
//   input_ids [b, s], attention_mask [b, t], position_ids [b, s], num_logits_to_keep (0: all),
//   past_key_values.{i}.key [b, k, p, e] and .value [b, k, p, v]
//   → logits [b, s, vocabulary], present.{i}.key and .value
// The builders of half-blocks are those that our own engine runs (src/graphs); the file holds the weights.
import { Graph, type Value } from '../../formats/onnx.ts'
import type { AttentionForm } from '../../graphs/attention.ts'
import { halfBlock } from '../../graphs/half-block.ts'
import { type Layers, normalise } from '../../graphs/layers.ts'
import type { Architecture } from '../../model/architecture.ts'
import {
  type AttentionHalf,
  type HalfBlock,
  isBeside,
  type Linear,
  type Norm,
  type Rope,
  storedInputs,
  storedRows,
} from '../../model/half-block.ts'
import { byCache, type DecoderCache } from './cached-attention.ts'
import type { FloatType } from './encoding.ts'
import { floatProducts, type Products, type StoredTensor, Weights } from './products.ts'

/** Hides a score. Finite and within float16: a row of padding sees nothing, and must not become NaN. */
const HIDDEN = -1e4

export interface DecoderGraph {
  readonly graph: Graph
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

export function decoderGraph(a: Architecture, products: Products, float: FloatType): DecoderGraph {
  const decoder = new Decoder(a, products, float)
  decoder.build()
  return { graph: decoder.g, tensors: decoder.weights.stored }
}

class Decoder implements Layers {
  readonly g = new Graph('decoder')
  readonly weights: Weights
  /** [b] and [s], one number each. */
  readonly batch: Value
  readonly length: Value
  readonly ids: Value
  readonly positions: Value
  /** By their window: what layers have in common stands in the file once. */
  readonly bias: (window: number | undefined) => Value
  readonly rotary: (rope: Rope | undefined) => readonly Value[]

  constructor(
    readonly a: Architecture,
    readonly products: Products,
    readonly float: FloatType,
  ) {
    const { g } = this
    this.weights = new Weights(g, float)
    this.ids = g.input('input_ids', 'int64', ['batch_size', 'sequence_length'])
    const mask = g.input('attention_mask', 'int64', ['batch_size', 'total_sequence_length'])
    this.positions = g.input('position_ids', 'int64', ['batch_size', 'sequence_length'])
    this.batch = g.op('Shape', [this.ids], { start: 0, end: 1 })
    this.length = g.op('Shape', [this.ids], { start: 1, end: 2 })
    this.bias = once(window => this.attentionBias(mask, window))
    this.rotary = once(rope => this.angles(rope))
  }

  build(): void {
    const { a, g } = this
    let x = this.embed()
    let read = x
    for (const half of a.halves) {
      if (!isBeside(half)) read = x
      x = halfBlock(g, half, x, this, half.kind === 'attention' ? this.form(half) : undefined, read)
    }
    const logits = this.head(this.lastPositions(x))
    g.output('logits', logits, 'float32', ['batch_size', 'num_logits', a.vocabularySize])
  }

  /** The stream [b·s, d]. */
  embed(): Value {
    const { a, g, products, weights } = this
    const { names, embeddingSize, vocabularySize, hiddenSize: d } = a
    const flat = (value: Value) => g.op('Reshape', [value, g.constant('int64', [-1])])
    const rows = products.rows(weights, `${names.embedding}.weight`, vocabularySize, embeddingSize, flat(this.ids))
    const scaled = a.embeddingScale ? g.op('Mul', [rows, this.constant(a.embeddingScale)]) : rows
    const x = names.projectIn ? this.linear(scaled, plain(names.projectIn, d, embeddingSize)) : scaled
    if (!names.positions) return x
    const index = g.op('Add', [flat(this.positions), g.constant('int64', a.positionOffset)])
    const rowCount = a.maxPositions + a.positionOffset
    return g.op('Add', [x, floatProducts.rows(weights, `${names.positions}.weight`, rowCount, d, index)])
  }

  /** Attention with the cache of its layer. */
  form(half: AttentionHalf): AttentionForm {
    const { g, float, batch, length } = this
    const cache: DecoderCache = {
      ...{ batch, length, bias: this.bias(half.window), rotary: this.rotary(half.rope) },
      constant: value => this.constant(value),
      cached(kind, fresh, width) {
        const shape = (positions: string) => ['batch_size', half.kvHeads, positions, width]
        const past = g.input(`past_key_values.${half.layer}.${kind}`, float, shape('past_sequence_length'))
        const name = `present.${half.layer}.${kind}`
        g.output(name, g.op('Concat', [past, fresh], { axis: 2 }), float, shape('total_sequence_length'))
        return name
      },
    }
    return { by: 'caller', attend: qkv => byCache(g, half, qkv, cache) }
  }

  /** [b, 1, s, t]: 0 where a query sees a key; `HIDDEN` for padding, for later keys, and for keys before its window. */
  attentionBias(mask: Value, window: number | undefined): Value {
    const { g } = this
    const scalar = (value: Value) => g.op('Squeeze', [value])
    const total = g.op('Shape', [mask], { start: 1, end: 2 })
    const [zero, one] = [g.constant('int64', 0), g.constant('int64', 1)]
    const keys = g.op('Range', [zero, scalar(total), one]) // [t]
    const first = scalar(g.op('Sub', [total, this.length]))
    const queries = g.op('Unsqueeze', [g.op('Range', [first, scalar(total), one]), g.constant('int64', [1])]) // [s, 1]
    const present = g.op('Unsqueeze', [g.cast(mask, 'bool'), g.constant('int64', [1, 2])]) // [b, 1, 1, t]
    const causal = g.op('And', [present, g.op('GreaterOrEqual', [queries, keys])])
    const ends = window === undefined ? undefined : g.op('Add', [keys, g.constant('int64', window)])
    const seen = ends ? g.op('And', [causal, g.op('Less', [queries, ends])]) : causal
    return g.op('Where', [seen, this.weights.constant(0), this.weights.constant(HIDDEN)])
  }

  /** cos and sin [b, s, e/2] of each position's float32 angles; nothing for models without rotary positions. */
  angles(rope: Rope | undefined): Value[] {
    const { g, float } = this
    if (!rope) return []
    const positions = g.op('Unsqueeze', [g.cast(this.positions, 'float32'), g.constant('int64', [2])])
    const { long, factor } = rope
    const [usual, ...others] = [rope, ...(long ? [long] : [])].map(({ inverseFrequencies }) =>
      g.constant('float32', [...inverseFrequencies]),
    )
    const isLong = () =>
      g.op('GreaterOrEqual', [g.op('ReduceMax', [this.positions], { keepdims: 0 }), g.constant('int64', long!.from)])
    const frequencies = long ? g.op('Where', [isLong(), ...others, usual]) : usual
    const angles = g.op('Mul', [positions, frequencies])
    const factors =
      factor &&
      g.constant(
        'float32',
        [...rope.inverseFrequencies].map(f => (f > 0 ? factor : 1)),
      )
    return ['Cos', 'Sin'].map(f => {
      const table = factors ? g.op('Mul', [g.op(f, [angles]), factors]) : g.op(f, [angles])
      return float === 'float32' ? table : g.cast(table, float)
    })
  }

  /** The last `num_logits_to_keep` positions of each sequence, or all: [b·n, d]. Others need no logits. */
  lastPositions(x: Value): Value {
    const { g, a } = this
    const kept = g.op('Neg', [g.input('num_logits_to_keep', 'int64', [])]) // −0 is the start
    const start = g.op('Unsqueeze', [kept, g.constant('int64', [0])])
    const shape = g.op('Concat', [this.batch, this.length, g.constant('int64', [a.hiddenSize])], { axis: 0 })
    const end = g.constant('int64', [Number.MAX_SAFE_INTEGER])
    const last = g.op('Slice', [g.op('Reshape', [x, shape]), start, end, g.constant('int64', [1])])
    return g.op('Reshape', [last, g.constant('int64', [-1, a.hiddenSize])])
  }

  /** Logits [b, n, vocabulary] from the stream [b·n, d]. */
  head(x: Value): Value {
    const { a, g } = this
    const { names, embeddingSize, vocabularySize, hiddenSize: d } = a
    let y = a.finalNorm ? this.norm(x, a.finalNorm) : x
    if (names.projectOut) y = this.linear(y, plain(names.projectOut, embeddingSize, d))
    if (a.logitScale) y = g.op('Mul', [y, this.constant(a.logitScale)])
    const head = plain(a.tied ? names.embedding : names.head, vocabularySize, embeddingSize)
    const logits = this.products.linear(this.weights, y, head, true)
    const shape = g.op('Concat', [this.batch, g.constant('int64', [-1, vocabularySize])], { axis: 0 })
    const shaped = g.op('Reshape', [logits, shape])
    return this.float === 'float32' ? shaped : g.cast(shaped, 'float32')
  }

  constant(value: number): Value {
    return this.weights.constant(value)
  }

  linear(x: Value, layer: Linear): Value {
    return this.products.linear(this.weights, x, layer)
  }

  /** Slices of one stored tensor are slices of one product. */
  inputs(x: Value, half: HalfBlock): Value[] {
    const { g } = this
    return [...storedInputs(half).values()].flatMap(slices => {
      const outs = slices.map(i => half.inputs[i].out)
      const stored = this.linear(x, { ...half.inputs[slices[0]], out: outs.reduce((sum, n) => sum + n) })
      const order = storedRows(half)
      const y = order ? g.op('Gather', [stored, g.constant('int64', [...order])], { axis: 1 }) : stored
      return outs.length === 1 ? [y] : g.ops('Split', [y, g.constant('int64', outs)], outs.length, { axis: 1 })
    })
  }

  norm(x: Value, norm: Norm): Value {
    const { weights } = this
    const parts = norm.type === 'rms' ? ['weight'] : ['weight', 'bias']
    const value = (part: string, i: number) => {
      if (!norm.affine) return weights.constant(new Array<number>(norm.size).fill(1 - i))
      const vector = weights.vector(`${norm.name}.${part}`, norm.size)
      return norm.offset ? this.g.op('Add', [vector, weights.constant(norm.offset)]) : vector
    }
    return normalise(this.g, x, norm, parts.map(value))
  }
}

const plain = (name: string, out: number, columns: number): Linear => ({ name, out, in: columns, bias: false })

/** Makes what belongs to a key when it is first asked for. */
function once<K, V>(make: (key: K) => V): (key: K) => V {
  const made = new Map<K, V>()
  return key => {
    if (!made.has(key)) made.set(key, make(key))
    return made.get(key)!
  }
}
