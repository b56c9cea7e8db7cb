// Against ggml itself on 2^20 values of nine kinds, bit for bit: test/fixtures/gguf/make_quantized.py.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { dequantize } from './gguf-dequantize.ts'
import { quantize } from './gguf-quantize.ts'
import type { QuantizedType } from './tensors.ts'

const file = new URL('../../test/fixtures/gguf/quantized.json', import.meta.url)
const { cases, kinds, shown, superBlocks, versions } = JSON.parse(readFileSync(file, 'utf8'))

/** The values of make_quantized.py, [superBlocks, 256]. */
function makeValues(): Float32Array {
  let state = 1
  const x = new Float32Array(superBlocks * 256)
  for (let b = 0; b < superBlocks; b++) {
    const draws = Float64Array.from({ length: 256 }, () => {
      state = (state * 48271) % 2147483647
      return (state % 20001) - 10000
    })
    const kind = b % kinds
    if (kind === 3) draws[b % 256] *= 64
    const first = draws[0]
    const scale = 2 ** ((Math.floor(b / kinds) % 40) - (kind === 8 ? 140 : 30))
    for (const [i, draw] of draws.entries()) {
      let value = draw
      if (kind === 1) value = Math.abs(draw)
      if (kind === 2) value = -Math.abs(draw)
      if (kind === 4 || (kind === 6 && i >= 32 && i < 96)) value = 0
      if (kind === 5) value = first
      if (kind === 7) value = Math.trunc(draw / 2500) * 2048
      x[b * 256 + i] = value * scale
    }
  }
  return x
}

describe(`quantize, as ggml of llama.cpp ${versions['llama.cpp']}`, () => {
  const values = makeValues()

  test.each(Object.keys(cases) as QuantizedType[])('%s', type => {
    const blocks = quantize(values, type)
    const first = Buffer.from(cases[type].first, 'base64')
    const size = first.length / shown // of a super-block
    const different = Array.from({ length: shown }, (_, b) => b).filter(
      b => !first.subarray(b * size, (b + 1) * size).equals(blocks.subarray(b * size, (b + 1) * size)),
    )
    expect(different).toEqual([])
    expect(createHash('sha256').update(blocks).digest('hex')).toBe(cases[type].sha256)
  })

  test.each(Object.keys(cases) as QuantizedType[])('%s read back is near', type => {
    const kept = values.subarray(0, 256 * kinds * 30)
    const back = dequantize(quantize(kept, type), type)
    let error = 0
    let energy = 0
    for (const [i, value] of kept.entries()) {
      if (Math.floor(i / 256) % kinds === 8) continue
      error += (value - back[i]) ** 2
      energy += value ** 2
    }
    expect(error / energy).toBeLessThan(0.02) // four bits where a block has one outlier are the worst
    expect(error).toBeGreaterThan(0)
  })
})

test('half a block is refused', () => {
  expect(() => quantize(new Float32Array(48), 'Q8_0')).toThrow(RangeError)
  expect(() => quantize(new Float32Array(128), 'Q4_K')).toThrow(RangeError)
})
