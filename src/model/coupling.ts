// Which rows of v_proj and which columns of o_proj belong together. Value row (g, j) of KV head g feeds channel j of
// each of its h / k query heads; an FFN neuron is one row and one column, so its coupling is the identity.
import { type AttentionHalf, groupSize, type HalfBlock, hiddenWidth } from './half-block.ts'

/** Columns of the output layer that go together: one for a neuron; for a value row those of its query heads. */
export function columnGroups(half: HalfBlock): number[][] {
  if (half.kind === 'ffn') return Array.from({ length: half.output.in }, (_, neuron) => [neuron])
  const { kvHeads, headSize } = half
  const group = groupSize(half)
  return Array.from({ length: kvHeads * headSize }, (_, row) => {
    const first = Math.floor(row / headSize) * group * headSize + (row % headSize)
    return Array.from({ length: group }, (_, i) => first + i * headSize)
  })
}

/** The columns of o_proj that go with each KV head as a whole: those of its query heads. */
export function headGroups(half: AttentionHalf): number[][] {
  const size = groupSize(half) * half.headSize
  return Array.from({ length: half.kvHeads }, (_, head) => Array.from({ length: size }, (_, i) => head * size + i))
}

/** All rows of v_proj, or of k_proj, that the given KV heads have. */
export const rowsOfHeads = ({ headSize }: AttentionHalf, heads: Int32Array): Int32Array<ArrayBuffer> =>
  Int32Array.from([...heads].flatMap(head => Array.from({ length: headSize }, (_, i) => head * headSize + i)))

/** Columns of o_proj, ascending, that read the given rows of v_proj. */
export function columnsOfRows(half: AttentionHalf, rows: Int32Array): Int32Array<ArrayBuffer> {
  const wanted = new Set(rows)
  const groupWidth = half.headSize * groupSize(half)
  const row = (column: number) => Math.floor(column / groupWidth) * half.headSize + (column % half.headSize)
  return Int32Array.from({ length: hiddenWidth(half) }, (_, c) => c).filter(c => wanted.has(row(c)))
}

/** Rows of a v_proj with all channels that belong to the first `values[g]` of each KV head. */
export function firstValueRows({ headSize, values }: AttentionHalf): Int32Array<ArrayBuffer> {
  return Int32Array.from(values.flatMap((n, head) => Array.from({ length: n }, (_, c) => head * headSize + c)))
}
