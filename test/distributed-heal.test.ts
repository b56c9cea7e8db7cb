// Ranks in one process heal what one process heals: the gradients of a batch are those of one process, all ranks take the same steps, and after
// pruning the others heal what the root sends them.
import { readFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { memoryContext } from '../src/forward/context.ts'
import { Head } from '../src/forward/head.ts'
import { gradients } from '../src/heal/gradients.ts'
import { crossEntropy, throughHead } from '../src/heal/loss.ts'
import { TrainedWeights, trainedHalves } from '../src/heal/parameters.ts'
import { type HealOptions, heal, type Listener, openEngine, type ProgressEvent, prune } from '../src/node.ts'
import type { Group } from '../src/ranks/group.ts'
import { inProcess } from './in-process-ranks.ts'
import { nightly, someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { asWindows, goldenOf, tinyOf2Layers } from './tiny.ts'

const { folder } = engineAndFolder()
const engines = Array.from({ length: 3 }, () => openEngine({ threads: 1 }))
afterAll(() => Promise.all(engines.map(engine => engine.close())))

class Stopped extends Error {}

const DENSE = tinyOf2Layers()

const MIXTURE = fileURLToPath(new URL('fixtures/trained/tiny-mixture', import.meta.url))
const at = (name: string) => join(folder, name)
const weights = (name: string) => readFileSync(join(at(name), 'model.safetensors'))

/** Windows of 64 tokens: 9 to heal on, 3 to measure on. */
const WINDOWS = (() => {
  const rows: number[][] = goldenOf('tiny-llama').calibration_windows
  const all = rows.flatMap(row => [0, 64, 128, 192].map(from => row.slice(from, from + 64))).slice(0, 12)
  const { windows, ...others } = asWindows(all)
  const texts = [{ name: 'golden', tokens: 12 * 64, available: 12, used: 9, heldOut: 3 }]
  return { ...others, windows: windows.slice(0, 9), heldOut: windows.slice(9), texts }
})()

/** Gradients of all that is trained, as a rank has them after a batch. */
async function gradientsOn(group: Group, path: string, windows: readonly Int32Array[], updates?: { rank: number }) {
  const engine = engines[group.rank]
  return withModel(path, async model => {
    const context = { ...memoryContext(engine), group }
    const halves = trainedHalves(model.architecture.halves, 'all')
    const seeded = updates && { ...updates, seed: 1 }
    const { trained, weights } = await TrainedWeights.open(context, model, halves, seeded)
    const sums = await trained.room()
    const own = group.share(windows)
    const targets = Int32Array.from(own.flatMap(ids => [...ids.subarray(1), -1]))
    const head = await Head.open(model, engine)
    const loss = throughHead(head, crossEntropy(engine, targets, model.architecture.vocabularySize))
    let squares = 0
    await gradients(
      memoryContext(engine),
      model,
      own,
      loss,
      async (half, of) => {
        squares += await trained.keep(sums, weights, half, of)
      },
      {
        weights: of => trained.read(weights, of),
        wanted: trained.isTrained,
        tokens: windows.length * windows[0].length,
      },
    )
    const all: Float32Array[] = []
    await trained.change({ sums }, [], ({ sums }) => void all.push(sums.slice()))
    return { squares, all: Buffer.concat(all.map(({ buffer }) => Buffer.from(buffer))) }
  })
}

const GRADIENTS = [
  ['a dense model', 2, DENSE, undefined],
  ['a dense model', 3, DENSE, undefined],
  ['low-rank updates', 3, DENSE, { rank: 4 }],
  ['a mixture', 3, MIXTURE, undefined],
] as const
test.each(someOf(GRADIENTS, ([name, size]) => size === 3 || name !== 'a dense model'))(
  'gradients of %s on %i ranks are those of one process on the same two windows',
  async (_, size, path, updates) => {
    const windows = WINDOWS.windows.slice(0, 2)
    const [alone] = await Promise.all(inProcess(1).map(group => gradientsOn(group, path, windows, updates)))
    const all = await Promise.all(inProcess(size).map(group => gradientsOn(group, path, windows, updates)))
    for (const other of all) expect(Buffer.compare(other.all, all[0].all)).toBe(0)
    const [found, wanted] = [all[0], alone].map(({ all: { buffer, byteOffset, byteLength } }) => {
      return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength))
    })
    const most = wanted.reduce((most, one) => Math.max(most, Math.abs(one)), 0)
    const apart = wanted.reduce((most, one, i) => Math.max(most, Math.abs(one - found[i])), 0)
    expect(most).toBeGreaterThan(0)
    expect(apart / most).toBeLessThan(1e-6)
    expect(all[0].squares / alone.squares).toBeCloseTo(1, 5)
  },
)

