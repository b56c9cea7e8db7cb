import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pickRows, scatterColumns, scatterRows, transposed } from './scatter.ts'

/** A matrix whose elements are all different. */
const counting = (rows: number, columns: number) => Float32Array.from({ length: rows * columns }, (_, i) => i + 1)

test('what was put into a wider matrix comes out of it, and the rest is zero', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat(19), { minLength: 1 }), fc.integer({ min: 1, max: 7 }), (places, other) => {
      const at = Int32Array.from(places).sort()
      const rows = counting(at.length, other)
      const tall = scatterRows(rows, at, 20, other)
      expect(pickRows(tall, at, other)).toEqual(rows)
      const columns = counting(other, at.length)
      const wide = scatterColumns(columns, at, 20)
      expect(transposed(wide, 20, at)).toEqual(transposed(columns, at.length))
      for (const matrix of [tall, wide]) expect(matrix.filter(v => v !== 0)).toHaveLength(at.length * other)
    }),
  )
})

test('a transpose has element (j, i) at (i, j), across the edges of its squares', () => {
  for (const [rows, columns] of [
    [1, 5],
    [33, 31],
    [64, 70],
  ]) {
    const matrix = counting(rows, columns)
    const result = transposed(matrix, columns)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) expect(result[j * rows + i]).toBe(matrix[i * columns + j])
  }
})
