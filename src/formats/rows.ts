// Some rows of a stored matrix, without the others: of a vocabulary's table a text needs a part.

/** Ids of rows [rows, width] that are read together, part by part. @param bytes of a part in float32 */
export function* rowParts(rows: number, width: number, bytes: number): Generator<Int32Array> {
  const most = Math.ceil(bytes / (4 * width))
  for (let first = 0; first < rows; first += most)
    yield Int32Array.from({ length: Math.min(most, rows - first) }, (_, i) => first + i)
}

/** Fewer bytes than this between two rows are read with them: sooner done than another read. */
const GAP_BYTES = 32 * 2 ** 10
/** What is read at once, but for a longer row. */
const READ_BYTES = 4 * 2 ** 20

/**
 * The bytes of the rows `ids` (ascending), one after the other.
 * @param rowBytes bytes of one row @param read gives the bytes of the rows `from` (included) to `to` (excluded)
 */
export async function gatherRows(
  ids: Int32Array,
  rowBytes: number,
  read: (from: number, to: number) => Promise<Uint8Array>,
): Promise<Uint8Array<ArrayBuffer>> {
  const rows = new Uint8Array(ids.length * rowBytes)
  for (let i = 0; i < ids.length; ) {
    const from = ids[i]
    let end = i + 1 // of the rows that are read at once
    while (
      end < ids.length &&
      (ids[end] - ids[end - 1] - 1) * rowBytes < GAP_BYTES &&
      (ids[end] + 1 - from) * rowBytes <= READ_BYTES
    )
      end++
    const bytes = await read(from, ids[end - 1] + 1)
    for (; i < end; i++) {
      const at = (ids[i] - from) * rowBytes
      rows.set(bytes.subarray(at, at + rowBytes), i * rowBytes)
    }
  }
  return rows
}
