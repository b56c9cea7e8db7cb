// The counts of plans.ts against runs on tiny models, and against the figures that the docs reckon with.

import { afterAll, expect, test } from 'vitest'
import { TINY_MODELS, type TinyModel } from '../../test/tiny.ts'
import { SEQ_LEN, tinyRun, windowsOf } from '../../test/tiny-run.ts'
import type { Feeds } from '../engine/graph-runtime.ts'
import type { Linalg } from '../engine/linalg.ts'
import { GraphSum } from '../engine/syrk.ts'
import type { Group } from '../group/group.ts'
import { inProcess } from '../group/in-process.ts'
import { architectureOf } from '../model/model.ts'
import { type Engine, openEngine, planPrune } from '../node.ts'
import { resolveOptions } from '../options.ts'
import { hostOf } from '../values.ts'
import { rankPlans, secondsOf, upperLength } from './plans.ts'

const engines = Array.from({ length: 4 }, () => openEngine({ threads: 1 }))
afterAll(() => Promise.all(engines.map(engine => engine.close())))

/** A group that says how many bytes of this rank sums have taken, and decisions and what is gathered, with their heads. */
function watched(group: Group) {
  const bytes = { sums: 0, told: 0 }
  let [heads, depth] = [0, 0]
  const counted =
    (kind: keyof typeof bytes, call: (...args: never[]) => Promise<unknown>) =>
    async (...args: unknown[]) => {
      const before = group.bytes
      depth++
      const value = await call.apply(group, args as never[])
      depth--
      if (depth === 0) bytes[kind] += group.bytes - before // solves over the ranks are in a decision
      if (kind === 'told' && group.bytes > before) heads++
      return value
    }
  const own = {
    sum: counted('sums', group.sum),
    sumAtRoot: counted('sums', group.sumAtRoot),
    decide: counted('told', group.decide as never),
    gather: counted('told', group.gather as never),
  }
  const proxy = new Proxy(group, {
    get(_, key: keyof Group) {
      if (key in own) return own[key as keyof typeof own]
      const value = group[key]
      return typeof value === 'function' ? (value as () => unknown).bind(group) : value
    },
  })
  return { group: proxy, bytes, heads: () => heads }
}

/** Products in a graph of a half-block, of a router, of the gap, or of logits, by what it is fed. */
function graphFlops(key: string, feeds: Feeds): number {
  if (key.startsWith('gap')) return 2 * feeds.h!.shape[0] * feeds.h!.shape[1] * feeds.x!.shape[1]
  const [tokens] = feeds.x?.shape ?? [0]
  const attention = /^(forward )?attention/.test(key) ? 2 * SEQ_LEN * feeds['in0.weight']!.shape[0] : 0
  return Object.entries(feeds).reduce(
    (sum, [name, of]) =>
      /^(\w+\.weight|head)$/.test(name) && of?.shape.length === 2 ? sum + 2 * tokens * of.shape[0] * of.shape[1] : sum,
    tokens * attention,
  )
}

/** An engine that counts what it multiplies and solves, as plans.ts counts it: of windows in graphs and what goes with them, and outside. */
function counting(engine: Engine) {
  const flops = { float32: 0, float64: 0 }
  const windows = { float32: 0, float64: 0 }
  const ofWindows: Engine['run'] = (key, build, feeds, outputs) => {
    windows.float32 += graphFlops(key, feeds)
    return engine.run(key, build, feeds, outputs)
  }
  const counts: Engine = {
    ...engine,
    ...{ run: ofWindows, linalg: countingLinalg(engine.linalg, flops) },
    inPrecision: () => ({ ...engine, run: ofWindows, linalg: countingLinalg(engine.linalg, windows) }),
  }
  return { engine: counts, flops, windows }
}

function countingLinalg(linalg: Linalg, flops: { float32: number; float64: number }): Linalg {
  return {
    ...linalg,
    gemm(a, b, c, options) {
      const k = options?.transA ? a.rows : a.columns
      flops[c.data instanceof Float64Array ? 'float64' : 'float32'] += 2 * c.rows * c.columns * k
      return linalg.gemm(a, b, c, options)
    },
    multiply(a, b, columns) {
      flops.float32 += 2 * a.length * columns
      return linalg.multiply(a, b, columns)
    },
    syrk(n, kind) {
      const sum = linalg.syrk(n, kind)
      return {
        ...{ parts: () => sum.parts(), whole: () => sum.whole(), inner: of => sum.inner(of) },
        async add(h) {
          flops.float32 += n * (await hostOf(h)).length
          return sum.add(h)
        },
      }
    },
    async factor(n, read) {
      flops.float64 += n ** 3 / 3
      const factor = await linalg.factor(n, read)
      return (
        factor && {
          ...factor,
          solve(b) {
            flops.float64 += 2 * n ** 2 * b.columns
            return factor.solve(b)
          },
          invert() {
            flops.float64 += (2 * n ** 3) / 3
            return factor.invert()
          },
        }
      )
    },
  }
}

type Run = [name: TinyModel | 'tiny-mixture', method: string, ranks: number, windows?: number, outputs?: number]

