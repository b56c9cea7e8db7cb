import { expect, test } from 'vitest'
import { healedFrom, healedOn } from './pruning-record.ts'

const HEALED = {
  ...{ tokens: 2048, step: 2, kl: { before: 0.3, after: 0.1 } },
  curve: [
    { step: 0, kl: 0.3 },
    { step: 2, kl: 0.1 },
  ],
}
const of = (healed: unknown) => healedFrom({ recipe: { healed } as never })

test('how a model was healed, with a KL that was none', () => {
  expect(of({ ...HEALED, lr: 1e-4 })).toEqual(HEALED)
  const curve = [...HEALED.curve, { step: 4, kl: null }]
  expect(of({ ...HEALED, curve })!.curve[2]).toEqual({ step: 4, kl: Number.NaN })
  expect(healedFrom({ recipe: {} })).toBeUndefined()
  expect(healedFrom({})).toBeUndefined()
})

test('on how many tokens, of a folder, of one that others pruned, and of a GGUF file', () => {
  const options = { method: 'best', sparsity: 0.3 }
  expect(healedOn({ recipe: { source: { name: 'a' }, options, healed: { tokens: 64 } } })).toBe(64)
  expect(healedOn({ recipe: { source: { name: 'a' }, healed: HEALED } })).toBe(2048)
  const keys = { source: 'a', ...options, healed_tokens: 32 }
  const metadata = new Map(Object.entries(keys).map(([key, value]) => [`fasp.${key}`, value]))
  expect(healedOn({ gguf: { metadata } } as never)).toBe(32)
  expect(healedOn({ recipe: { source: { name: 'a' }, options } })).toBeUndefined()
})

test.each<[string, unknown]>([
  ['a text', 'healed'],
  ['without KL', { ...HEALED, kl: undefined }],
  ['with a KL in words', { ...HEALED, kl: { before: 'a lot', after: 0.1 } }],
  ['without steps', { ...HEALED, curve: undefined }],
  ['with a step that is none', { ...HEALED, curve: [0.3] }],
  ['with a step in words', { ...HEALED, curve: [{ step: 'first', kl: 0.3 }] }],
])('what a file says in another form is left out: %s', (_, healed) => {
  expect(of(healed)).toBeUndefined()
})
