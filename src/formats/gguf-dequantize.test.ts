// Against gguf-py on random blocks of every type, bit for bit: test/fixtures/gguf/make.py.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { dequantize, isQuantized } from './gguf-dequantize.ts'

const file = new URL('../../test/fixtures/gguf/blocks.json', import.meta.url)
const { cases, versions } = JSON.parse(readFileSync(file, 'utf8'))
const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, 'base64'))

describe(`dequantize, as gguf-py ${versions.gguf}`, () => {
  test.each(Object.keys(cases))('%s', type => {
    if (!isQuantized(type)) throw new Error(`the fixture has ${type}, which is not read`)
    const values = dequantize(bytes(cases[type].blocks), type)
    expect(values.length).toBeGreaterThan(0)
    expect(new Uint8Array(values.buffer)).toEqual(bytes(cases[type].values))
  })

  test('half a block is refused', () => {
    expect(() => dequantize(new Uint8Array(17), 'Q4_0')).toThrow(RangeError)
  })
})