/** Of each rank what it was seen to do, and what it was planned to. */
async function seenAndPlanned(...[name, method, ranks, used = 5, outputs]: Run) {
  const windows = windowsOf(name === 'tiny-mixture' ? 'tiny-llama' : name, used, 0)
  const all = inProcess(ranks, { chunk: 4096, outputs }).map((group, i) => ({
    ...watched(group),
    ...counting(engines[i]),
  }))
  const runs = await Promise.all(
    all.map(({ group, engine }) => tinyRun(name, { method, heldOut: 0 }, windows, engine, group)),
  )
  const [{ model, result, options, tensors }] = runs
  const { widths, layers } = result
  const plans = rankPlans(
    model.architecture,
    { widths, tensors, layers: { before: layers.length, after: [...layers.keys()] } },
    options,
    ranks,
    { chunk: 4096, outputs },
  )
  return all.map((seen, rank) => ({ ...seen, plan: plans[rank] }))
}

const relative = (found: number, planned: number) => (found - planned) / (planned || 1)

const RUNS: readonly Run[] = [
  ...(['tiny-llama', 'tiny-opt'] as const).flatMap((name): Run[] => [
    [name, 'plain:scope=ffn+ragged', 4],
    [name, 'stock', 3],
    [name, 'best', 2],
    [name, 'flap', 3],
    [name, 'sleb', 2],
  ]),
  ['tiny-mixture', 'stock', 3],
  ['tiny-mixture', 'stock:scope=experts', 2],
  ['tiny-mixture', 'plain:scope=experts', 4],
  ['tiny-mixture', 'paper:layout=stock', 2],
  ['tiny-mixture', 'reap', 3],
  ['tiny-mixture', 'shortgpt', 3],
]

/** With solves over the ranks. */
const SHARED: readonly Run[] = [
  ['tiny-llama', 'best', 2, 5, 32],
  ['tiny-opt', 'paper', 3, 5, 32],
  ['tiny-opt', 'plain', 3, 5, 32],
  ['tiny-mixture', 'stock', 2, 5, 32],
]

test.each([...RUNS, ...SHARED])(
  'runs of %s by %s on %i ranks send, multiply and solve what the plan says',
  async (...run) => {
    const all = await seenAndPlanned(...run)
    const totals = [all.map(({ flops }) => flops.float64), all.map(({ plan }) => plan.rootFlops.float64)]
    const [found, planned] = totals.map(flops => flops.reduce((sum, one) => sum + one, 0))
    expect(relative(found, planned)).toBeCloseTo(0, 9)
    for (const [rank, { bytes, heads, flops, plan }] of all.entries()) {
      const { sent, received } = plan.bytes
      // Which rows go is not known before: of those that are with each, the plan has as many.
      const [, method, , , outputs] = run
      expect(relative(flops.float64, plan.rootFlops.float64)).toBeCloseTo(0, outputs && method === 'best' ? 2 : 9)
      if (rank === 0) expect(flops.float32).toBe(plan.rootFlops.float32)
      if (rank === 0) expect(received).toBeGreaterThanOrEqual(bytes.sums)
      const arrays = sent - bytes.sums
      expect(bytes.told).toBeGreaterThanOrEqual(arrays)
      expect(bytes.told - arrays).toBeLessThanOrEqual(4096 * heads())
    }
  },
)

/** Where all half-blocks that are cut are mixtures of whole experts, or none is. Whichever experts tokens go to, they are as many. */
test.each([
  ['tiny-mixture', 'plain:scope=experts', 3, 2],
  ['tiny-mixture', 'reap', 2, 5],
  ['tiny-mixture', 'shortgpt', 3, 5],
  ['tiny-mixture', 'sleb', 2, 5],
  ['tiny-llama', 'sleb', 3, 5],
] as const)('windows of %s by %s on %i ranks multiply what the plan says', async (name, method, ranks, used) => {
  for (const { windows, plan } of await seenAndPlanned(name, method, ranks, used))
    expect(windows.float32).toBe(plan.windowFlops)
})

test.each([1, 192, 193, 1000, 2500])('a Gram matrix of %i columns is added up in so many elements', async n => {
  const run = async () => {}
  expect(upperLength(n)).toBe((await new GraphSum(n, 'gram', run).parts())[0].length)
})

/** Llamas, and what was reckoned for them by hand where 40 % of the FFN go: GB of G, minutes of its exchange, thousands of tokens. */
const MODELS = [
  { name: '7B', d: 4096, f: 11008, layers: 32, heads: 32, kv: 32, gram: 0.24, minutes: 0.2, column: 3, eliminate: 6 },
  { name: '30B', d: 6656, f: 17920, layers: 60, heads: 52, kv: 52, gram: 0.64, minutes: 1.2, column: 5, eliminate: 10 },
  { name: '70B', d: 8192, f: 28672, layers: 80, heads: 64, kv: 8, gram: 1.64, minutes: 4, column: 9, eliminate: 21 },
  {
    name: '405B',
    d: 16384,
    f: 53248,
    layers: 126,
    heads: 128,
    kv: 8,
    gram: 5.67,
    minutes: 22,
    column: 18,
    eliminate: 38,
  },
]

