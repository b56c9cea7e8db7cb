// Codes that are read from the values of blocks and put again make the same blocks.
import { expect, test } from 'vitest'
import { BLOCK_CODES } from './gguf-codes.ts'
import { dequantize, isWritten, QUANTIZED_BLOCKS } from './gguf-dequantize.ts'
import { quantize } from './gguf-quantize.ts'

test.each(Object.keys(QUANTIZED_BLOCKS).filter(isWritten))('%s', type => {
  const { elements, bytes } = QUANTIZED_BLOCKS[type]
  const { from, to, least, greatest, levels, put } = BLOCK_CODES[type]
  const blocks = quantize(
    Float32Array.from({ length: 4 * elements }, (_, i) => Math.sin(i * i)),
    type,
  )
  const filled = (byte: number) => {
    const copy = blocks.slice()
    for (let at = 0; at < copy.length; at += bytes) copy.fill(byte, at + from, at + to)
    return copy
  }
  const [values, low, high] = [blocks, filled(least), filled(greatest)].map(some => dequantize(some, type))
  const again = filled(0)
  for (let at = 0; at < again.length / bytes; at++) {
    const codes = Uint8Array.from({ length: elements }, (_, j) => {
      const i = at * elements + j
      return Math.round(((values[i] - low[i]) / (high[i] - low[i])) * (levels - 1))
    })
    put(codes, again, at * bytes)
  }
  expect(again).toEqual(blocks)
})
