// Attention's hidden activations `H = concat of heads` [tokens, h·e] are the input of o_proj. Attention is stated once,
// and made of different operators: the engine names those that are right and fastest on it, an exported decoder brings
// its own.
//   operator   ONNX Runtime's GroupQueryAttention: rotary positions, causality, grouped queries and the KV cache in one
//   blocks     causal windows of one length in blocks of queries, each by ONNX's Attention
//   products   the same of products and softmax
//   caller     made by the caller from q, k and v: an exported decoder's with cache (write/onnx/cached-attention.ts)
import type { Graph, Value } from '../formats/onnx.ts'
import type { AttentionHalf, Norm } from '../model/half-block.ts'
import { byBlocks, byProducts, type Special } from './causal-attention.ts'
import type { Layers } from './layers.ts'

/** The windows of a graph: any, also with KV cache or branches (evaluate/branches.ts); of one length; a decoder's. */
export type AttentionForm =
  | { readonly by: 'operator'; readonly with?: Special }
  | { readonly by: 'blocks'; readonly length: number }
  | { readonly by: 'products'; readonly length: number; readonly windows: number; readonly with?: Special }
  | { readonly by: 'caller'; readonly attend: (qkv: readonly Value[]) => Value }

/** GroupQueryAttention with rotary positions wants multiples of this as head sizes: graphs pad others with zeros. */
const HEAD_MULTIPLE = 16

/** Head size in the attention operator and the KV cache. */
export const paddedHeadSize = ({ headSize }: Pick<AttentionHalf, 'headSize'>): number =>
  Math.ceil(headSize / HEAD_MULTIPLE) * HEAD_MULTIPLE

/** Adds `H` [n, h·e], or `Hᵀ`; with a cache [n, columns of o_proj], which may be fewer. @param x normed [n, d] */
export function attentionHidden(
  g: Graph,
  half: AttentionHalf,
  x: Value,
  layers: Layers,
  form: AttentionForm,
  order?: 'transposed',
): Value {
  const [q, k, v] = layers.inputs(x, half)
  const { query, key } = half.norms
  const qkv = [
    inPairs(g, half, query ? perHead(g, q, half.heads * half.headSize, query, layers) : q, half.heads),
    inPairs(g, half, key ? perHead(g, k, half.kvHeads * half.headSize, key, layers) : k, half.kvHeads),
    v,
  ]
  if (form.by === 'caller') return form.attend(qkv)
  const rotary = half.rope
    ? ['cos', 'sin'].map(name => g.input(name, 'float32', ['positions', paddedHeadSize(half) / 2]))
    : []
  switch (form.by) {
    case 'operator': {
      const h = byOperator(g, half, qkv, rotary, form.with)
      return order ? g.op('Transpose', [h], { perm: [1, 0] }) : h
    }
    case 'blocks':
      return byBlocks(g, half, qkv, form.length, rotary, order)
    case 'products':
      return byProducts(g, half, qkv, form, rotary, order)
  }
}

/**
 * Adds `H` [n, h·e]. Inputs: `shape` = [windows, length, -1], `past` [windows] = position of each window's last token,
 * `total` = positions in all, `cos` and `sin` [positions, e/2] for rotary models. With a `cache` also `key` and `value`
 * [windows, k, positions, e], read and written in place. With `branches` also `bias` [windows, 1, length, length],
 * which is added to the scores, and for rotary models `places` [windows, length], the position of each token in its own
 * sequence.
 */