test.each(MODELS)('$name by hand', ({ name, d, f, layers, heads, kv, ...known }) => {
  const a = architectureOf(name, {
    ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: 128256, max_position_embeddings: 4096 },
    ...{
      hidden_size: d,
      intermediate_size: f,
      num_hidden_layers: layers,
      num_attention_heads: heads,
      num_key_value_heads: kv,
    },
  })
  expect(Math.abs((4 * upperLength(f)) / 1e9 / known.gram - 1)).toBeLessThan(0.05)
  const full = { ffn: f, value: d / heads, kvHeads: kv }
  const widths = { before: full, after: new Array(layers).fill({ ffn: Math.round(0.6 * f), value: d / heads }) }
  const tensors = [{ name: 'model.layers.0.self_attn.o_proj.weight', shape: [d, d], dtype: 'BF16' }] as const
  const plan = { widths, tensors, layers: { before: layers, after: widths.after.map((_, i) => i) } }
  const of = (method: string, windows: number, ranks: number) => {
    const texts = [{ name: 'text', text: async () => '' }]
    const options = resolveOptions({ sparsity: 0.3, method, windows, seqLen: 2048, heldOut: 0 }, a, { texts })
    return rankPlans(a, plan, options, ranks, { outputs: Number.POSITIVE_INFINITY }) // solves over the ranks came later
  }
  // G alone goes twice; less than a tenth is windows, sums of H, and this rank's own slice.
  const { received } = of('plain:scope=ffn', 64, 64)[0].bytes
  expect(Math.abs(received / 1.1e9 / 60 - known.minutes)).toBeLessThan(0.1 * known.minutes + 0.05)
  const rates = { float32: 1, float64: 0.5, network: Number.POSITIVE_INFINITY }
  for (const [method, thousands] of [
    ['plain:scope=ffn', known.column],
    ['stock:repair=dense', known.eliminate],
  ] as const) {
    const { root, windows } = secondsOf(of(method, 1, 1), rates)
    expect(root / (windows / 2048) / 1000 / thousands, method).toBeGreaterThan(2 / 3)
    expect(root / (windows / 2048) / 1000 / thousands, method).toBeLessThan(3 / 2)
  }
})

test('solves that go over the ranks spare the root, and one process nothing', () => {
  const { d, f, layers, heads } = MODELS[2]
  const a = architectureOf('70B', {
    ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: 128256, max_position_embeddings: 4096 },
    ...{ hidden_size: d, intermediate_size: f, num_hidden_layers: layers, num_attention_heads: heads },
  })
  const kept = Math.round(0.7 * f)
  const tensors = [{ name: 'model.layers.0.self_attn.o_proj.weight', shape: [d, d], dtype: 'BF16' }] as const
  const full = { ffn: f, value: d / heads, kvHeads: heads }
  const widths = { before: full, after: new Array(layers).fill({ ffn: kept, value: d / heads }) }
  const plan = { widths, tensors, layers: { before: layers, after: widths.after.map((_, i) => i) } }
  const texts = [{ name: 'text', text: async () => '' }]
  const options = resolveOptions({ sparsity: 0.3, method: 'paper:scope=ffn', windows: 32, seqLen: 512 }, a, { texts })
  const rates = { float32: 2e12, float64: 1e12, network: 1.1e9 }
  const of = (ranks: number, outputs?: number) => rankPlans(a, plan, options, ranks, { outputs })
  const [alone, shared] = [Number.POSITIVE_INFINITY, undefined].map(outputs => secondsOf(of(8, outputs), rates))
  const solve = 2 * kept ** 2 * d
  expect((alone.root - shared.root) / ((layers * solve * 7) / 8 / 1e12)).toBeCloseTo(1, 9)
  expect(shared.alone).toBeCloseTo(alone.alone, 3)
  expect(shared.all).toBeLessThan(alone.all)
  const spared = of(8).map(({ sparedFlops }) => sparedFlops / layers)
  expect(spared).toEqual([0, ...new Array(7).fill(solve / 8)])
  expect(of(1)).toEqual(of(1, Number.POSITIVE_INFINITY))
})

test('a plan for several processes says what each has of it', async () => {
  const options = { sparsity: 0.3, method: 'best', windows: 10, calibration: ['text.txt'] }
  const { ranks, memoryBytes } = await planPrune(TINY_MODELS['tiny-llama'], { ...options, ranks: 4 })
  expect(ranks!.map(({ windows }) => windows)).toEqual([2, 3, 2, 3])
  for (const [rank, { rootFlops, memoryBytes: own }] of ranks!.entries()) {
    expect(own).toBeLessThan(rank === 0 ? memoryBytes : ranks![0].memoryBytes)
    expect(rootFlops.float64 > 0).toBe(rank === 0)
  }
  expect((await planPrune(TINY_MODELS['tiny-llama'], options)).ranks).toBeUndefined()
  const removing = await planPrune(TINY_MODELS['tiny-llama'], { ...options, method: 'sleb', ranks: 2 })
  expect(removing.ranks!.map(({ rootFlops }) => rootFlops.float64)).toEqual([0, 0])
})
