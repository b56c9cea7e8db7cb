// Engines are closed where what they were opened for fails.
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import type { Engine } from '../src/engine/engine.ts'
import { TINY_LLAMA } from './fasp.ts'

const opened: { readonly close: ReturnType<typeof vi.fn<Engine['close']>> }[] = []
// The library is imported anew, by way of engines that are watched, and the next file imports it as it is.
vi.resetModules()
vi.doMock(import('../src/engine/engine.node.ts'), async original => {
  const { openEngine, ...others } = await original()
  return {
    ...others,
    openEngine: options => {
      const engine = openEngine(options)
      const close = vi.fn(engine.close)
      opened.push({ close })
      return { ...engine, close, [Symbol.asyncDispose]: close }
    },
  }
})
const { evaluate, exportModel, generate, perplexity, prune } = await import('../src/node.ts')
afterEach(() => void opened.splice(0))
afterAll(() => {
  vi.doUnmock('../src/engine/engine.node.ts')
  vi.resetModules()
})

const output = 'never-written'
test.each<[string, number, () => Promise<unknown>]>([
  ['prune', 0, () => prune('no-model', { sparsity: 0.3, output })], // opens the model first
  ['export', 1, () => exportModel('no-model', { output, to: [{ to: 'gguf' }] })],
  ['evaluate', 1, () => evaluate('no-model', { text: [{ name: 'text', text: async () => '' }] })],
  [
    'evaluate beside a dense model',
    1,
    () => evaluate(TINY_LLAMA, { text: [{ name: 'text', text: async () => '' }], dense: 'no-model' }),
  ],
  ['perplexity', 1, () => perplexity('no-model', { name: 'text', text: async () => '' })],
  ['generate', 1, () => generate('no-model', 'It was')],
])('%s of a model that is not there', async (_, engines, run) => {
  await expect(run()).rejects.toThrow('no-model')
  expect(opened.map(({ close }) => close.mock.calls.length)).toEqual(new Array(engines).fill(1))
})

test('prune on windows of ids that the model lacks', async () => {
  const calibration = { seqLen: 4, windows: [Int32Array.of(0, 1, 2, 1e6)], texts: [] }
  await expect(prune(TINY_LLAMA, { sparsity: 0.3, output, calibration })).rejects.toThrow('vocabulary')
  expect(opened.map(({ close }) => close.mock.calls.length)).toEqual([1])
})
