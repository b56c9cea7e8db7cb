// Against GPTQ as its paper has it, in NumPy (test/fixtures/gguf/make_gptq.py), and against plain rounding.
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { dequantize, isWritten, QUANTIZED_BLOCKS } from '../../formats/gguf-dequantize.ts'
import { quantize } from '../../formats/gguf-quantize.ts'
import type { Floats, QuantizedType } from '../../formats/tensors.ts'
import { openEngine } from '../../node.ts'
import { quantizeByGram } from './gptq.ts'

const engine = openEngine()
afterAll(() => engine.close())

const TYPES = Object.keys(QUANTIZED_BLOCKS).filter(isWritten)

/** Integers from −10000 to 10000. */
function draws(count: number, seed: number): number[] {
  let state = seed
  return Array.from({ length: count }, () => {
    state = (state * 48271) % 2147483647
    return (state % 20001) - 10000
  })
}

/** XᵀX of inputs [tokens, n] of which neighbours are alike and one is loud. */
function makeGram(tokens: number, n: number, seed: number): Floats {
  const drawn = draws(tokens * n, seed).map(draw => draw / 8192)
  const x = drawn.map((v, i) => (v + (i % n > 0 ? drawn[i - 1] : 0)) * (i % n === 7 ? 16 : 1))
  const gram = new Float64Array(n * n)
  for (let t = 0; t < tokens; t++)
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) gram[i * n + j] += x[t * n + i] * x[t * n + j]
  return Float32Array.from(gram)
}

const makeWeights = (rows: number, n: number, seed: number): Floats =>
  Float32Array.from(draws(rows * n, seed), draw => draw / 8192)

/** `‖X (W − Ŵ)ᵀ‖²` of each row, without the damping. */
function errors(w: Floats, blocks: Uint8Array<ArrayBuffer>, type: QuantizedType, gram: Floats): number[] {
  const n = Math.sqrt(gram.length)
  const lost = dequantize(blocks, type).map((v, i) => w[i] - v)
  return Array.from({ length: w.length / n }, (_, r) => {
    let sum = 0
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) sum += lost[r * n + i] * gram[i * n + j] * lost[r * n + j]
    return sum
  })
}

const total = (values: readonly number[]) => values.reduce((sum, v) => sum + v, 0)

const file = new URL('../../../test/fixtures/gguf/gptq.json', import.meta.url)
const { cases, rows, n, tokens, versions } = JSON.parse(readFileSync(file, 'utf8'))

describe(`as NumPy ${versions.numpy} and gguf ${versions.gguf}`, () => {
  const weights = makeWeights(rows, n, 1)
  const gram = makeGram(tokens, n, 2)
  test.each(Object.keys(cases) as QuantizedType[])('%s', async type => {
    const wanted = new Float32Array(new Uint8Array(Buffer.from(cases[type], 'base64')).buffer)
    const found = dequantize(await quantizeByGram(engine, weights, gram, type, 'test'), type)
    const far = [...wanted.keys()].filter(i => Math.abs(wanted[i] - found[i]) > 1e-6 * Math.abs(wanted[i]))
    expect(far).toEqual([])
  })
})

describe.each(TYPES)('%s', type => {
  const size = QUANTIZED_BLOCKS[type].elements
  test('loses less than plain rounding, whatever the inputs', async () => {
    const seeds = fc.tuple(
      fc.integer({ min: 1, max: 1e6 }),
      fc.integer({ min: 1, max: 1e6 }),
      fc.integer({ min: 1, max: 3 }),
    )
    await fc.assert(
      fc.asyncProperty(seeds, async ([a, b, blocks]) => {
        const weights = makeWeights(4, blocks * size, a)
        const gram = makeGram(64, blocks * size, b)
        const ours = await quantizeByGram(engine, weights, gram, type, 'test')
        const plain = quantize(weights, type)
        expect(ours.length).toBe(plain.length)
        expect(total(errors(weights, ours, type, gram))).toBeLessThan(total(errors(weights, plain, type, gram)))
      }),
      { numRuns: size === 32 ? 8 : 3, seed: 25 },
    )
  })

  test('with inputs that say nothing of each other no row loses more than by plain rounding', async () => {
    const n = 2 * size
    const identity = Float32Array.from({ length: n * n }, (_, i) => Number(i % (n + 1) === 0))
    const weights = makeWeights(6, n, 3)
    const ours = errors(weights, await quantizeByGram(engine, weights, identity, type, 'test'), type, identity)
    const plain = errors(weights, quantize(weights, type), type, identity)
    for (const [row, error] of ours.entries()) expect(error).toBeLessThanOrEqual(plain[row] * (1 + 1e-9))
  })

  test('inputs of zeros leave plain rounding', async () => {
    const weights = makeWeights(2, size, 4)
    const ours = await quantizeByGram(engine, weights, new Float32Array(size * size), type, 'test')
    expect(ours).toEqual(quantize(weights, type))
  })
})

test('more rows than are rounded at once come out as each by itself', async () => {
  const [weights, gram] = [makeWeights(1030, 64, 5), makeGram(128, 64, 6)]
  const all = await quantizeByGram(engine, weights, gram, 'Q4_1', 'test')
  const last = await quantizeByGram(engine, weights.slice(1029 * 64), gram, 'Q4_1', 'test')
  expect(all.subarray(1029 * 40)).toEqual(last)
})
