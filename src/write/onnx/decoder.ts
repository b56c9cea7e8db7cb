// The whole decoder as one graph with a KV cache, with the inputs and outputs that transformers.js (from 4.2) and optimum know:
//   input_ids [b, s], attention_mask [b, t], position_ids [b, s], num_logits_to_keep (0: all),
//   past_key_values.{i}.key [b, k, p, e] and .value [b, k, p, v]  →  logits [b, s, vocabulary], present.{i}.key and .value, t = p + s
// Attention is products and a softmax: GroupQueryAttention wants values as wide as keys, MultiHeadAttention a cache of equal widths (ONNX
// Runtime 1.30). Each KV head meets the queries of its group stacked, [b, k, (h/k)·s, e].
import { activate } from '../../blocks/ffn.ts'
import { normalise } from '../../blocks/norm.ts'
import { Graph, type Value } from '../../formats/onnx.ts'
import { type Architecture, type HalfBlock, halfBlocks, type Linear, widthsOf } from '../../model/architecture.ts'
import type { FloatType } from './encoding.ts'
import { floatProducts, type Products, type StoredTensor, Weights } from './products.ts'

/** Added to the scores of what may not be seen. Finite, and within float16: a row of padding sees nothing, and must not become NaN. */
const HIDDEN = -1e4

export interface DecoderGraph {
  readonly graph: Graph
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/** Value channels that the cache of a layer has in each KV head: those of its widest. */
export const cachedValues = (a: Architecture, layer: number): number => Math.max(...widthsOf(a, layer).values)

export function decoderGraph(a: Architecture, products: Products, float: FloatType): DecoderGraph {
  const decoder = new Decoder(a, products, float)
  decoder.build()
  return { graph: decoder.g, tensors: decoder.weights.stored }
}

class Decoder {
  readonly g = new Graph('decoder')
  readonly weights: Weights
  /** [b] and [s], one number each. */
  readonly batch: Value
  readonly length: Value
  readonly ids: Value
  readonly positions: Value
  readonly bias: Value

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
    this.bias = this.attentionBias(mask)
  }

