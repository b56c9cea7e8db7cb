// Causal attention of whole windows, in blocks of queries, each with the keys up to its last: the scores beyond are
// half of all, and no operator of ONNX Runtime leaves them out where a processor's cache is large (bench/log.md). Where
// tokens see the last ones only, the keys before those of a block's first query are left out, too.
import type { Graph, Value } from '../formats/onnx.ts'
import { type AttentionHalf, groupSize, hiddenWidth } from '../model/half-block.ts'

/** What windows may have besides tokens. */
export type Special = 'cache' | 'branches'

/** Queries in a block. */
const BLOCK = 128
/** A term of the scores of unseen keys: its exponential is 0 beside any other score. */
const MASKED = -30000

/** Whether blocks are faster on ONNX Runtime: longer windows have more scores in a block than a cache holds. */
export const fitBlocks = (length: number): boolean => length % BLOCK === 0 && length > BLOCK && length <= 1024

/**
 * Adds `H` [n, h·e], or `Hᵀ`, from `q` [n, h·e], `k` and `v` [n, k·e], heads side by side, each block by ONNX Runtime's
 * operator.
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
  const tables = tablesOf(g, half, range(g, 0, length), rotary)
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
    return g.op('Attention', [...inputs, unseen(g, half, range(g, first, to), range(g, from, to))], attributes)
  })
  const rows = g.op('Reshape', [h, ints(g, -1, hiddenWidth(half))])
  return order ? g.op('Transpose', [rows], { perm: [1, 0] }) : rows
}

/** As `byBlocks`, each block of a few operators on four axes, of which some runtimes make one. */
export function byProducts(
  g: Graph,
  half: AttentionHalf,
  [q, k, v]: readonly Value[],
  { windows, length, with: special }: { readonly windows: number; readonly length: number; readonly with?: Special },
  rotary: readonly Value[],
  order?: 'transposed',
): Value {
  const { heads, kvHeads: groups, headSize: width } = half
  const queries = groupSize(half)
  const all = windows * groups
  const cache = special === 'cache' && openCache(g, half, windows, length)
  const bias = special === 'branches' && g.input('bias', 'float32', [windows, 1, length, length])
  const places = (from: number, to: number) => (cache ? cache.after(range(g, from, to)) : range(g, from, to))
  const turned = bias && rotary.length > 0 ? g.input('places', 'int64', [windows, length]) : places(0, length)
  const tables = tablesOf(g, half, turned, rotary).map(t => g.op('Reshape', [t, ints(g, -1, 1, length, width / 2)]))
  /** [n, heads·width] → [windows, heads, length, width] */
  const split = (x: Value, heads: number) =>
    g.op('Transpose', [g.op('Reshape', [x, ints(g, windows, length, heads, width)])], { perm: [0, 2, 1, 3] })
  const turn = (x: Value) => (tables.length > 0 ? rotate(g, x, tables) : x)
  const scaled = g.op('Mul', [turn(split(q, heads)), g.constant('float32', [half.scale])])
  const grouped = g.op('Reshape', [scaled, ints(g, all, queries, length, width)])
  /** → [all, 1, keys, width] */
  const kept = (x: Value, name: string, newName: string) =>
    g.op('Reshape', [cache ? cache.filled(x, name, newName) : x, ints(g, all, 1, cache ? -1 : length, width)])
  const keys = g.op('Transpose', [kept(turn(split(k, groups)), 'key', 'newKey')], { perm: [0, 1, 3, 2] })
  const values = kept(split(v, groups), 'value', 'newValue')
  const perGroup = (x: Value, m: number, n: number) =>
    g.op('Reshape', [g.op('Expand', [x, ints(g, windows, groups, m, n)]), ints(g, all, 1, m, n)])
  const h = eachBlock(g, half, length, 2, ({ from, to, first }) => {
    const asking = (x: Value, axis: number) => slice(g, x, from, to, axis)
    const seen = (x: Value, axis: number) => (cache ? x : slice(g, x, first, to, axis))
    const mask = unseen(g, half, cache ? cache.keys : range(g, first, to), places(from, to))
    const added = bias ? perGroup(g.op('Add', [seen(asking(bias, 2), 3), mask]), to - from, to - first) : mask
    const scores = capped(g, half, g.op('MatMul', [asking(grouped, 2), seen(keys, 3)]))
    const weights = g.op('Softmax', [g.op('Add', [scores, added])], { axis: -1 }) // [all, queries, to − from, keys]
    return g.op('MatMul', [weights, seen(values, 2)])
  })
  const apart = g.op('Reshape', [h, ints(g, windows, groups, queries, length, width)])
  const transposed = g.op('Transpose', [apart], { perm: order ? [1, 2, 4, 0, 3] : [0, 3, 1, 2, 4] })
  return g.op('Reshape', [transposed, order ? ints(g, hiddenWidth(half), -1) : ints(g, -1, hiddenWidth(half))])
}

/** Adds positions of a cache and of new tokens, and keys or values there: old, new, and then any, unseen. */
function openCache(g: Graph, { kvHeads, headSize }: AttentionHalf, windows: number, length: number) {
  const [first, keys] = [g.input('first', 'int32', [1]), g.input('keys', 'int32', ['positions'])]
  const isOld = g.op('Greater', [first, column(g, keys)])
  const shape = [windows, kvHeads, 'positions', headSize]
  /** The new token at each position. */
  const tokens = () => {
    const since = g.op('Sub', [keys, first])
    const outside = ['Less', 'Greater'].map((is, i) => g.op(is, [since, g.constant('int32', i * (length - 1))]))
    return outside.reduce((token, is) => g.op('Where', [is, g.constant('int32', 0), token]), since)
  }
  const filled = (x: Value, name: string, newName: string) => {
    const there = length > 1 ? g.op('Gather', [x, tokens()], { axis: 2 }) : x
    g.output(newName, g.op('Where', [isOld, g.input(name, 'float32', shape), there]), 'float32', shape)
    return newName
  }
  return { keys, after: (places: Value) => g.op('Add', [first, places]), filled }
}

const ints = (g: Graph, ...values: number[]): Value => g.constant('int64', values)

const slice = (g: Graph, x: Value, from: number, to: number, axis: number): Value =>
  g.op('Slice', [x, ints(g, from), ints(g, to), ints(g, axis)])

const range = (g: Graph, from: number, to: number): Value => g.constant('int32', [...Array(to).keys()].slice(from))

const column = (g: Graph, x: Value): Value => g.op('Reshape', [x, ints(g, -1, 1)])

/** The used rows and columns of the rotary tables: [.., e/2]. */
const tablesOf = (g: Graph, { headSize }: AttentionHalf, places: Value, rotary: readonly Value[]): Value[] =>
  rotary.map(table => g.op('Gather', [slice(g, table, 0, headSize / 2, 1), places], { axis: 0 }))

interface Block {
  readonly from: number
  readonly to: number
  /** The first key that a query of the block sees. */
  readonly first: number
}

/** Joins blocks of queries along `axis`. */
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

/** The term of scores [m, n] for m places of queries and n keys that hides keys after a query and before its window. */
function unseen(g: Graph, { window }: AttentionHalf, keys: Value, places: Value): Value {
  const after = (place: Value, ...ifSo: readonly number[]) =>
    g.op('Where', [g.op('Greater', [keys, column(g, place)]), ...ifSo.map(value => g.constant('float32', value))])
  const later = after(places, MASKED, 0)
  return window ? g.op('Add', [later, after(g.op('Sub', [places, g.constant('int32', window)]), 0, MASKED)]) : later
}

/** Scores, bounded by the cap. */
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
