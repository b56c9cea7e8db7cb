// The methods beside FASP, against a second statement of them in PyTorch (test/fixtures/methods/make.py), on the tiny models.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type DenseStatistics, denseStatistics } from '../src/method/statistics/dense.ts'
import { attentionHalves } from '../src/model/architecture.ts'
import {
  type Allocate,
  type Checkpoint,
  describeModel,
  METHOD_NAMES,
  MemorySink,
  type Method,
  type MethodName,
  magnitude,
  openCheckpoint,
  type ProgressEvent,
  type PruneResult,
  plain,
  prune,
  type Score,
} from '../src/node.ts'
import { ActivationPool } from '../src/output/activations.ts'
import { prune as pruneRun } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { perplexity } from './evaluation.ts'
import { TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { expectNear, expectSameUpToTies, TOLERANCE } from './near.ts'
import { someOf } from './nightly.ts'
import { engineAndFolder } from './opened.ts'
import { asWindows, goldenOf, TINY_MODELS, type TinyModel, tinyOf2Layers } from './tiny.ts'

type Kept = Readonly<Partial<Record<'attention' | 'ffn', readonly number[]>>>

interface OracleCase {
  readonly model: TinyModel
  readonly method: MethodName
  readonly sparsity: number
  readonly options: { readonly scope?: 'ffn'; readonly seed?: number }
  /** Neurons and KV heads that stay, where some go. */
  readonly kept?: readonly Kept[]
  readonly biases?: readonly (readonly [attention: readonly number[] | null, ffn: readonly number[] | null])[]
  readonly removed?: readonly [layer: number, cost: number][]
  readonly perplexity: number
}

const oracle: { calibration: number; evaluation: number; cases: OracleCase[] } = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/methods/oracle.json', import.meta.url)), 'utf8'),
)

const BIAS_TOLERANCE = 1e-4

const { engine, folder } = engineAndFolder()

let count = 0
async function pruned<T>(
  model: string,
  options: Omit<Parameters<typeof prune>[1], 'output'>,
  look: (checkpoint: Checkpoint, result: PruneResult, ffnScores: Float64Array[]) => Promise<T> | T,
): Promise<T> {
  const output = join(folder, String(count++))
  const ffnScores: Float64Array[] = []
  const onEvent = (event: ProgressEvent) => {
    if (event.type === 'selected' && !event.half.includes('attn')) ffnScores.push(event.scores)
  }
  const result = await prune(model, { ...options, engine, output, onEvent })
  const checkpoint = await openCheckpoint(output)
  try {
    return await look(checkpoint, result, ffnScores)
  } finally {
    await checkpoint.close()
  }
}

