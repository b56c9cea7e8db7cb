// Blocks and rows against ONNX Runtime's own quantisers, byte for byte (test/fixtures/onnx/make_quantised.py), and by their error.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { inBlocks } from './blocks.ts'
import type { Encoding } from './encoding.ts'
import { inRows } from './rows.ts'

const oracle = JSON.parse(readFileSync(new URL('../../../test/fixtures/onnx/quantised.json', import.meta.url), 'utf8'))
const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64'))
const values = new Float32Array(bytes(oracle.values).buffer)

test.each<[string, Encoding, string[]]>([
  ['blocks4', inBlocks(4, 'float32'), ['w_Q4', 'w_scales']],
  ['blocks8', inBlocks(8, 'float32'), ['w_Q8', 'w_scales']],
  ['rows8', inRows(true), ['w_quantized', 'w_scale', 'w_zero_point']],
])('%s has the bytes of ONNX Runtime', (name, encoding, parts) => {
  const ours = encoding.encode(values, oracle.columns)
  expect(encoding.parts(oracle.rows, oracle.columns).map(({ suffix }) => `w${suffix}`)).toEqual(parts)
  for (const [i, part] of parts.entries())
    expect(Buffer.from(ours[i]).toString('base64'), part).toBe(oracle[name][part])
})

describe.each<[string, Encoding, (block: Float32Array) => number]>([
  // Codes end one step short of the extreme's mirror image, so that one value of a block may be a whole step off.
  ['blocks of 4 bits', inBlocks(4, 'float32'), block => largest(block) / 8],
  ['blocks of 8 bits', inBlocks(8, 'float32'), block => largest(block) / 128],
  ['blocks with scales of 16 bits', inBlocks(4, 'float16'), block => (1.01 * largest(block)) / 8 + 2 ** -20],
  ['rows', inRows(false), block => (Math.max(0, ...block) - Math.min(0, ...block)) / 255 / 2],
])('%s', (name, encoding, allowed) => {
  test('round within the step', () => {
    const size = name === 'rows' ? 48 : 32
    fc.assert(
      fc.property(fc.array(fc.float({ noNaN: true, min: -100, max: 100 }), { minLength: 96, maxLength: 96 }), list => {
        const matrix = Float32Array.from(list) // [2, 48]
        const rounded = encoding.round(matrix, 48)
        for (const row of [0, 48])
          for (let from = 0; from < 48; from += size) {
            const block = matrix.subarray(row + from, row + Math.min(48, from + size))
            const limit = allowed(block) * (1 + 1e-5) + 1e-30
            for (const [i, value] of block.entries())
              expect(Math.abs(rounded[row + from + i] - value)).toBeLessThanOrEqual(limit)
          }
      }),
    )
  })

  test('are the same bytes where rows are written apart', () => {
    const matrix = values.slice(0, 6 * 40) // [6, 40]
    const whole = encoding.encode(matrix, 40)
    const apart = [0, 1, 4].map((row, i, rows) => encoding.encode(matrix.slice(row * 40, (rows[i + 1] ?? 6) * 40), 40))
    for (const [part, bytes] of whole.entries())
      expect(Buffer.concat(apart.map(parts => parts[part])).equals(Buffer.from(bytes))).toBe(true)
  })

  test('keep what is rounded already', () => {
    const once = encoding.round(values.slice(0, 80), 80)
    const twice = encoding.round(once, 80)
    for (const [i, value] of once.entries()) expect(twice[i]).toBeCloseTo(value, 6)
  })
})

const largest = (block: Float32Array) => block.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
