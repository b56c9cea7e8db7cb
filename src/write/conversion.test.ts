import { expect, test } from 'vitest'
import { floatSource } from '../checkpoint/float-source.ts'
import { encode } from '../formats/encode.ts'
import type { Model } from '../model/model.ts'
import { converted } from './conversion.ts'

test('a table outside the layers is converted in parts, a matrix in a layer at once', async () => {
  const [rows, width] = [5000, 1024]
  const values = Float32Array.from({ length: rows * width }, (_, i) => Math.sin(i))
  const [table, matrix] = ['model.embed_tokens.weight', 'model.layers.0.mlp.up_proj.weight']
  const shapes = [table, matrix].map(name => [name, [rows, width]] as const)
  const model = {
    checkpoint: { name: 'made', tensors: floatSource(shapes, async () => values) },
    architecture: { names: { layers: 'model.layers' } },
  } as unknown as Model
  const parts = async (name: string) => {
    const found: Uint8Array[] = []
    for await (const part of converted(model, name, 'BF16')) found.push(part)
    return found
  }
  expect((await parts(table)).map(part => part.length / (2 * width))).toEqual([4096, 904])
  const whole = Buffer.from(encode(table, values, 'BF16'))
  expect(Buffer.concat(await parts(table)).equals(whole)).toBe(true)
  expect((await parts(matrix)).map(part => Buffer.from(part).equals(whole))).toEqual([true])
  values[4500 * width + 3] = Number.POSITIVE_INFINITY
  await expect(parts(table)).rejects.toThrow(`${table} holds Infinity at element ${4500 * width + 3}.`)
})