describe('agrees with the oracle', () => {
  const named = oracle.cases.map(c => [`${c.model}, ${c.method} ${c.sparsity} ${c.options.scope ?? ''}`, c] as const)
  /** A case of each method, in which other methods are the second model's. */
  const STAND = ['magnitude 0.5 ', 'random 0.5 ', 'sleb 0.5 '].map(one => `tiny-llama, ${one}`)
  STAND.push('tiny-llama, wanda-sp 0.5 ', 'tiny-opt, osscar 0.5 ', 'tiny-opt, shortgpt 0.5 ', 'tiny-opt, flap 0.8 ')
  test.each(someOf(named, ([name]) => STAND.includes(name)))(
    '%s',
    async (_, { model, method, sparsity, options, ...expected }) => {
      const golden = goldenOf(model)
      const calibration = asWindows(golden.calibration_windows.slice(0, oracle.calibration))
      const { scope, seed } = options
      const probe = method === 'sleb' ? ':probe-tokens=1000000' : '' // all of the windows
      const named = `${method}${probe}${scope ? `:scope=${scope}` : ''}`
      const settings = { method: named, sparsity, seed, calibration, dtype: 'F32' } as const
      await pruned(TINY_MODELS[model], settings, async (checkpoint, result, scores) => {
        const { architecture } = describeModel(checkpoint)
        const { ffnWidth } = architecture
        const [{ headSize, kvHeads }] = attentionHalves(architecture)
        expect(result.removedLayers?.length).toBe(expected.removed?.length)
        for (const [i, { layer, cost }] of result.removedLayers?.entries() ?? []) {
          expect(layer).toBe(expected.removed![i][0])
          expectNear(cost, expected.removed![i][1], TOLERANCE.perplexity)
        }
        for (const [i, { attention, ffn }] of expected.kept?.entries() ?? []) {
          expect(result.widths.after[i].ffn).toBe(ffn?.length ?? ffnWidth)
          expect(result.widths.after[i].kvHeads ?? kvHeads).toBe(attention?.length ?? kvHeads)
          const rows = (attention ?? []).flatMap(head =>
            Array.from({ length: headSize }, (_, c) => head * headSize + c),
          )
          if (result.layers[i].attention) expect(result.layers[i].attention.kept).toEqual(rows)
          if (result.layers[i].ffn) expectSameUpToTies(result.layers[i].ffn.kept, ffn!, scores[i])
        }
        for (const { output, layer, kind } of architecture.halves) {
          const bias = expected.biases?.[layer][kind === 'ffn' ? 1 : 0]
          if (!bias) continue
          const ours = await checkpoint.tensors.float32(`${output.name}.bias`)
          const size = Math.sqrt(bias.reduce((sum, b) => sum + b * b, 0))
          expect(Math.hypot(...bias.map((b, o) => b - ours[o]))).toBeLessThanOrEqual(BIAS_TOLERANCE * size)
        }
        const held = asWindows(golden.evaluation_windows.slice(0, oracle.evaluation))
        const measured = await finish(perplexity(describeModel(checkpoint), engine, held, 'evaluate'))
        expectNear(measured.perplexity, expected.perplexity, TOLERANCE.perplexity)
      })
    },
  )
})

const WINDOWS = asWindows(
  Array.from({ length: 4 }, (_, w) => Array.from({ length: 64 }, (_, i) => (w * 997 + i * i * 37) % 1024)),
)
const QUICK = { calibration: WINDOWS }
const TWO_LAYERS = tinyOf2Layers()

describe('every method', () => {
  const names = METHOD_NAMES.filter(name => name !== 'reap') // of mixtures: test/experts.test.ts
  test.each(names)('%s: sparsity 0 leaves all tensors as they are', async method => {
    const source = await openCheckpoint(TWO_LAYERS)
    await pruned(TWO_LAYERS, { ...QUICK, method, sparsity: 0 }, async ({ tensors }, result) => {
      expect(result.options.method).toBe(method)
      expect([...tensors.tensors.keys()].sort()).toEqual([...source.tensors.tensors.keys()].sort())
      for (const name of tensors.tensors.keys())
        expect(Buffer.compare(await tensors.bytes(name), await source.tensors.bytes(name))).toBe(0)
    })
    await source.close()
  })

  test.each(names.filter(name => name !== 'plain'))('%s says so in the model card and in fasp.json', async method => {
    const model = ['shortgpt', 'sleb'].includes(method) ? TINY_LLAMA : TWO_LAYERS // of which two layers have to stay
    await pruned(model, { ...QUICK, method, sparsity: 0.5 }, ({ recipe, name }) => {
      expect(recipe).toMatchObject({ options: { method } })
      expect(readFileSync(join(name, 'README.md'), 'utf8')).toContain(`--method ${method}`)
    })
  })
})

