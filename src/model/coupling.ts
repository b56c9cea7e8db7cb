// Which rows of v_proj and which columns of o_proj belong together. Value row (g, j) of KV head g feeds channel j of each of its h / k
// query heads; an FFN neuron is one row and one column, so its coupling is the identity.
import type { Architecture, HalfBlock } from './architecture.ts'

/** The columns of the output layer that only go together: one for each neuron, for each value row those of its query heads. */
export function columnGroups({ heads, kvHeads, headSize, ffnWidth }: Architecture, { kind }: HalfBlock): number[][] {
  if (kind === 'ffn') return Array.from({ length: ffnWidth }, (_, neuron) => [neuron])
  const group = heads / kvHeads
  return Array.from({ length: kvHeads * headSize }, (_, row) => {
    const first = Math.floor(row / headSize) * group * headSize + (row % headSize)
    return Array.from({ length: group }, (_, i) => first + i * headSize)
  })
}

/** The columns of o_proj that go with each KV head as a whole: those of its query heads. */
export function headGroups({ heads, kvHeads, headSize }: Architecture): number[][] {
  const size = (heads / kvHeads) * headSize
  return Array.from({ length: kvHeads }, (_, head) => Array.from({ length: size }, (_, i) => head * size + i))
}

/** All rows of v_proj, or of k_proj, that the given KV heads have. */
export const rowsOfHeads = ({ headSize }: Architecture, heads: Int32Array): Int32Array<ArrayBuffer> =>
  Int32Array.from([...heads].flatMap(head => Array.from({ length: headSize }, (_, i) => head * headSize + i)))

/** Columns of o_proj, ascending, that read the given rows of v_proj. */
export function columnsOfRows(a: Architecture, rows: Int32Array): Int32Array<ArrayBuffer> {
  const wanted = new Set(rows)
  return Int32Array.from({ length: a.heads * a.headSize }, (_, c) => c).filter(c => wanted.has(valueRow(a, c)))
}

/** Rows of a v_proj with all channels that belong to the first `values[g]` of each KV head. */
export function firstValueRows(a: Architecture, values: readonly number[]): Int32Array<ArrayBuffer> {
  return Int32Array.from(values.flatMap((n, head) => Array.from({ length: n }, (_, c) => head * a.headSize + c)))
}

function valueRow(a: Architecture, column: number): number {
  const group = Math.floor(column / (a.headSize * (a.heads / a.kvHeads)))
  return group * a.headSize + (column % a.headSize)
}
