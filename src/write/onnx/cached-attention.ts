// Attention with a KV cache, as an exported decoder has it: products and a softmax. ONNX Runtime's GroupQueryAttention
// wants values as wide as keys, and its MultiHeadAttention a cache of equal widths (1.30). Each KV head meets the
// queries of its group stacked, [b, k, (h/k)·s, e]. The cache is as wide as the widest KV head of the layer.
import type { Graph, Value } from '../../formats/onnx.ts'
import { capped } from '../../graphs/causal-attention.ts'
import { type AttentionHalf, groupSize } from '../../model/half-block.ts'

/** What the decoder around it gives. */
export interface DecoderCache {
  /** [b] and [s], one number each. */
  readonly batch: Value
  readonly length: Value
  /** Added to the scores [b, h, s, t] of what a query sees and does not see. */
  readonly bias: Value
  /** cos and sin [b, s, e/2] of each position's angles, or nothing. */
  readonly rotary: readonly Value[]
  /** In the type of the activations. */
  constant(value: number): Value
  /** Puts new keys or values [b, k, s, width] behind those of the past. */
  cached(kind: 'key' | 'value', fresh: Value, width: number): Value
}

/** Value channels that the cache has in each KV head: those of the widest. */
export const cachedValues = ({ values }: AttentionHalf): number => Math.max(...values)

/** Adds `H` [b·s, Σ columns], the columns that o_proj reads, from q, k and v [b·s, ..]. */
export function byCache(
  g: Graph,
  half: AttentionHalf,
  [query, key, value]: readonly Value[],
  form: DecoderCache,
): Value {
  const { heads: h, kvHeads: k, headSize: e, values: widths } = half
  const v = cachedValues(half)
  /** [b·s, heads·width] → [b, heads, s, width] */
  const split = (x: Value, heads: number, width: number) => {
    const shape = g.op('Concat', [form.batch, form.length, g.constant('int64', [heads, width])], { axis: 0 })
    return g.op('Transpose', [g.op('Reshape', [x, shape])], { perm: [0, 2, 1, 3] })
  }
  const turn = (y: Value) => (form.rotary.length > 0 ? g.op('RotaryEmbedding', [y, ...form.rotary]) : y)
  const q = g.op('Mul', [turn(split(query, h, e)), form.constant(half.scale)]) // [b, h, s, e]
  const keys = form.cached('key', turn(split(key, k, e)), e)
  const values = form.cached('value', split(pick(g, value, spread(widths, v)), k, v), v)
  const grouped = (y: Value, width: number) =>
    h === k ? y : g.op('Reshape', [y, g.constant('int64', [0, k, -1, width])])
  const perHead = (y: Value, width: number) =>
    h === k ? y : g.op('Reshape', [y, g.constant('int64', [0, h, -1, width])])
  const scores = g.op('MatMul', [grouped(q, e), g.op('Transpose', [keys], { perm: [0, 1, 3, 2] })])
  const weights = g.op('Softmax', [g.op('Add', [capped(g, half, perHead(scores, 0), form.constant), form.bias])], {
    axis: -1,
  }) // [b, h, s, t]
  const found = perHead(g.op('MatMul', [grouped(weights, 0), values]), v)
  const rows = g.op('Reshape', [g.op('Transpose', [found], { perm: [0, 2, 1, 3] }), g.constant('int64', [-1, h * v])])
  const columns = widths.flatMap(n => new Array<number>(groupSize(half)).fill(n)) // of each query head
  return pick(g, rows, gather(columns, v))
}

/** Columns `index` of x [n, width]; x itself where that is all of them. */
const pick = (g: Graph, x: Value, index: readonly number[] | undefined): Value =>
  index ? g.op('Gather', [x, g.constant('int64', index)], { axis: 1 }) : x

/** Which of Σ counts columns fill counts.length · size places, `size` for each head; the rest is never read. */
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