  build(): void {
    const { a, g } = this
    let x = this.embed()
    const rotary = this.rotary()
    for (let layer = 0; layer < a.layers; layer++) {
      const [attention, ffn] = halfBlocks(a, layer)
      x = this.residual(attention, x, y => this.attention(attention, y, rotary))
      x = this.residual(ffn, x, y => this.ffn(ffn, y))
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
    const x = names.projectIn ? this.linear(rows, plain(names.projectIn, d, embeddingSize)) : rows
    if (!names.positions) return x
    const index = g.op('Add', [flat(this.positions), g.constant('int64', a.positionOffset)])
    const rowCount = a.maxPositions + a.positionOffset
    return g.op('Add', [x, floatProducts.rows(weights, `${names.positions}.weight`, rowCount, d, index)])
  }

  /** `y = x + f(norm(x))`, or `norm(x + f(x))`. */
  residual({ norm }: HalfBlock, x: Value, f: (x: Value) => Value): Value {
    const { postNorm } = this.a
    const y = this.g.op('Add', [x, f(postNorm ? x : this.norm(norm, x))])
    return postNorm ? this.norm(norm, y) : y
  }

  ffn({ inputs, output }: HalfBlock, x: Value): Value {
    const [first, ...others] = inputs.map(layer => this.linear(x, layer))
    const h = others.reduce((product, y) => this.g.op('Mul', [product, y]), activate(this.g, first, this.a.activation))
    return this.linear(h, output)
  }

  attention({ layer, inputs, output }: HalfBlock, x: Value, rotary: Value[]): Value {
    const { a, g } = this
    const { heads: h, kvHeads: k, headSize: e } = a
    const widths = widthsOf(a, layer).values
    const v = cachedValues(a, layer)
    const [query, key, value] = inputs.map(layer => this.linear(x, layer))
    const rotate = (y: Value) => (rotary.length > 0 ? g.op('RotaryEmbedding', [y, ...rotary]) : y)
    const q = g.op('Mul', [rotate(this.split(query, h, e)), this.weights.constant(1 / Math.sqrt(e))]) // [b, h, s, e]
    const keys = this.cached(layer, 'key', rotate(this.split(key, k, e)), e)
    const values = this.cached(layer, 'value', this.split(this.pick(value, spread(widths, v)), k, v), v)
    const grouped = (y: Value, width: number) =>
      h === k ? y : g.op('Reshape', [y, g.constant('int64', [0, k, -1, width])])
    const perHead = (y: Value, width: number) =>
      h === k ? y : g.op('Reshape', [y, g.constant('int64', [0, h, -1, width])])
    const scores = g.op('MatMul', [grouped(q, e), g.op('Transpose', [keys], { perm: [0, 1, 3, 2] })])
    const weights = g.op('Softmax', [g.op('Add', [perHead(scores, 0), this.bias])], { axis: -1 }) // [b, h, s, t]
    const found = perHead(g.op('MatMul', [grouped(weights, 0), values]), v)
    const rows = g.op('Reshape', [g.op('Transpose', [found], { perm: [0, 2, 1, 3] }), g.constant('int64', [-1, h * v])])
    const columns = widths.flatMap(n => new Array<number>(h / k).fill(n)) // of each query head
    return this.linear(this.pick(rows, gather(columns, v)), output)
  }

  /** [b·s, heads·width] → [b, heads, s, width]. */
  split(x: Value, heads: number, width: number): Value {
    const { g } = this
    const shape = g.op('Concat', [this.batch, this.length, g.constant('int64', [heads, width])], { axis: 0 })
    return g.op('Transpose', [g.op('Reshape', [x, shape])], { perm: [0, 2, 1, 3] })
  }

  /** Puts new keys or values [b, k, s, width] behind those of the past. */
  cached(layer: number, kind: 'key' | 'value', fresh: Value, width: number): Value {
    const { a, g, float } = this
    const shape = (positions: string) => ['batch_size', a.kvHeads, positions, width]
    const past = g.input(`past_key_values.${layer}.${kind}`, float, shape('past_sequence_length'))
    const name = `present.${layer}.${kind}`
    g.output(name, g.op('Concat', [past, fresh], { axis: 2 }), float, shape('total_sequence_length'))
    return name
  }

  /** Columns `index` of x [n, width]; x itself where that is all of them. */
  pick(x: Value, index: readonly number[] | undefined): Value {
    return index ? this.g.op('Gather', [x, this.g.constant('int64', index)], { axis: 1 }) : x
  }

  /** [b, 1, s, t]: 0 where a query may see a key, `HIDDEN` where the key is padding or comes later. */
  attentionBias(mask: Value): Value {
    const { g } = this
    const scalar = (value: Value) => g.op('Squeeze', [value])
    const total = g.op('Shape', [mask], { start: 1, end: 2 })
    const [zero, one] = [g.constant('int64', 0), g.constant('int64', 1)]
    const keys = g.op('Range', [zero, scalar(total), one]) // [t]
    const first = scalar(g.op('Sub', [total, this.length]))
    const queries = g.op('Unsqueeze', [g.op('Range', [first, scalar(total), one]), g.constant('int64', [1])]) // [s, 1]
    const present = g.op('Unsqueeze', [g.cast(mask, 'bool'), g.constant('int64', [1, 2])]) // [b, 1, 1, t]
    const seen = g.op('And', [present, g.op('GreaterOrEqual', [queries, keys])])
    return g.op('Where', [seen, this.weights.constant(0), this.weights.constant(HIDDEN)])
  }

  /** cos and sin [b, s, e/2] of each position's angles; nothing for models without rotary positions. Angles are float32, as in transformers. */
  rotary(): Value[] {
    const { a, g, float } = this
    if (!a.rope) return []
    const positions = g.op('Unsqueeze', [g.cast(this.positions, 'float32'), g.constant('int64', [2])])
    const angles = g.op('Mul', [positions, g.constant('float32', [...a.rope.inverseFrequencies])])
    return ['Cos', 'Sin'].map(f => (float === 'float32' ? g.op(f, [angles]) : g.cast(g.op(f, [angles]), float)))
  }

  /** The last `num_logits_to_keep` positions of each sequence, or all: [b·n, d], to compute no more logits than are read. */
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
    let y = names.finalNorm ? this.norm(names.finalNorm, x) : x
    if (names.projectOut) y = this.linear(y, plain(names.projectOut, embeddingSize, d))
    const head = plain(a.tied ? names.embedding : names.head, vocabularySize, embeddingSize)
    const logits = this.products.linear(this.weights, y, head, true)
    const shape = g.op('Concat', [this.batch, g.constant('int64', [-1, vocabularySize])], { axis: 0 })
    const shaped = g.op('Reshape', [logits, shape])
    return this.float === 'float32' ? shaped : g.cast(shaped, 'float32')
  }

  linear(x: Value, layer: Linear): Value {
    return this.products.linear(this.weights, x, layer)
  }

  norm(name: string, x: Value): Value {
    const { a, weights } = this
    const parts = a.norm.type === 'rms' ? ['weight'] : ['weight', 'bias']
    const value = (part: string, i: number) =>
      a.norm.affine
        ? weights.vector(`${name}.${part}`, a.hiddenSize)
        : weights.constant(new Array<number>(a.hiddenSize).fill(1 - i))
    return normalise(this.g, a, x, parts.map(value))
  }
}

const plain = (name: string, out: number, columns: number): Linear => ({ name, out, in: columns, bias: false })

/** Which of Σ counts columns stand in counts.length · size places, where each head has as many; what fills its rest is never read. */
function spread(counts: readonly number[], size: number): number[] | undefined {
  if (counts.every(n => n === size)) return undefined
  let start = 0
  return counts.flatMap(n => {
    const columns = Array.from({ length: size }, (_, i) => (i < n ? start + i : 0))
    start += n
    return columns
  })
}

/** Which of those places hold columns: the inverse of `spread`. */
function gather(counts: readonly number[], size: number): number[] | undefined {
  if (counts.every(n => n === size)) return undefined
  return counts.flatMap((n, head) => Array.from({ length: n }, (_, i) => head * size + i))
}
