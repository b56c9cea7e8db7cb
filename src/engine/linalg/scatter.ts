// Moves rows and columns of row-major matrices: into places of a wider matrix, with zeros elsewhere, and out of it.
import type { Floats } from '../../formats/tensors.ts'

type Numbers =
  | Floats
  | Float64Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint16Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>

/** [at.length, width] → [total, width]: row i becomes row `at[i]`. */
export function scatterRows<T extends Numbers>(rows: T, at: Int32Array, total: number, width: number): T {
  const wide = alike(rows, total * width)
  for (const [i, row] of at.entries()) wide.set(rows.subarray(i * width, (i + 1) * width), row * width)
  return wide
}

/** Views on the matrices that lie one after another in `joined`. @param rows of each matrix */
export function splitRows(joined: Floats, rows: readonly number[], width: number): Floats[] {
  let end = 0
  return rows.map(count => {
    const start = end
    end += count * width
    return joined.subarray(start, end)
  })
}

/** [rows, at.length] → [rows, total]: column i becomes column `at[i]`. @param rows where `at` may be empty */
export function scatterColumns<T extends Numbers>(
  narrow: T,
  at: Int32Array,
  total: number,
  rows = narrow.length / at.length,
): T {
  const wide = alike(narrow, rows * total)
  for (let row = 0, from = 0; row < rows; row++)
    for (let i = 0; i < at.length; i++) wide[row * total + at[i]] = narrow[from++]
  return wide
}

/** These rows and columns of a matrix [.., width]: [rows.length, columns.length]. */
export function pick<T extends Numbers>(matrix: T, rows: Int32Array, columns: Int32Array, width: number): T {
  const picked = alike(matrix, rows.length * columns.length)
  for (let i = 0, to = 0; i < rows.length; i++)
    for (let j = 0; j < columns.length; j++) picked[to++] = matrix[rows[i] * width + columns[j]]
  return picked
}

/** The rows `at` of a matrix [.., width]. */
export function pickRows<T extends Numbers>(matrix: T, at: Int32Array, width: number): T {
  const picked = alike(matrix, at.length * width)
  for (let i = 0; i < at.length; i++) picked.set(matrix.subarray(at[i] * width, (at[i] + 1) * width), i * width)
  return picked
}

const alike = <T extends Numbers>(matrix: T, length: number): T =>
  new (matrix.constructor as new (length: number) => T)(length)

/** Edge of the squares that a transpose copies, so that both sides stay in the cache. */
const SQUARE = 32

/** The columns `at` of a matrix [rows, columns] as rows: [at.length, rows]. @param at all columns, where not given */
export function transposed<T extends Floats | Float64Array<ArrayBuffer>>(
  matrix: T,
  columns: number,
  at?: Int32Array,
): T {
  const rows = matrix.length / columns
  const result = alike(matrix, (at?.length ?? columns) * rows)
  transposeInto(result, 0, rows, matrix, columns, at)
  return result
}

/** Writes the transpose into a wider matrix with rows of `width`, from element `first` on. */
export function transposeInto<T extends Floats | Float64Array<ArrayBuffer>>(
  wide: T,
  first: number,
  width: number,
  matrix: T,
  columns: number,
  at?: Int32Array,
): void {
  const rows = matrix.length / columns
  const count = at?.length ?? columns
  for (let i0 = 0; i0 < count; i0 += SQUARE)
    for (let r0 = 0; r0 < rows; r0 += SQUARE)
      for (let i = i0; i < Math.min(count, i0 + SQUARE); i++) {
        const column = at ? at[i] : i
        const to = first + i * width
        const end = Math.min(rows, r0 + SQUARE)
        for (let r = r0; r < end; r++) wide[to + r] = matrix[r * columns + column]
      }
}

/** Copies a square matrix [n, n] from above its diagonal to below. */
export function mirrorUpper(square: Floats | Float64Array<ArrayBuffer>, n: number): void {
  for (let i0 = 0; i0 < n; i0 += SQUARE)
    for (let j0 = i0; j0 < n; j0 += SQUARE)
      for (let j = j0; j < Math.min(n, j0 + SQUARE); j++)
        for (let i = i0; i < Math.min(j, i0 + SQUARE); i++) square[j * n + i] = square[i * n + j]
}
