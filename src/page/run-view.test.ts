import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { divergenceOf } from '../../test/divergence.ts'
import { engineAndFolder } from '../../test/opened.ts'
import type { ProgressEvent } from '../base/events.ts'
import { loadTokenizer, openModel, prune, type Writing } from '../node.ts'
import type { Told } from './protocol.ts'
import { watchRun } from './run-view.ts'

const { engine, folder } = engineAndFolder()

function openRows() {
  const bytes = new Uint8Array(2 ** 24)
  return Promise.resolve({
    read: async (target: Uint8Array, offset: number) => target.set(bytes.subarray(offset, offset + target.byteLength)),
    write: async (part: Uint8Array, offset: number) => bytes.set(part, offset),
    close: async () => {},
  })
}

const NO_WRITING: Writing = { pending: async () => undefined, on: () => ({ engine }), mostBytes: 0 }

test('of a run on its own text: the text, and the distance on what was held out, by definition', async () => {
  await using dense = await openModel(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url)))
  const told: Told[] = []
  let windows: Extract<ProgressEvent, { type: 'windows' }> | undefined
  const watched = watchRun(dense, true, NO_WRITING, event => void told.push(event))
  const output = join(folder, 'pruned')
  const onEvent = (event: ProgressEvent) => {
    if (event.type === 'windows') windows = event
    watched.onEvent(event)
  }
  const result = await prune(dense, { sparsity: 0.5, windows: 6, heldOut: 2, seqLen: 40, engine, output, onEvent })
  expect([windows!.windows.length, windows!.heldOut!.length]).toEqual([6, 2])
  expect(result.options).not.toHaveProperty('onEvent')
  await using pruned = await openModel(output)
  const signal = new AbortController().signal
  const facts = await watched.facts(result, pruned, { engine, openRows, signal })
  const { kl, topAgreement } = await divergenceOf(dense, pruned, engine, windows!.heldOut!)
  expect(facts.heldOut!.distance!.kl).toBeCloseTo(kl, 5)
  expect(facts.heldOut!.distance!.topAgreement).toBeCloseTo(topAgreement, 2)
  expect(kl).toBeGreaterThan(0.01)
  const tokenizer = loadTokenizer(dense.checkpoint)
  const first = windows!.windows.slice(0, 4).map(ids => tokenizer.decode(ids))
  expect(facts.ownText).toEqual({ first, windows: 8, seqLen: 40 })
  expect(told.filter(({ type }) => type === 'own text')).toEqual([{ type: 'own text', text: facts.ownText }])
  expect(told.some(({ type }) => (type as string) === 'windows')).toBe(false)
  // Stopped while it is measured the result is there, without a distance.
  const stopped = await watched.facts(result, pruned, { engine, openRows, signal: AbortSignal.abort() })
  expect(stopped.heldOut).toEqual({ ...facts.heldOut, distance: undefined })
})
