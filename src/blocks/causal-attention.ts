// Causal attention of whole windows from products and softmaxes, in blocks of queries, each with the keys up to its last: the scores beyond
// are nearly all the work that causality saves. A block is four operators on four axes, which OpenVINO makes one of (docs/log.md).
import type { Graph, Value } from '../formats/onnx.ts'
import type { Architecture } from '../model/architecture.ts'

/** Queries of a block. */
const BLOCK = 128
/** Added to the scores of later keys: its exponential is 0 beside any other score. */
const MASKED = -30000

/** What a graph is for; sizes are part of it. */
export interface WholeWindows {
  readonly windows: number
  readonly length: number
}

/**
 * Adds `H` [windows, k, h/k, length, e] from `q` [n, h·e], `k` and `v` [n, k·e], heads side by side.
 * @param rotary `cos` and `sin` [positions, e/2 or more], or none where the model does not turn queries and keys
 */
export function causalAttention(
  g: Graph,
  a: Architecture,
  [q, k, v]: readonly [Value, Value, Value],
  { windows, length }: WholeWindows,
  rotary: readonly Value[],
): Value {
  const ints = (...values: number[]) => g.constant('int64', values)
  const slice = (x: Value, from: number, to: number, axis: number) =>
    g.op('Slice', [x, ints(from), ints(to), ints(axis)])
  const width = a.headSize
  const tables = rotary.map(table => slice(slice(table, 0, length, 0), 0, width / 2, 1)) // [length, width/2]
  const [groups, queries] = [a.kvHeads, a.heads / a.kvHeads]
  /** [n, heads·width] → [windows, heads, length, width] */
  const split = (x: Value, heads: number) =>
    g.op('Transpose', [g.op('Reshape', [x, ints(windows, length, heads, width)])], { perm: [0, 2, 1, 3] })
  const turn = (x: Value) => (tables.length > 0 ? rotate(g, x, tables) : x)
  const scaled = g.op('Mul', [turn(split(q, a.heads)), g.constant('float32', [1 / Math.sqrt(width)])])
  const all = windows * groups
  const grouped = g.op('Reshape', [scaled, ints(all, queries, length, width)])
  const keys = g.op('Reshape', [turn(split(k, groups)), ints(all, 1, length, width)])
  const turnedKeys = g.op('Transpose', [keys], { perm: [0, 1, 3, 2] }) // [all, 1, width, length]
  const vs = g.op('Reshape', [split(v, groups), ints(all, 1, length, width)])
  const blocks: Value[] = []
  for (let from = 0; from < length; from += BLOCK) {
    const to = Math.min(from + BLOCK, length)
    const later = g.op('Trilu', [filled(g, MASKED, [to - from, to]), g.constant('int64', from + 1)], { upper: 1 })
    const products = g.op('MatMul', [slice(grouped, from, to, 2), slice(turnedKeys, 0, to, 3)])
    const weights = g.op('Softmax', [g.op('Add', [products, later])], { axis: -1 }) // [all, queries, to − from, to]
    blocks.push(g.op('MatMul', [weights, slice(vs, 0, to, 2)]))
  }
  const h = blocks.length > 1 ? g.op('Concat', blocks, { axis: 2 }) : blocks[0]
  return g.op('Reshape', [h, ints(windows, groups, queries, length, width)])
}

const filled = (g: Graph, value: number, shape: readonly number[]): Value =>
  g.op('Expand', [g.constant('float32', [value]), g.constant('int64', shape)])

/** Turns each pair (i, i + half) of the last axis by the angle of its position. @param x [.., length, width] */
function rotate(g: Graph, x: Value, [cos, sin]: readonly Value[]): Value {
  const [p, q] = g.ops('Split', [x], 2, { axis: -1, num_outputs: 2 })
  const times = (y: Value, table: Value) => g.op('Mul', [y, table])
  const first = g.op('Sub', [times(p, cos), times(q, sin)])
  return g.op('Concat', [first, g.op('Add', [times(q, cos), times(p, sin)])], { axis: -1 })
}