function byOperator(
  g: Graph,
  half: AttentionHalf,
  qkv: readonly Value[],
  rotary: readonly Value[],
  special?: Special,
): Value {
  const { heads, kvHeads, headSize } = half
  const shape = g.input('shape', 'int64', [3])
  const width = paddedHeadSize(half)
  const [q, k, v] = qkv.map((y, i) =>
    g.op('Reshape', [padHeads(g, y, i === 0 ? heads : kvHeads, headSize, width), shape]),
  )
  const cache = special === 'cache'
  // The attention operator turns by the place in the window. Branches have other places, and are turned before.
  const turned = special === 'branches' && rotary.length > 0
  const positions = turned ? g.input('places', 'int64', ['windows', 'length']) : ''
  const turn = (y: Value) => (turned ? g.op('com.microsoft.RotaryEmbedding', [y, positions, ...rotary]) : y)
  const inputs = [turn(q), turn(k), v]
  const cacheShape = ['windows', kvHeads, 'positions', width]
  inputs.push(...(cache ? ['key', 'value'].map(name => g.input(name, 'float32', cacheShape)) : ['', '']))
  inputs.push(g.input('past', 'int32', ['windows']), g.input('total', 'int32', []))
  if (special === 'branches') inputs.push('', '', '', g.input('bias', 'float32', ['windows', 1, 'length', 'length']))
  else inputs.push(...rotary)
  const [h, key, value] = g.ops('com.microsoft.GroupQueryAttention', inputs, 3, {
    num_heads: heads,
    kv_num_heads: kvHeads,
    do_rotary: half.rope && !turned ? 1 : 0,
    scale: { float: half.scale },
    ...(half.window && { local_window_size: half.window }),
    ...(half.cap && { softcap: { float: half.cap } }),
  })
  if (cache) {
    g.output('newKey', key, 'float32', cacheShape)
    g.output('newValue', value, 'float32', cacheShape)
  }
  const rows = g.op('Reshape', [h, g.constant('int64', [-1, heads * width])])
  return trimHeads(g, rows, heads, headSize, width)
}

/** The norm of each `norm.size` columns of `y` [n, width]: of a head, or of all (OLMo 2). */
function perHead(g: Graph, y: Value, width: number, norm: Norm, layers: Layers): Value {
  const rows = g.op('Reshape', [y, g.constant('int64', [-1, norm.size])])
  return g.op('Reshape', [layers.norm(rows, norm), g.constant('int64', [-1, width])])
}

/** The channels of each head in the order of rotary pairs. */
function inPairs(g: Graph, { rope, headSize }: AttentionHalf, x: Value, heads: number): Value {
  if (!rope?.order) return x
  const columns = Array.from({ length: heads }, (_, head) => rope.order!.map(channel => head * headSize + channel))
  return g.op('Gather', [x, g.constant('int64', columns.flat())], { axis: 1 })
}

/** [n, heads·e] → [n, heads·width], with zeros after each half of a head: rotary pairs (i, i + e/2) stay pairs. */
function padHeads(g: Graph, x: Value, heads: number, e: number, width: number): Value {
  if (e === width) return x
  const halves = g.op('Reshape', [x, g.constant('int64', [-1, heads * 2, e / 2])])
  const padded = g.op('Pad', [halves, g.constant('int64', [0, 0, 0, 0, 0, (width - e) / 2])])
  return g.op('Reshape', [padded, g.constant('int64', [-1, heads * width])])
}

/** Inverse of `padHeads`. */
function trimHeads(g: Graph, x: Value, heads: number, e: number, width: number): Value {
  if (e === width) return x
  const halves = g.op('Reshape', [x, g.constant('int64', [-1, heads * 2, width / 2])])
  const kept = g.op('Slice', [halves, ...[[0], [e / 2], [2]].map(v => g.constant('int64', v))])
  return g.op('Reshape', [kept, g.constant('int64', [-1, heads * e])])
}

/** Rotary tables `cos` and `sin` [positions, width/2], with angles and values in float32 as in transformers. */
export function rotaryTables(
  half: AttentionHalf,
  inverseFrequencies: Float64Array,
  positions: number,
): { cos: Float32Array; sin: Float32Array } {
  const width = paddedHeadSize(half) / 2
  const cos = new Float32Array(positions * width).fill(1)
  const sin = new Float32Array(positions * width)
  const { factor = 1 } = half.rope!
  const frequencies = Float32Array.from(inverseFrequencies).filter(f => f > 0)
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < frequencies.length; i++) {
      const angle = Math.fround(p * frequencies[i])
      cos[p * width + i] = factor * Math.cos(angle)
      sin[p * width + i] = factor * Math.sin(angle)
    }
  return { cos, sin }
}
