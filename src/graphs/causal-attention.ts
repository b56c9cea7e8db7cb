// Causal attention of whole windows, in blocks of queries, each with the keys up to its last: the scores beyond are half of all, and no
// operator of ONNX Runtime leaves them out where a processor's cache is large (docs/log.md). Where tokens see the last ones only, the keys
// before those of a block's first query are left out, too.
import type { Graph, Value } from '../formats/onnx.ts'
import { type AttentionHalf, groupSize, hiddenWidth } from '../model/half-block.ts'

/** Queries of a block. */
const BLOCK = 128
/** Added to the scores of keys that are not seen: its exponential is 0 beside any other score. */
const MASKED = -30000

/** Whether windows of this length are faster in blocks on ONNX Runtime: longer ones have more scores in a block than a cache holds. */
export const fitBlocks = (length: number): boolean => length % BLOCK === 0 && length > BLOCK && length <= 1024

/**
 * Adds `H` [n, h·e], or `Hᵀ`, from `q` [n, h·e], `k` and `v` [n, k·e], heads side by side, each block by ONNX Runtime's operator.
 * @param rotary `cos` and `sin` [positions, e/2 or more], or none where the model does not turn queries and keys
 */
export function byBlocks(
  g: Graph,
  half: AttentionHalf,
  [q, k, v]: readonly Value[],
  length: number,
  rotary: readonly Value[],
  order?: 'transposed',
): Value {
  const { heads, kvHeads, headSize, scale } = half
  const tables = tablesOf(g, half, length, rotary)
  const split = (x: Value, heads: number) => g.op('Reshape', [x, ints(g, -1, length, heads * headSize)])
  const turned = (x: Value, heads: number) =>
    tables.length > 0
      ? g.op('com.microsoft.RotaryEmbedding', [split(x, heads), ints(g, 0), ...tables], { num_heads: heads })
      : split(x, heads)
  const [queries, keys, values] = [turned(q, heads), turned(k, kvHeads), split(v, kvHeads)]
  const attributes = {
    ...{ q_num_heads: heads, kv_num_heads: kvHeads, scale: { float: scale } },
    ...(half.cap && { softcap: { float: half.cap } }),
  }
  const h = eachBlock(g, half, length, 1, ({ from, to, first }) => {
    const inputs = [slice(g, queries, from, to, 1), slice(g, keys, first, to, 1), slice(g, values, first, to, 1)]
    return g.op('Attention', [...inputs, unseen(g, half, from, to, first)], attributes)
  })
  const rows = g.op('Reshape', [h, ints(g, -1, hiddenWidth(half))])
  return order ? g.op('Transpose', [rows], { perm: [1, 0] }) : rows
}

/** As `byBlocks`, each block of four operators on four axes, of which some runtimes make one. */
export function byProducts(
  g: Graph,
  half: AttentionHalf,
  [q, k, v]: readonly Value[],
  { windows, length }: { readonly windows: number; readonly length: number },
  rotary: readonly Value[],
  order?: 'transposed',
): Value {
  const { heads, kvHeads: groups, headSize: width } = half
  const tables = tablesOf(g, half, length, rotary)
  const queries = groupSize(half)
  const all = windows * groups
  /** [n, heads·width] → [windows, heads, length, width] */
  const split = (x: Value, heads: number) =>
    g.op('Transpose', [g.op('Reshape', [x, ints(g, windows, length, heads, width)])], { perm: [0, 2, 1, 3] })
  const turn = (x: Value) => (tables.length > 0 ? rotate(g, x, tables) : x)
  const scaled = g.op('Mul', [turn(split(q, heads)), g.constant('float32', [half.scale])])
  const grouped = g.op('Reshape', [scaled, ints(g, all, queries, length, width)])
  const keys = g.op('Reshape', [turn(split(k, groups)), ints(g, all, 1, length, width)])
  const turnedKeys = g.op('Transpose', [keys], { perm: [0, 1, 3, 2] }) // [all, 1, width, length]
  const values = g.op('Reshape', [split(v, groups), ints(g, all, 1, length, width)])
  const h = eachBlock(g, half, length, 2, ({ from, to, first }) => {
    const scores = capped(g, half, g.op('MatMul', [slice(g, grouped, from, to, 2), slice(g, turnedKeys, first, to, 3)]))
    const weights = g.op('Softmax', [g.op('Add', [scores, unseen(g, half, from, to, first)])], { axis: -1 }) // [all, queries, to − from, to − first]
    return g.op('MatMul', [weights, slice(g, values, first, to, 2)])
  })
  const apart = g.op('Reshape', [h, ints(g, windows, groups, queries, length, width)])
  const transposed = g.op('Transpose', [apart], { perm: order ? [1, 2, 4, 0, 3] : [0, 3, 1, 2, 4] })
  return g.op('Reshape', [transposed, order ? ints(g, hiddenWidth(half), -1) : ints(g, -1, hiddenWidth(half))])
}