describe('fasp heal', () => {
  const FOUR = { calibration: WINDOWS, tokens: 4 * 4 * 64, batch: 4, every: 2, lr: 3e-4 } as const
  const healed = (output: string, group?: Group, options: Partial<HealOptions> & Listener = {}) =>
    heal(at('pruned'), {
      ...{ dense: DENSE, output: at(output), engine: engines[group?.rank ?? 0], group, ...FOUR, ...options },
    })
  const onAll = (size: number, output: string, options?: Partial<HealOptions>) =>
    Promise.all(inProcess(size).map(group => healed(output, group, options)))
  beforeAll(async () => {
    await prune(DENSE, {
      ...{ sparsity: 0.3, method: 'magnitude', calibration: WINDOWS, engine: engines[0], output: at('pruned') },
    })
  })

  test('one rank writes what no group writes; several are as near, and agree', async () => {
    const { seconds: _, output: __, ...alone } = await healed('alone')
    const [one] = await onAll(1, 'one')
    expect(one).toMatchObject(alone)
    expect(Buffer.compare(weights('one'), weights('alone'))).toBe(0)
    for (const size of [3]) {
      const all = await onAll(size, `${size} ranks`)
      const [{ seconds: _, ...root }, ...others] = all
      for (const other of others) expect(other).toMatchObject(root)
      expect(root.step).toBe(alone.step)
      for (const [i, { step, kl }] of root.curve.entries()) {
        expect(step).toBe(alone.curve[i].step)
        expect(kl / alone.curve[i].kl).toBeCloseTo(1, 3)
      }
      expect((await readdir(at(`${size} ranks`))).sort()).toEqual((await readdir(at('alone'))).sort())
    }
  })

  test('a batch of fewer windows than ranks is told, and healed on', async () => {
    const told: string[] = []
    const onEvent = (event: ProgressEvent) => void (event.type === 'notice' && told.push(event.message))
    const how = { batch: 1, tokens: 3 * 64, every: 3, rank: 2, onEvent }
    const [{ kl }] = await onAll(2, 'small', how)
    expect(kl.after).toBeLessThan(kl.before)
    expect(told.filter(text => text.startsWith('2 processes share out 1 windows a step'))).toHaveLength(2)
  })

  /** Until so many tokens are healed on, and then ended by a rank. @returns what the root gives, undefined where it was ended, and what it goes on after */
  async function stopped(size: number, output: string, until?: number, by = 0) {
    let after: string | undefined
    const all = await Promise.all(
      inProcess(size).map(async group => {
        let phase = ''
        const onEvent = (event: ProgressEvent) => {
          if (event.type === 'notice') after ??= /^Goes on after (.*),/.exec(event.message)?.[1]
          if (event.type === 'phase') phase = event.phase
          const isDone = event.type === 'progress' && phase === 'heal' && event.done === until
          if (isDone && group.rank === by) throw new Stopped()
        }
        try {
          return await healed(output, group, { onEvent, saveEvery: 0, resume: until !== 256 })
        } catch (error) {
          await group.fail(error)
          return error as Error
        }
      }),
    )
    const wrong = all.find(one => one instanceof Error && !(all[by] instanceof Stopped))
    if (wrong) throw wrong
    const [root] = all
    return { after, result: root instanceof Error ? undefined : root }
  }

  nightly(
    'stopped after each step, it goes on to the same bytes, and on other ranks to the same distance',
    async () => {
      const [whole] = await onAll(2, 'whole')
      for (const [i, tokens] of [256, 512, 768].entries())
        expect(await stopped(2, 'parts', tokens, i % 2)).toEqual({ after: i > 0 ? `step ${i}` : undefined })
      expect((await stopped(2, 'parts')).after).toBe('step 3')
      expect(Buffer.compare(weights('parts'), weights('whole'))).toBe(0)
      const numbers = [
        [1, 3],
        [3, 1],
      ]
      for (const [before, later] of someOf(numbers, ([before]) => before === 3)) {
        await stopped(before, `${before} before`, 256)
        const { after, result } = await stopped(later, `${before} before`)
        expect(after).toBe('step 1')
        expect(result!.step).toBe(whole.step)
        expect(result!.kl.after / whole.kl.after).toBeCloseTo(1, 3)
      }
    },
  )

  test('options that differ are refused', async () => {
    const [one, other] = inProcess(2)
    const both = await Promise.allSettled([healed('x', one), healed('x', other, { lr: 1e-5 })])
    for (const { reason } of both as PromiseRejectedResult[])
      expect(`${reason}`).toContain('rank 1 of 2 has lr 0.00001')
  })
})

test('healing after pruning is what both give one after the other, and nothing is left of what is sent', async () => {
  const SOME = { sparsity: 0.3, method: 'magnitude', calibration: WINDOWS } as const
  const tokens = 2048
  const on = (group: Group) => ({ group, engine: engines[group.rank] })
  const before = await readdir(tmpdir())
  const all = await Promise.all(
    inProcess(2).map(group => prune(DENSE, { ...SOME, ...on(group), output: at('both'), heal: tokens })),
  )
  const sent = (await readdir(tmpdir())).filter(name => name.startsWith('fasp-of-root') && !before.includes(name))
  expect(sent).toEqual([])
  expect(all[1].healed).toEqual(all[0].healed)
  await Promise.all(inProcess(2).map(group => prune(DENSE, { ...SOME, ...on(group), output: at('first') })))
  const how = { dense: DENSE, calibration: WINDOWS, tokens, output: at('then') }
  const [{ curve }] = await Promise.all(inProcess(2).map(group => heal(at('first'), { ...how, ...on(group) })))
  expect(all[0].healed!.curve).toEqual(curve)
  expect(Buffer.compare(weights('both'), weights('then'))).toBe(0)
})
