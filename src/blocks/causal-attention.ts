// Causal attention of whole windows, in blocks of queries, each with the keys up to its last: the scores beyond are half of all, and no
// operator of ONNX Runtime leaves them out where a processor's cache is large (docs/log.md).
import type { Graph, Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'

/** Queries of a block. */
const BLOCK = 128
/** Added to the scores of later keys: its exponential is 0 beside any other score. */
const MASKED = -30000

/** What a graph is for. */
export interface WholeWindows {
  readonly length: number
  /** How many, for OpenVINO, which is slower where that is left open. @default any number, for ONNX Runtime */
  readonly windows?: number
}

/** Whether windows of this length are faster in blocks on ONNX Runtime: longer ones have more scores in a block than a cache holds. */
export const fitBlocks = (length: number): boolean => length % BLOCK === 0 && length > BLOCK && length <= 1024

/**
 * Adds `H` [n, h·e], or `Hᵀ`, from `q` [n, h·e], `k` and `v` [n, k·e], heads side by side.
 * @param rotary `cos` and `sin` [positions, e/2 or more], or none where the model does not turn queries and keys
 */
export function causalAttention(
  g: Graph,
  a: Architecture,
  qkv: readonly Value[],
  { length, windows }: WholeWindows,
  rotary: readonly Value[],
  order?: 'transposed',
): Value {
  const rows = (table: Value) => slice(g, slice(g, table, 0, length, 0), 0, a.headSize / 2, 1)
  const tables = rotary.map(rows) // [length, e/2]
  const width = a.heads * a.headSize
  if (windows === undefined) {
    const h = g.op('Reshape', [operators(g, a, qkv, length, tables), ints(g, -1, width)])
    return order ? g.op('Transpose', [h], { perm: [1, 0] }) : h
  }
  const h = products(g, a, qkv, [windows, length], tables)
  const transposed = g.op('Transpose', [h], { perm: order ? [1, 2, 4, 0, 3] : [0, 3, 1, 2, 4] })
  return g.op('Reshape', [transposed, order ? ints(g, width, -1) : ints(g, -1, width)])
}

/** `H` [windows, length, h·e], each block by ONNX Runtime's operator. */
function operators(g: Graph, a: Architecture, [q, k, v]: readonly Value[], length: number, tables: readonly Value[]) {
  const split = (x: Value, heads: number) => g.op('Reshape', [x, ints(g, -1, length, heads * a.headSize)])
  const turned = (x: Value, heads: number) =>
    tables.length > 0
      ? g.op('com.microsoft.RotaryEmbedding', [split(x, heads), ints(g, 0), ...tables], { num_heads: heads })
      : split(x, heads)
  const [queries, keys, values] = [turned(q, a.heads), turned(k, a.kvHeads), split(v, a.kvHeads)]
  return eachBlock(g, length, 1, (from, to) => {
    const inputs = [slice(g, queries, from, to, 1), slice(g, keys, 0, to, 1), slice(g, values, 0, to, 1)]
    return g.op('Attention', [...inputs, later(g, from, to)], { q_num_heads: a.heads, kv_num_heads: a.kvHeads })
  })
}

/** `H` [windows, k, h/k, length, e], each block of four operators on four axes, of which OpenVINO makes one. */
function products(
  g: Graph,
  a: Architecture,
  [q, k, v]: readonly Value[],
  [windows, length]: readonly [number, number],
  tables: readonly Value[],
) {
  const width = a.headSize
  const [groups, queries] = [a.kvHeads, a.heads / a.kvHeads]
  const all = windows * groups
  /** [n, heads·width] → [windows, heads, length, width] */
  const split = (x: Value, heads: number) =>
    g.op('Transpose', [g.op('Reshape', [x, ints(g, windows, length, heads, width)])], { perm: [0, 2, 1, 3] })
  const turn = (x: Value) => (tables.length > 0 ? rotate(g, x, tables) : x)
  const scaled = g.op('Mul', [turn(split(q, a.heads)), g.constant('float32', [1 / Math.sqrt(width)])])
  const grouped = g.op('Reshape', [scaled, ints(g, all, queries, length, width)])
  const keys = g.op('Reshape', [turn(split(k, groups)), ints(g, all, 1, length, width)])
  const turnedKeys = g.op('Transpose', [keys], { perm: [0, 1, 3, 2] }) // [all, 1, width, length]
  const values = g.op('Reshape', [split(v, groups), ints(g, all, 1, length, width)])
  const h = eachBlock(g, length, 2, (from, to) => {
    const scores = g.op('MatMul', [slice(g, grouped, from, to, 2), slice(g, turnedKeys, 0, to, 3)])
    const weights = g.op('Softmax', [g.op('Add', [scores, later(g, from, to)])], { axis: -1 }) // [all, queries, to − from, to]
    return g.op('MatMul', [weights, slice(g, values, 0, to, 2)])
  })
  return g.op('Reshape', [h, ints(g, windows, groups, queries, length, width)])
}

const ints = (g: Graph, ...values: number[]): Value => g.constant('int64', values)

const slice = (g: Graph, x: Value, from: number, to: number, axis: number): Value =>
  g.op('Slice', [x, ints(g, from), ints(g, to), ints(g, axis)])

/** Joins along `axis` what `block` adds for the queries from `from` to `to`. */
function eachBlock(g: Graph, length: number, axis: number, block: (from: number, to: number) => Value): Value {
  const blocks: Value[] = []
  for (let from = 0; from < length; from += BLOCK) blocks.push(block(from, Math.min(from + BLOCK, length)))
  return blocks.length > 1 ? g.op('Concat', blocks, { axis }) : blocks[0]
}

/** What is added to the scores [to − from, to] of a block. */
const later = (g: Graph, from: number, to: number): Value =>
  g.op('Trilu', [filled(g, MASKED, [to - from, to]), g.constant('int64', from + 1)], { upper: 1 })

const filled = (g: Graph, value: number, shape: readonly number[]): Value =>
  g.op('Expand', [g.constant('float32', [value]), g.constant('int64', shape)])

/** Turns each pair (i, i + half) of the last axis by the angle of its position. @param x [.., length, width] */
function rotate(g: Graph, x: Value, [cos, sin]: readonly Value[]): Value {
  const [p, q] = g.ops('Split', [x], 2, { axis: -1, num_outputs: 2 })
  const times = (y: Value, table: Value) => g.op('Mul', [y, table])
  const first = g.op('Sub', [times(p, cos), times(q, sin)])
  return g.op('Concat', [first, g.op('Add', [times(q, cos), times(p, sin)])], { axis: -1 })
}
