// The attention half-block. Its hidden activations are `H = concat of heads` [tokens, h·e]: the input of o_proj.
// ONNX Runtime's GroupQueryAttention does rotary positions, causality, grouped queries and the KV cache in one operator; windows of some
// lengths go in blocks (causal-attention.ts).
import { Graph, type Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'
import { causalAttention, type WholeWindows } from './causal-attention.ts'
import { linear } from './linear.ts'
import { norm } from './norm.ts'
import { residual } from './residual.ts'

/** GroupQueryAttention with rotary positions wants head sizes that are multiples of this; others are padded with zeros inside the graph. */
const HEAD_MULTIPLE = 16

/** Head size as the attention operator and the KV cache see it. */
export const paddedHeadSize = (a: Architecture): number => Math.ceil(a.headSize / HEAD_MULTIPLE) * HEAD_MULTIPLE

/** Whole windows, windows with a KV cache, windows that branch (branches.ts), or whole windows in blocks: with `cos` and `sin` alone. */
export type AttentionKind = 'plain' | 'with cache' | 'with branches' | WholeWindows

/** Graph of `Hᵀ` [h·e, n] from the stream `x` [n, d] of whole windows, and the inputs of `heads`. */
export function attentionHiddenGraph(a: Architecture, kind: 'plain' | WholeWindows): Graph {
  const g = new Graph('attention')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  const h =
    typeof kind === 'string'
      ? g.op('Transpose', [heads(g, a, x, kind)], { perm: [1, 0] })
      : blocks(g, a, x, kind, 'transposed')
  g.output('h', h, 'float32', [a.heads * a.headSize, 'n'])
  return g
}

/** Graph of the new stream `y` [n, d] from `x` [n, d] of whole windows, and the inputs of `heads`. */
export function attentionGraph(a: Architecture, kind: AttentionKind): Graph {
  const g = new Graph('attention')
  const x = g.input('x', 'float32', ['n', a.hiddenSize])
  const h = typeof kind === 'string' ? heads(g, a, x, kind) : blocks(g, a, x, kind)
  const update = linear(g, h, 'out', a.hiddenSize, a.heads * a.headSize, a.bias.o)
  g.output('y', residual(g, a, x, update), 'float32', ['n', a.hiddenSize])
  return g
}

/**
 * Adds `H` [n, h·e]. Inputs: `shape` = [windows, length, -1], `past` [windows] = position of each window's last token, `total` =
 * positions in all, `cos` and `sin` [positions, e/2] for rotary models. With a `cache` also `key` and `value` [windows, k, positions, e],
 * read and written in place. With `branches` also `bias` [windows, 1, length, length], which is added to the scores, and for rotary models
 * `places` [windows, length], the position of each token in its own sequence.
 */
function heads(g: Graph, a: Architecture, x: Value, kind: Extract<AttentionKind, string>): Value {
  const shape = g.input('shape', 'int64', [3])
  const width = paddedHeadSize(a)
  const [q, k, v] = projections(g, a, x).map(({ y, heads }) =>
    g.op('Reshape', [padHeads(g, y, heads, a.headSize, width), shape]),
  )
  const cache = kind === 'with cache'
  const rotary = rotaryInputs(g, a)
  // The attention operator turns by the place in the window, and branches have places of their own: these are turned before it.
  const turned = kind === 'with branches' && rotary.length > 0
  const positions = turned ? g.input('places', 'int64', ['windows', 'length']) : ''
  const turn = (y: Value) => (turned ? g.op('com.microsoft.RotaryEmbedding', [y, positions, ...rotary]) : y)
  const inputs = [turn(q), turn(k), v]
  const cacheShape = ['windows', a.kvHeads, 'positions', width]
  inputs.push(...(cache ? ['key', 'value'].map(name => g.input(name, 'float32', cacheShape)) : ['', '']))
  inputs.push(g.input('past', 'int32', ['windows']), g.input('total', 'int32', []))
  if (kind === 'with branches') inputs.push('', '', '', g.input('bias', 'float32', ['windows', 1, 'length', 'length']))
  else inputs.push(...rotary)
  const [h, key, value] = g.ops('com.microsoft.GroupQueryAttention', inputs, 3, {
    num_heads: a.heads,
    kv_num_heads: a.kvHeads,
    do_rotary: a.rope && !turned ? 1 : 0,
    scale: { float: 1 / Math.sqrt(a.headSize) },
  })
  if (cache) {
    g.output('newKey', key, 'float32', cacheShape)
    g.output('newValue', value, 'float32', cacheShape)
  }
  const rows = g.op('Reshape', [h, g.constant('int64', [-1, a.heads * width])])
  return trimHeads(g, rows, a.heads, a.headSize, width)
}

/** Adds `H` [n, h·e], or `Hᵀ`. */
function blocks(g: Graph, a: Architecture, x: Value, whole: WholeWindows, order?: 'transposed'): Value {
  const qkv = projections(g, a, x).map(({ y }) => y)
  return causalAttention(g, a, qkv, whole, rotaryInputs(g, a), order)
}

/** Queries, keys and values `y` [n, heads·e]. */
function projections(g: Graph, a: Architecture, x: Value): { readonly y: Value; readonly heads: number }[] {
  const normed = a.postNorm ? x : norm(g, a, x)
  return Object.entries({ q: a.heads, k: a.kvHeads, v: a.kvHeads }).map(([name, heads]) => ({
    y: linear(g, normed, name, heads * a.headSize, a.hiddenSize, a.bias.qkv),
    heads,
  }))
}

const rotaryInputs = (g: Graph, a: Architecture): Value[] =>
  a.rope ? ['cos', 'sin'].map(name => g.input(name, 'float32', ['positions', paddedHeadSize(a) / 2])) : []

/** [n, heads·e] → [n, heads·width]: zeros after each half of each head, so that rotary pairs (i, i + e/2) stay pairs. */
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

/** Rotary tables `cos` and `sin` [positions, width/2], rounded as transformers rounds: angles and values are float32. */
export function rotaryTables(a: Architecture, positions: number): { cos: Float32Array; sin: Float32Array } | undefined {
  if (!a.rope) return undefined
  const half = paddedHeadSize(a) / 2
  const cos = new Float32Array(positions * half).fill(1)
  const sin = new Float32Array(positions * half)
  const frequencies = Float32Array.from(a.rope.inverseFrequencies)
  for (let p = 0; p < positions; p++)
    for (let i = 0; i < frequencies.length; i++) {
      const angle = Math.fround(p * frequencies[i])
      cos[p * half + i] = Math.cos(angle)
      sin[p * half + i] = Math.sin(angle)
    }
  return { cos, sin }
}
