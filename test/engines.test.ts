// Engines are closed where what they were opened for fails.
import { afterEach, expect, test, vi } from 'vitest'
import type { Engine } from '../src/engine/engine.ts'
import type { ProgressEvent } from '../src/events.ts'
import { describeMachine, evaluate, exportModel, prune } from '../src/node.ts'
import { finish } from './finish.ts'

const opened: { readonly close: ReturnType<typeof vi.fn<Engine['close']>> }[] = []
vi.mock(import('../src/engine/engine.node.ts'), async original => {
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
afterEach(() => void opened.splice(0))

const output = 'never-written'
test.each<[string, () => AsyncGenerator<ProgressEvent, unknown>]>([
  ['prune', () => prune('no-model', { sparsity: 0.3, output })],
  ['export', () => exportModel('no-model', { output, to: [{ to: 'gguf' }] })],
  ['evaluate', () => evaluate('no-model', {})],
])('%s of a model that is not there', async (_, run) => {
  await expect(finish(run())).rejects.toThrow('no-model')
  expect(opened.map(({ close }) => close.mock.calls.length)).toEqual([1])
})

test('the machine is described', () => {
  describeMachine({})
  expect(opened.map(({ close }) => close.mock.calls.length)).toEqual([1])
})
