import { expect, test } from 'vitest'
import { rounded } from './encode.ts'

test('weights are rounded to the type of the output, and a value that does not fit it is an error', () => {
  const name = 'model.layers.1.mlp.up_proj.weight'
  const { bytes, values } = rounded(name, Float32Array.of(1.0001, 65519), 'F16')
  expect(values).toEqual(Float32Array.of(1, 65504))
  expect(bytes).toEqual(Uint8Array.of(0x00, 0x3c, 0xff, 0x7b))
  expect(() => rounded(name, Float32Array.of(1, 70000), 'F16')).toThrow(
    'model.layers.1.mlp.up_proj.weight: 70000 does not fit F16. Write in a wider type, --dtype bf16 or f32.',
  )
})