describe("functions of the user's", () => {
  const largest: Score = ({ weight, width }) => {
    const scores = new Float64Array(width)
    for (const [i, w] of weight.entries()) scores[i % width] += w ** 2
    return scores.map(Math.sqrt)
  }
  const kept = (method: Method) =>
    pruned(TWO_LAYERS, { ...QUICK, method, sparsity: 0.3 }, ({ recipe }, result) => {
      expect(recipe).toMatchObject({ options: { method: method.text } })
      return { layers: result.layers.map(({ ffn }) => ffn?.kept), options: result.options, widths: result.widths.after }
    })

  test('a score keeps what the same score of ours keeps, and is recorded as custom', async () => {
    const ours = await kept(magnitude({ scope: 'ffn' }))
    const theirs = await kept(plain({ score: largest, repair: 'none', layout: 'padded' }))
    expect(theirs.layers).toEqual(ours.layers)
    expect(theirs.options).toMatchObject({ method: 'plain:score=custom:repair=none:layout=padded', score: 'custom' })
    expect(JSON.stringify(theirs.options)).not.toContain('own')
  })

  test('an allocation gives each layer its widths', async () => {
    const late: Allocate = ({ layers, full }) =>
      Array.from({ length: layers }, (_, i) => ({ ...full, ffn: i < layers / 2 ? full.ffn : full.ffn / 2 }))
    const { widths, options } = await kept(plain({ allocate: late, repair: 'dense', layout: 'compact' }))
    expect(widths.map(({ ffn }) => ffn)).toEqual([384, 192])
    expect(options.allocate).toBe('custom')
    await expect(kept(plain({ allocate: late }))).rejects.toThrow(
      /allocate must return .* \(in layout stock as many in all\)/,
    )
  })

  test('what they must return is checked', async () => {
    await expect(kept(plain({ score: () => new Float64Array(3) }))).rejects.toThrow(
      /Float64Array of 384 finite numbers/,
    )
    await expect(kept(plain({ allocate: () => [] }))).rejects.toThrow(/for each of 2 layers/)
  })
})

test('random goes by the seed alone', async () => {
  const kept = (seed: number) =>
    pruned(TWO_LAYERS, { ...QUICK, method: 'random', sparsity: 0.5, seed }, (_, result) =>
      JSON.stringify(result.layers.map(l => [l.attention?.kept, l.ffn?.kept])),
    )
  const first = await kept(1)
  expect(await kept(1)).toBe(first)
  expect(await kept(2)).not.toBe(first)
})

test('statistics of the dense model may be given, and the result is the same', async () => {
  const checkpoint = await openCheckpoint(TINY_LLAMA)
  const model = describeModel(checkpoint)
  const pool = new ActivationPool(1e9)
  const given = await finish(denseStatistics({ engine, pool }, model, WINDOWS))
  for (const method of ['flap', 'shortgpt'] as const) {
    const run = prepare(model, { method, sparsity: 0.5 }, { windows: WINDOWS })
    const weights = async (denseStatistics?: DenseStatistics) => {
      const sink = new MemorySink()
      await finish(pruneRun(run, { engine, sink, denseStatistics }))
      return sink.files.get('model.safetensors')!
    }
    expect(Buffer.compare(await weights(given), await weights())).toBe(0)
  }
  await checkpoint.close()
})

test('whole layers that go leave a stock model with fewer', async () =>
  pruned(TINY_LLAMA, { ...QUICK, method: 'shortgpt', sparsity: 0.3 }, async (checkpoint, result) => {
    expect(checkpoint.config).toMatchObject({ model_type: 'llama', num_hidden_layers: 4 })
    const { before, after } = result.sizes.decoderLinears
    expect(after / before).toBeCloseTo(4 / 6)
    expect(result.layers.length).toBe(4)
    const source = await openCheckpoint(TINY_LLAMA)
    const gone = result.removedLayers!.map(({ layer }) => layer)
    const left = [0, 1, 2, 3, 4, 5].filter(layer => !gone.includes(layer))
    for (const [to, from] of left.entries()) {
      const name = (layer: number) => `model.layers.${layer}.mlp.down_proj.weight`
      const [ours, theirs] = [await checkpoint.tensors.bytes(name(to)), await source.tensors.bytes(name(from))]
      expect(Buffer.compare(ours, theirs)).toBe(0)
    }
    await source.close()
  }))

test('heads that go take their rows of Q and K along, and the sizes count them', async () =>
  pruned(TINY_LLAMA, { ...QUICK, method: 'magnitude', sparsity: 0.5 }, async (checkpoint, result) => {
    const { before, after } = result.sizes.decoderLinears
    expect(after / before).toBeCloseTo(0.5, 2)
    const model = describeModel(checkpoint)
    let left = 0
    for (const { inputs, output } of model.architecture.halves)
      for (const { name } of [...inputs, output])
        left += (await checkpoint.tensors.float32(`${name}.weight`)).filter(w => w !== 0).length
    expect(left / after).toBeCloseTo(1, 3) // bfloat16 has a few zeros of its own
  }))
