// Puts the rows or columns of a narrow matrix into their places in a wider one, with zeros elsewhere.

type Floats = Float32Array<ArrayBuffer>

/** [at.length, width] → [total, width]: row i becomes row `at[i]`. */
export function scatterRows(rows: Floats, at: Int32Array, total: number, width: number): Floats {
  const wide = new Float32Array(total * width)
  for (const [i, row] of at.entries()) wide.set(rows.subarray(i * width, (i + 1) * width), row * width)
  return wide
}

/** [rows, at.length] → [rows, total]: column i becomes column `at[i]`. */
export function scatterColumns(narrow: Floats, at: Int32Array, total: number): Floats {
  const rows = narrow.length / at.length
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