const ints = (g: Graph, ...values: number[]): Value => g.constant('int64', values)

const slice = (g: Graph, x: Value, from: number, to: number, axis: number): Value =>
  g.op('Slice', [x, ints(g, from), ints(g, to), ints(g, axis)])

/** The rows and columns of the rotary tables that are used: [length, e/2]. */
const tablesOf = (g: Graph, { headSize }: AttentionHalf, length: number, rotary: readonly Value[]): Value[] =>
  rotary.map(table => slice(g, slice(g, table, 0, length, 0), 0, headSize / 2, 1))

interface Block {
  readonly from: number
  readonly to: number
  /** The first key that one of its queries sees. */
  readonly first: number
}

/** Joins along `axis` what `block` adds for the queries from `from` to `to`. */
function eachBlock(
  g: Graph,
  { window = Infinity }: AttentionHalf,
  length: number,
  axis: number,
  block: (block: Block) => Value,
): Value {
  const blocks: Value[] = []
  for (let from = 0; from < length; from += BLOCK)
    blocks.push(block({ from, to: Math.min(from + BLOCK, length), first: Math.max(0, from - window + 1) }))
  return blocks.length > 1 ? g.op('Concat', blocks, { axis }) : blocks[0]
}

/** What is added to the scores [to − from, to − first] of a block: of keys that come later, and of those before a query's window. */
function unseen(g: Graph, { window = Infinity }: AttentionHalf, from: number, to: number, first: number): Value {
  const masked = filled(g, MASKED, [to - from, to - first])
  const triangle = (diagonal: number, upper: number) =>
    g.op('Trilu', [masked, g.constant('int64', diagonal)], { upper })
  const later = triangle(from - first + 1, 1)
  return to - window > first ? g.op('Add', [later, triangle(from - first - window, 0)]) : later
}

const filled = (g: Graph, value: number, shape: readonly number[]): Value =>
  g.op('Expand', [g.constant('float32', [value]), g.constant('int64', shape)])

/** Scores, none beyond the cap. */
export function capped(
  g: Graph,
  { cap }: AttentionHalf,
  scores: Value,
  constant = (c: number) => g.constant('float32', [c]),
): Value {
  return cap ? g.op('Mul', [g.op('Tanh', [g.op('Div', [scores, constant(cap)])]), constant(cap)]) : scores
}

/** Turns each pair (i, i + half) of the last axis by the angle of its position. @param x [.., length, width] */
function rotate(g: Graph, x: Value, [cos, sin]: readonly Value[]): Value {
  const [p, q] = g.ops('Split', [x], 2, { axis: -1, num_outputs: 2 })
  const times = (y: Value, table: Value) => g.op('Mul', [y, table])
  const first = g.op('Sub', [times(p, cos), times(q, sin)])
  return g.op('Concat', [first, g.op('Add', [times(q, cos), times(p, sin)])], { axis: -1 })
}
