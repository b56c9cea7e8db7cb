import { expect, test } from 'vitest'
import { healedFrom } from './pruned.ts'

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
