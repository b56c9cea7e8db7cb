// Against the divisors that transformers computes: test/fixtures/gguf/make.py.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { UnsupportedModelError } from '../base/errors.ts'
import type { GgufValue } from '../formats/gguf-contents.ts'
import { GgufMetadata } from './gguf-metadata.ts'
import { llama3Factors, ropeScaling } from './gguf-rope.ts'

const file = new URL('../../test/fixtures/gguf/rope.json', import.meta.url)
const cases: { factor: number; theta: number; factors: number[] }[] = JSON.parse(readFileSync(file, 'utf8')).cases
const metadata = (pairs: Record<string, GgufValue> = {}) =>
  new GgufMetadata('m.gguf', new Map(Object.entries(pairs).map(([key, value]) => [`llama.rope.${key}`, value])))

describe('ropeScaling', () => {
  test.each(cases)('recovers Llama 3 with factor $factor', ({ factor, theta, factors }) => {
    expect(ropeScaling(metadata(), { freqs: Float32Array.from(factors) }, theta)).toEqual({
      rope_type: 'llama3',
      factor,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    })
  })

  test('takes the original context from the metadata', () => {
    const parameters = { factor: 4, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 2048 }
    const factors = Float32Array.from(llama3Factors(parameters, 10000, 32))
    const given = metadata({ 'scaling.original_context_length': 2048 })
    expect(ropeScaling(given, { freqs: factors }, 10000)).toEqual({ rope_type: 'llama3', ...parameters })
  })

  test('refuses other divisors', () => {
    const [{ factors, theta }] = cases
    const stretched = Float32Array.from(factors, (factor, i) => (i === 30 ? factor * 1.01 : factor))
    expect(() => ropeScaling(metadata(), { freqs: stretched }, theta)).toThrow(/no Llama 3 scaling/)
    expect(() => ropeScaling(metadata(), { freqs: Float32Array.from(factors) }, 10000)).toThrow(UnsupportedModelError)
  })

  test('none and linear', () => {
    const linear = { rope_type: 'linear', type: 'linear', factor: 4 }
    expect(ropeScaling(metadata(), {}, 10000)).toBeNull()
    expect(ropeScaling(metadata(), { freqs: new Float32Array(32).fill(1) }, 10000)).toBeNull()
    expect(ropeScaling(metadata({ 'scaling.type': 'none', 'scaling.factor': 4 }), {}, 10000)).toBeNull()
    expect(ropeScaling(metadata({ 'scaling.type': 'linear', 'scaling.factor': 4 }), {}, 10000)).toEqual(linear)
    expect(ropeScaling(metadata({ scale_linear: 4 }), {}, 10000)).toEqual(linear)
  })

  test('YaRN, with an attention factor where it is another than llama.cpp computes', () => {
    const original = { 'scaling.type': 'yarn', 'scaling.factor': 4, 'scaling.original_context_length': 512 }
    const yarn = (more: Record<string, GgufValue>) => ropeScaling(metadata({ ...original, ...more }), {}, 10000)
    const plain = { rope_type: 'yarn', type: 'yarn', factor: 4, original_max_position_embeddings: 512 }
    expect(yarn({})).toEqual(plain)
    expect(yarn({ 'scaling.yarn_beta_fast': 16 })).toEqual({ ...plain, beta_fast: 16 })
    expect(yarn({ 'scaling.attn_factor': 2 })).toEqual({ ...plain, attention_factor: 2.27726 }) // 2 (1 + 0.1 ln 4)
  })

  test('refuses others, and two scalings at once', () => {
    expect(() => ropeScaling(metadata({ 'scaling.type': 'su' }), {}, 10000)).toThrow(/"su" with factor 1/)
    expect(() => ropeScaling(metadata({ scale_linear: 4 }), { freqs: new Float32Array(32).fill(2) }, 10000)).toThrow(
      /both linear/,
    )
  })
})
