// `windowsWithin` and `--budget`: calibration windows by the time that there is.
import { describe, expect, test } from 'vitest'
import { total } from '../src/base/clock.ts'
import { describeModel } from '../src/model/model.ts'
import { openCheckpoint, windowsWithin } from '../src/node.ts'
import { headFlops, passFlops } from '../src/prune/flops.ts'
import { expectation, type Trial } from '../src/verbs/budget.node.ts'
import { fasp, refused, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'
import { nightly } from './nightly.ts'

/** Some 20,000 tokens of tiny-llama. */
const LONG = TEXT.repeat(4)
const PROSE = 'text.txt'

const workplace = workplaces()

describe('what the first layers take holds for all', () => {
  // A machine that makes so many FLOPs a second, and needs a second for each layer besides.
  const RATE = 1e9
  const SEQ_LEN = 128
  test.each([
    ['uniform', 0],
    ['sensitivity', 3],
  ] as const)('%s, %i windows held out', async (allocate, heldOut) => {
    await using checkpoint = await openCheckpoint(TINY_LLAMA)
    const { architecture: a } = describeModel(checkpoint)
    const layers = a.halves.length / 2
    const { gram, ...pass } = passFlops(a, SEQ_LEN, SEQ_LEN)
    const window = (2 * total(pass) + gram) / layers / RATE // in a layer
    const losses = (2 * headFlops(a, heldOut * SEQ_LEN)) / RATE
    const probeTokens = 256
    const probe = (of: number) =>
      (2 * of * ((of / 2) * (probeTokens / SEQ_LEN) * (total(pass) / layers) + headFlops(a, probeTokens))) / RATE
    const allocation = (of: number) => (allocate === 'sensitivity' ? 0.5 * of + probe(of) : 0)
    const took = (windows: number, of: number): Trial => ({
      windows,
      seconds: of * (1 + windows * window) + losses + allocation(of),
      allocation: allocation(of),
    })
    const expected = expectation(a, { seqLen: SEQ_LEN, heldOut, probeTokens, allocate }, [took(4, 2), took(20, 2)])
    expect(expected.window).toBeCloseTo(layers * window, 9)
    expect(expected.fixed).toBeCloseTo(took(0, layers).seconds, 6)
  })
})

test('few windows that other work made slow leave those after them no cheaper than all were', async () => {
  await using checkpoint = await openCheckpoint(TINY_LLAMA)
  const { architecture: a } = describeModel(checkpoint)
  const options = { seqLen: 128, heldOut: 2, probeTokens: 256, allocate: 'uniform' } as const
  const { fixed, window } = expectation(a, options, [
    { windows: 4, seconds: 3 },
    { windows: 20, seconds: 2 },
  ])
  expect(window).toBeCloseTo(((a.halves.length / 2) * (2 / 20)) / 2, 9) // two layers were tried
  expect(fixed).toBeGreaterThan(0)
})

test('more time, more windows: from as many as make 4,096 tokens to what makes half a million', async () => {
  const options = {
    sparsity: 0.3,
    method: 'plain',
    calibration: [{ name: 'prose', text: async () => LONG }],
    seqLen: 64,
  }
  const [short, long] = [
    await windowsWithin(TINY_LLAMA, { ...options, seconds: 1 }),
    await windowsWithin(TINY_LLAMA, { ...options, seconds: 1e8 }),
  ]
  expect(short.windows).toBeGreaterThanOrEqual(4096 / 64)
  expect(long.windows).toBe(2 ** 19 / 64)
  expect(long.seconds).toBeGreaterThan(short.seconds)
})

nightly('fasp prune --budget says how many, and prunes on them', async () => {
  const folder = await workplace({ [PROSE]: LONG })
  const args = [
    'prune',
    TINY_LLAMA,
    '-s',
    '0.3',
    '--method',
    'best',
    '--calibration',
    PROSE,
    '--seq-len',
    '64',
    '-o',
    'out',
  ]
  const { code, stdout, stderr } = await fasp([...args, '--budget', '2s', '--json'], { folder })
  expect(code, stderr).toBe(0)
  const [, said] = /(\d+) calibration windows \(--windows \1\): about /.exec(stderr)!
  expect(JSON.parse(stdout).options.windows).toBe(Number(said))
})

describe('refused', () => {
  const BASE = ['prune', TINY_LLAMA, '-s', '0.3', '--budget', '10m', '-o', 'out']
  test.for<[string[], string]>([
    [['--windows', '8'], 'budget chooses how many windows one run takes. Leave out budget, or windows.'],
    [['--recipe', 'fasp.json'], 'Leave out budget, or recipe.'],
    [['--dry-run'], 'budget tries two layers, and dry-run reads no weights. Leave one of them out.'],
    [['--resume'], 'budget is of a run that begins. One goes on with as many windows as it began with: give them.'],
    [[], 'budget chooses how much of texts is read. Give them: calibration, without self.'],
    [['--calibration', PROSE, '--method', 'shortgpt'], 'method shortgpt removes layers. Give windows.'],
  ])('%j', async ([args, says]) => refused(await workplace(), [...BASE, ...args], { code: 2, says: ['fasp: ', says] }))
  test('no time', async () =>
    refused(await workplace(), [...BASE.slice(0, -4), '--budget', '0s', '-o', 'out', '--calibration', PROSE], {
      code: 2,
      says: ['budget is 0; it must be a number from 1 to'],
    }))
  test('no unit of time', async () =>
    refused(await workplace(), [...BASE.slice(0, -4), '--budget', '10kB', '-o', 'out'], {
      code: 2,
      says: ['--budget is "10kB"; it must be a number, with or without s, m, h.'],
    }))
})
