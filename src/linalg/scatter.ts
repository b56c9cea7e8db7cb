// Moves rows and columns of row-major matrices: into their places in a wider matrix, with zeros elsewhere, and out of it again.

type Floats = Float32Array<ArrayBuffer>
type Numbers = Floats | Float64Array<ArrayBuffer>

/** [at.length, width] → [total, width]: row i becomes row `at[i]`. */
export function scatterRows(rows: Floats, at: Int32Array, total: number, width: number): Floats {
  const wide = new Float32Array(total * width)
  for (const [i, row] of at.entries()) wide.set(rows.subarray(i * width, (i + 1) * width), row * width)
  return wide
}

/** [rows, at.length] → [rows, total]: column i becomes column `at[i]`. @param rows where `at` may be empty */
export function scatterColumns(
  narrow: Floats,
  at: Int32Array,
  total: number,
  rows = narrow.length / at.length,
): Floats {
  const wide = new Float32Array(rows * total)
  for (let row = 0, from = 0; row < rows; row++) for (const column of at) wide[row * total + column] = narrow[from++]
  return wide
}

/** The columns `at` of a matrix [rows, total]: inverse of `scatterColumns`. */
export function pickColumns(wide: Floats, at: Int32Array, total: number): Floats {
  const rows = wide.length / total
  const picked = new Float32Array(rows * at.length)
  for (let row = 0, to = 0; row < rows; row++) for (const column of at) picked[to++] = wide[row * total + column]
  return picked
}

/** The rows and columns given of a matrix [.., width]: [rows.length, columns.length]. */
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

/** Edge of the squares that a transpose goes by, so that both sides of the copy stay in the cache. */
const SQUARE = 32

/** [rows, columns] → [columns, rows] */
export function transposed(matrix: Floats, columns: number): Floats {
  const rows = matrix.length / columns
  const result = new Float32Array(matrix.length)
  for (let r0 = 0; r0 < rows; r0 += SQUARE)
    for (let c0 = 0; c0 < columns; c0 += SQUARE)
      for (let r = r0; r < Math.min(rows, r0 + SQUARE); r++)
        for (let c = c0; c < Math.min(columns, c0 + SQUARE); c++) result[c * rows + r] = matrix[r * columns + c]
  return result
}
