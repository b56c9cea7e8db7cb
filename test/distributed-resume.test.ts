// `--resume` of several processes: ranks in one process that are stopped between layers, by whichever of them, go on to the same bytes, and in
// another number to the same columns.
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  openEngine,
  type ProgressEvent,
  type PrunePathOptions,
  type PrunePathResult,
  prune,
  type Windows,
} from '../src/node.ts'
import { ALONE } from '../src/ranks/group.ts'
import { familyFolder } from './families.ts'
import { snapshot, workplaces } from './fasp.ts'
import { inProcess } from './in-process-ranks.ts'
import { nightly, someOf } from './nightly.ts'
import { asWindows, TINY_OPT, tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const engines = Array.from({ length: 4 }, () => openEngine({ threads: 1 }))
afterAll(() => Promise.all(engines.map(engine => engine.close())))

const contents = async (output: string) => (await snapshot(output)).map(line => line.slice(output.length))
const states = (folder: string) => readdirSync(folder).filter(name => name.endsWith('.partial'))

/** Milliseconds of tests that wait for the disk some hundred times. */
const SYNCED = 240_000

class Stopped extends Error {}

const DENSE = tinyOf2Layers()

interface How {
  /** Whether one rank ends with an error, and with it all, after so many layers or steps of a phase. @default none does */
  readonly until?: (at: string) => boolean
  /** The rank that does. */
  readonly by?: number
  readonly resume?: boolean
  /** Whether it goes on from a state of another number of ranks, which is told. */
  readonly otherwise?: boolean
}

/** Prunes with so many ranks; one is a process without a group. @returns the root's result, undefined where it was stopped */
async function pruned(
  model: string,
  ranks: number,
  options: PrunePathOptions,
  { until = () => false, by = 0, resume = false, otherwise = false }: How = {},
): Promise<PrunePathResult | undefined> {
  const told: string[] = []
  const one = (ranks > 1 ? inProcess(ranks) : [ALONE]).map(async group => {
    let phase = ''
    const onEvent = (event: ProgressEvent) => {
      if (event.type === 'notice' && group.rank === 0) told.push(event.message)
      if (event.type === 'phase') phase = event.phase
      if (event.type === 'progress' && group.rank === by && until(`${phase} ${event.done}`)) throw new Stopped()
    }
    try {
      return await prune(model, { ...options, engine: engines[group.rank], saveEvery: 0, onEvent, group, resume })
    } catch (error) {
      await group.fail(error)
      return error as Error
    }
  })
  const all = await Promise.all(one)
  const wrong = all.find(one => one instanceof Error && !(all[by] instanceof Stopped))
  if (wrong) throw wrong
  if (resume) expect(told).toContainEqual(expect.stringMatching('^Goes on after'))
  expect(told.filter(one => /processes is \d, there \d/.test(one))).toHaveLength(otherwise ? 1 : 0)
  if (all[by] instanceof Stopped) return undefined
  return all[0] as PrunePathResult
}

const made = (windows: number): Windows => {
  const row = (w: number) => Array.from({ length: 32 }, (_, i) => (7 * w + 5 * i + (i % 3) * w) % 64)
  const { texts, ...all } = asWindows(Array.from({ length: windows + 2 }, (_, w) => row(w)))
  return {
    ...all,
    windows: all.windows.slice(2),
    heldOut: all.windows.slice(0, 2),
    texts: [{ ...texts[0], used: windows, heldOut: 2 }],
  }
}

const asked = { sparsity: 0.3, seqLen: 32 } as const

const CASES: [string, string, number, Partial<PrunePathOptions>][] = [
  ['best', DENSE, 2, { method: 'best' }],
  ['experts', 'qwen3_moe', 2, {}],
  ['experts that go', 'mixtral', 3, { method: 'stock:scope=experts' }],
  ['stock, activations on the disk', TINY_OPT, 2, { method: 'stock', memory: 0 }],
  ['best, halves beside each other, ranks without windows', 'gpt_neox', 4, { method: 'best', calibration: made(2) }],
]
test.for(someOf(CASES, ([title]) => /^best$|that go$/.test(title)))(
  '%s, stopped at each layer',
  { timeout: SYNCED },
  async ([, name, ranks, more]) => {
    const folder = await workplace()
    const model = name.includes('/') ? name : join(folder, 'model')
    if (model !== name) await familyFolder(name, model)
    const options = (output: string) => ({ ...asked, calibration: made(7), ...more, output: join(folder, output) })
    await pruned(model, ranks, options('whole'))
    const one = options('one')
    const seen = new Set<string>()
    const until = (at: string) => !seen.has(at) && seen.add(at) !== undefined
    for (let i = 0; !existsSync(one.output); i++)
      await pruned(model, ranks, one, { until, by: i % ranks, resume: i > 0 })
    expect([...seen]).toEqual(expect.arrayContaining(['prune 1']))
    expect(await contents(one.output)).toEqual(await contents(options('whole').output))
    expect(states(folder)).toEqual([])
  },
)

describe('another number of ranks', () => {
  const options = { ...asked, method: 'best', calibration: made(7) }
  let alone: PrunePathResult
  beforeAll(async () => {
    alone = (await pruned(DENSE, 1, { ...options, output: join(await workplace(), 'alone') }))!
  })
  const ranks = [
    [1, 3],
    [3, 1],
    [2, 4],
  ]
  test.each(someOf(ranks, ([before]) => before < 3))('%d, then %d', { timeout: SYNCED }, async (before, after) => {
    const folder = await workplace()
    const one = { ...options, output: join(folder, 'one') }
    for (const [place, ranks, resume] of [
      ['allocate 1', before, false],
      ['prune 1', after, true],
      ['prune 2', before, true],
    ] as const) {
      const until = (at: string) => at === place
      expect(
        await pruned(DENSE, ranks, one, { until, by: ranks - 1, resume, otherwise: resume }),
        place,
      ).toBeUndefined()
    }
    const other = pruned(DENSE, after, { ...one, sparsity: 0.4 }, { resume: true })
    await expect(other).rejects.toThrow('holds the state of another run: sparsity is 0.4, there 0.3')
    const { layers } = (await pruned(DENSE, after, one, { resume: true, otherwise: true }))!
    expect(states(folder)).toEqual([])
    // But for near ties: sums are rounded elsewhere.
    for (const [layer, halves] of layers.entries())
      for (const half of ['attention', 'ffn'] as const) {
        const [ours, theirs] = [halves[half]!.kept, alone.layers[layer][half]!.kept]
        expect(ours.length).toBe(theirs.length)
        const same = ours.filter(column => theirs.includes(column)).length
        expect(same / ours.length, `${half} ${layer}`).toBeGreaterThan(0.97)
      }
  })
})

nightly('healing goes on, too', { timeout: SYNCED }, async () => {
  const folder = await workplace()
  const options = (output: string) => ({
    ...{ ...asked, method: 'magnitude', calibration: made(4), heal: { tokens: 256 } },
    output: join(folder, output, 'out'), // its name is in the card
  })
  await pruned(DENSE, 2, options('whole'))
  const one = options('one')
  for (const place of ['prune 1', 'heal']) {
    const until = (at: string) => at.startsWith(place)
    expect(await pruned(DENSE, 2, one, { until, resume: place !== 'prune 1' }), place).toBeUndefined()
  }
  await pruned(DENSE, 2, one, { resume: true })
  expect(await contents(one.output)).toEqual(await contents(options('whole').output))
})
