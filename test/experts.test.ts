// Mixtures of experts: random models against transformers (test/python/make_families.py), and what their configs and tensors may say. What is
// cut of a trained one is compared with PyTorch in test/trained.test.ts.
import { cpSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { memorySource } from '../src/base/bytes.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import { HalfBlockRunner } from '../src/forward/runner.ts'
import { embedWindows } from '../src/forward/stream.ts'
import { readHalf } from '../src/forward/weights.ts'
import { ffnHalves, tensorShapes } from '../src/model/architecture.ts'
import { architectureOf, describeModel } from '../src/model/model.ts'
import { exportModel, exportOnnx, inspect, logits, MemorySink, type Model, prune } from '../src/node.ts'
import { ActivationPool } from '../src/output/activations.ts'
import { openScratch } from '../src/output/scratch.node.ts'
import { prune as pruneEvents } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { expectSame, familyFolder, type Golden, testLogits, VOCABULARY } from './families.ts'
import { TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { randomLlama, writeModel } from './made-models.ts'
import { madeModel } from './model-shapes.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { engineAndFolder, perplexityOf, withModel } from './opened.ts'
import { random } from './random.ts'
import { proves } from './support.ts'
import { asWindows } from './tiny.ts'

const { engine, folder: root } = engineAndFolder()
const FAMILIES = {
  qwen3_moe: { count: 7, active: 3 },
  mixtral: { count: 5, active: 2 },
  olmoe: { count: 6, active: 2 },
} as const

describe.each(Object.entries(FAMILIES))('%s', (name, experts) => {
  const folder = join(root, name)
  let golden: Golden
  beforeAll(async () => {
    golden = await familyFolder(name, folder)
  })

  testLogits(engine, folder, () => golden)

  if (name !== 'olmoe')
    test('is the same where the experts of a layer are one tensor, as transformers 5 holds them', async () => {
      const stacked = join(root, `${name}-stacked`)
      cpSync(folder, stacked, { recursive: true })
      cpSync(fileURLToPath(new URL(`fixtures/families/${name}-stacked`, import.meta.url)), stacked, { recursive: true })
      await withModel(folder, async single =>
        withModel(stacked, async model => {
          const [ours, theirs] = [model.checkpoint.tensors, single.checkpoint.tensors]
          for (const [tensor, shape] of tensorShapes(model.architecture)) {
            expect(await ours.bytes(tensor)).toEqual(await theirs.bytes(tensor))
            const ends = Int32Array.of(0, shape[0] - 1)
            if (shape.length > 1) expect(await ours.rows(tensor, ends)).toEqual(await theirs.rows(tensor, ends))
          }
          expect(await inspect(model)).toMatchObject({ modelType: name, experts, unused: [] })
          expectSame(await logits(model, engine, golden[0]), golden[1])
        }),
      )
    })

  test('is described with its experts, and has no graph in ONNX', async () => {
    await withModel(folder, async model => {
      expect(await inspect(model)).toMatchObject({ modelType: name, experts, unused: [] })
      await expect(exportOnnx(model, new MemorySink(), { engine })).rejects.toThrow(
        `${name} models cannot be written as ONNX`,
      )
    })
  })
})

const windowsOf = ([ids]: Golden) => [0, 1, 2, 3].map(w => Array.from(ids, (id, i) => (id + (w * i) ** 2) % VOCABULARY))

const prunedBy = async (name: string, golden: Golden, method: string, sparsity = 0.3) => {
  const output = join(root, `${name} ${method}`)
  const result = await prune(join(root, name), {
    sparsity,
    calibration: asWindows(windowsOf(golden)),
    dtype: 'F32',
    output,
    method,
    engine,
  })
  return { result, output }
}

describe.each(Object.entries(FAMILIES))('%s, pruned', (name, { count, active }) => {
  let golden: Golden
  beforeAll(async () => {
    golden = await familyFolder(name, join(root, name))
  })

  const at = Object.keys(FAMILIES).indexOf(name)
  /** With each family some methods, and each method with some family. */
  const isOwn = (_: string, i: number) => i % 3 === at
  const ofExperts = ['stock:scope=experts', 'plain:scope=experts', 'plain:scope=experts:repair=none', 'reap']
  test.each(someOf(ofExperts, isOwn))('of whole experts by %s, as many stay in each layer', async method => {
    const { result, output } = await prunedBy(name, golden, method)
    proves('fasp', output)
    const left = result.widths.after[0].experts!
    expect(left).toBeLessThan(count)
    for (const { ffn } of result.layers) {
      expect(ffn!.kept).toHaveLength(left)
      if (method.endsWith('none') || method === 'reap') expect(ffn!.errorAfter).toBeCloseTo(ffn!.errorBefore, 5)
      else expect(ffn!.errorAfter).toBeLessThan(ffn!.errorBefore)
    }
    await withModel(output, async model => {
      expect(await inspect(model)).toMatchObject({ experts: { count: left, active: Math.min(active, left) } })
    })
  })

  const ofNeurons = [
    'stock:multiple=1',
    'plain:multiple=1',
    'paper:layout=stock',
    'paper',
    'osscar:scope=ffn:multiple=1',
    'wanda-sp:scope=ffn:multiple=1',
    'magnitude:scope=ffn:multiple=1',
    'random:scope=ffn:multiple=1',
    'plain:multiple=1:repair=none',
  ]
  test.each(someOf(ofNeurons, isOwn))('of neurons in each expert by %s', async method => {
    const { result, output } = await prunedBy(name, golden, method)
    const { before, after } = result.widths
    expect(after[0].ffn).toBeLessThan(before.ffn)
    for (const { ffn } of result.layers)
      if (/none|wanda|magnitude|random/.test(method)) expect(ffn!.errorAfter).toBeCloseTo(ffn!.errorBefore, 5)
      else expect(ffn!.errorAfter).toBeLessThan(ffn!.errorBefore)
    const stored = /stock|plain/.test(method) ? after[0] : before // which is padded
    await withModel(output, async model => {
      expect(await inspect(model)).toMatchObject({ ffnWidth: stored.ffn, experts: { count, active } })
    })
  })

  const once = NIGHTLY || name === 'mixtral' // what goes alike for each family
  if (once)
    test('errors and losses on held-out windows are those of what is written', async () => {
      const made = asWindows(windowsOf(golden))
      const { windows } = made
      const texts = [{ ...made.texts[0], heldOut: windows.length }]
      const given = { ...made, heldOut: windows, texts }
      const output = join(root, `${name} checked`)
      const { layers, calibration } = await prune(join(root, name), {
        sparsity: 0.3,
        calibration: given,
        dtype: 'F32',
        output,
        method: 'plain:scope=experts',
        engine,
      })
      for (const { ffn } of layers) expect(ffn!.heldOutError! / ffn!.errorAfter).toBeCloseTo(1, 3)
      const perplexities = await withModel(output, async model => {
        const found: number[] = []
        for (const ids of windows) found.push(perplexityOf(await logits(model, engine, ids), [...ids], VOCABULARY))
        return found
      })
      const mean = perplexities.reduce((sum, one) => sum + Math.log(one), 0) / windows.length
      expect(calibration.texts[0].loss!.heldOut.pruned).toBeCloseTo(mean, 4)
    })

  test.each([
    ['best', `method best cannot prune a mixture of experts: layout compact has no place for them`],
    ['best:layout=padded', 'it gives each layer a width of its own'],
    ['plain:scope=experts:layout=padded', 'scope experts is written in layout stock, and layout is padded'],
  ])('not by %s', async (method, problem) => {
    await expect(prunedBy(name, golden, method)).rejects.toThrow(problem)
  })

  if (once)
    test('the same where activations are in a scratch file', async () => {
      const { result } = await prunedBy(name, golden, 'stock:scope=experts:damp=0.02')
      const output = join(root, `${name} spilled`)
      const options = {
        sparsity: 0.3,
        calibration: asWindows(windowsOf(golden)),
        dtype: 'F32',
        method: 'stock:scope=experts:damp=0.02',
      } as const
      const { layers } = await prune(join(root, name), { ...options, output, memory: 0, engine })
      expect(layers).toEqual(result.layers)
    })

  test('without whole layers', async () => {
    const { output } = await prunedBy(name, golden, 'shortgpt')
    await withModel(output, async model =>
      expect(await inspect(model)).toMatchObject({ layers: 2, experts: { count, active } }),
    )
  })
})

describe('as GGUF', () => {
  const sizes = {
    hidden_size: 24,
    intermediate_size: 20,
    moe_intermediate_size: 20,
    num_hidden_layers: 2,
    num_attention_heads: 4,
  }
  const experts = {
    num_experts: 5,
    num_local_experts: 5,
    num_experts_per_tok: 2,
    norm_topk_prob: true,
    tie_word_embeddings: false,
  }
  const make = (model_type: string, changes = {}) =>
    writeModel(
      join(root, `gguf ${model_type}`),
      randomLlama({ ...sizes, ...experts, model_type, ...changes }, 3),
      TINY_LLAMA,
    )
  const written = async (folder: string, dtype = 'F32') => {
    const output = join(root, 'mixture.gguf')
    await exportModel(folder, { output, to: [{ to: 'gguf', dtype }], overwrite: true, engine })
    return output
  }
  const ids = Int32Array.from({ length: 50 }, (_, i) => (i * i * 7) % 1024)
  const logitsOf = (path: string) => withModel(path, model => logits(model, engine, ids))

  test.each([
    ['qwen3_moe', {}],
    ['mixtral', {}],
    ['olmoe', { num_key_value_heads: 4, norm_topk_prob: false }],
  ])('%s is read as it was, and pruned', async (name, changes) => {
    const folder = make(name, changes)
    const file = await written(folder)
    expectSame(await logitsOf(file), await logitsOf(folder))
    const output = join(root, `${name}.pruned.gguf`)
    const calibration = asWindows([1, 2].map(seed => Array.from(ids, id => (id * seed) % 1024)))
    const result = await prune(file, { sparsity: 0.3, calibration, method: 'plain:scope=experts', output, engine })
    await withModel(output, async model => {
      const count = result.widths.after[0].experts
      expect(count).toBeLessThan(5)
      expect(await inspect(model)).toMatchObject({ format: 'gguf', modelType: name, experts: { count, active: 2 } })
    })
  })

  test.each(['Q8_0', 'Q4_K_M'])('in %s widths are filled up to blocks', async dtype => {
    await withModel(await written(make('qwen3_moe'), dtype), async model => {
      expect(await inspect(model)).toMatchObject({ ffnWidth: 32, experts: { count: 5, active: 2 } })
    })
  })

  test.each(['plain:scope=experts', 'stock:scope=experts', 'plain:multiple=1'])(
    'what %s leaves of statistics serves an export',
    async method => {
      const output = join(root, `kept ${method}`)
      const calibration = asWindows([1, 2].map(seed => Array.from(ids, id => (id * seed) % 1024)))
      await prune(make('qwen3_moe'), { sparsity: 0.3, calibration, method, output, keepStatistics: true, engine })
      await withModel(await written(output, 'Q4_0'), async model => {
        expect(await inspect(model)).toMatchObject({ modelType: 'qwen3_moe', unused: [] })
      })
    },
  )

  test('outputs of experts that were repaired have a bit more, as long as the file grows by 3 % at most', async () => {
    const source = make('qwen3_moe', { hidden_size: 64, moe_intermediate_size: 64 })
    const calibration = asWindows([1, 2].map(seed => Array.from(ids, id => (id * seed) % 1024)))
    const typesOf = async (path: string) =>
      withModel(path, async ({ checkpoint: { gguf } }) => {
        const found = [...gguf!.tensors.tensors].filter(([name]) => name.endsWith('_exps.weight'))
        return {
          bytes: statSync(path).size,
          types: Object.fromEntries(found.map(([name, info]) => [name, info.dtype])),
        }
      })
    const of = async (method: string) => {
      const output = join(root, `rounded ${method}`)
      const options = { sparsity: 0.3, calibration, method, output, overwrite: true, engine }
      await prune(source, { ...options, to: [{ to: 'gguf', dtype: 'Q4_0' }] })
      const file = join(output, 'gguf/model.gguf')
      const again = await typesOf(await written(output, 'Q4_0')) // of the folder, later
      const single = `${output}.gguf`
      await prune(source, { ...options, output: single, dtype: 'Q4_0' })
      expect(await typesOf(single)).toEqual(await typesOf(file))
      return [await typesOf(file), again]
    }
    const ffn = ['gate', 'up', 'down'].flatMap(name => [0, 1].map(layer => `blk.${layer}.ffn_${name}_exps.weight`))
    const whole = Object.fromEntries(ffn.map(name => [name, 'Q4_0']))
    const more = { ...whole, 'blk.0.ffn_down_exps.weight': 'Q5_0', 'blk.1.ffn_down_exps.weight': 'Q5_0' }
    const [plain] = await of('reap')
    expect(plain.types).toEqual(whole)
    for (const method of someOf(['plain:scope=experts', 'stock:scope=experts'], (_, i) => i === 0)) {
      const [now, later] = await of(method)
      for (const { types, bytes } of [now, later]) {
        expect(types).toEqual(more)
        expect(bytes).toBeLessThanOrEqual(1.03 * plain.bytes)
      }
    }
  })

  test('what no graph of llama.cpp computes is refused', async () => {
    const why = 'llama.cpp has no architecture for them'
    await expect(written(make('olmoe', { norm_topk_prob: false }))).rejects.toThrow(
      `${why} with fewer KV heads than query heads`,
    )
    await expect(written(make('qwen3_moe', { norm_topk_prob: false }))).rejects.toThrow(
      `${why} where the gates of a token are not divided`,
    )
  })
})

describe('a mixture in memory', () => {
  const config = {
    ...{ model_type: 'mixtral', hidden_size: 16, intermediate_size: 12, num_hidden_layers: 2, vocab_size: 264 },
    ...{
      num_attention_heads: 2,
      num_key_value_heads: 1,
      num_local_experts: 4,
      num_experts_per_tok: 1,
      rms_norm_eps: 1e-5,
    },
  }
  const model = madeModel(config, 5)
  const windows = asWindows([1, 2].map(seed => Array.from(random(96, seed), v => Math.floor(Math.abs(v) * 1e4) % 264)))

  /** Pruned, read back. */
  async function pruned(of: Model, method: string, sparsity: number): Promise<Model> {
    const sink = new MemorySink()
    await finish(
      pruneEvents(prepare(of, { method, sparsity, dtype: 'F32', heldOut: 0 }, { windows }), { engine, sink }),
    )
    const tensors = await openSafetensors(memorySource(sink.files.get('model.safetensors')!, 'made'))
    const written = JSON.parse(new TextDecoder().decode(sink.files.get('config.json')!))
    return describeModel({ ...of.checkpoint, config: written, tensors })
  }
  const rows = (of: Model) => logits(of, engine, windows.windows[0])

  test('of which all experts stay is the same', async () => {
    const all = await pruned(model, 'plain:scope=experts', 0.01)
    for (const name of tensorShapes(model.architecture).keys())
      expect(await all.checkpoint.tensors.float32(name)).toEqual(await model.checkpoint.tensors.float32(name))
  })

  test('is read expert by expert, none while another is read', async () => {
    const { tensors } = model.checkpoint
    const pending = new Set<string>()
    const reads: string[] = []
    const watched =
      <Rest extends unknown[], T>(read: (name: string, ...rest: Rest) => Promise<T>) =>
      async (name: string, ...rest: Rest) => {
        const expert = /layers\.\d+\..*experts\.\d+/.exec(name)?.[0]
        if (!expert) return await read(name, ...rest)
        pending.add(expert)
        expect([...pending]).toEqual([expert])
        if (reads.at(-1) !== expert) reads.push(expert)
        await new Promise(resolve => setTimeout(resolve, 1)) // whoever reads others meanwhile is found
        const found = await read(name, ...rest)
        pending.delete(expert)
        return found
      }
    const [bytes, float32, rows] = [watched(tensors.bytes), watched(tensors.float32), watched(tensors.rows)]
    const given = { ...model, checkpoint: { ...model.checkpoint, tensors: { ...tensors, bytes, float32, rows } } }
    for (const method of ['reap', 'plain:scope=experts', 'stock:scope=experts', 'stock:multiple=1']) {
      reads.length = 0
      await pruned(given, method, 0.3)
      expect(new Set(reads).size, method).toBe(2 * 4)
    }
  })

  test('goes through expert by expert, each read once for all batches in memory', async () => {
    const many = Array.from({ length: 43 }, (_, w) => windows.windows[0].map(id => (id + w ** 2) % 264)) // 3 batches
    const through = async (pool: ActivationPool) => {
      const context = { engine, pool }
      const stream = await embedWindows(context, model, new HalfBlockRunner(engine, 96), many)
      const weights = await readHalf(model, ffnHalves(model.architecture)[0])
      const read: number[] = []
      const counted = (e: number) => {
        read.push(e)
        return weights.experts!.read(e)
      }
      await stream.through({ ...weights, experts: { ...weights.experts!, read: counted } })
      const rows: number[] = []
      await stream.read(async x => void rows.push(...x.data))
      await stream.close()
      return { rows, read: read.length }
    }
    const inMemory = await through(new ActivationPool(Number.POSITIVE_INFINITY))
    const spilled = await through(new ActivationPool(0, () => openScratch(join(root, 'spilled'))))
    expect(inMemory.read).toBe(4)
    expect(spilled.read).toBe(3 * 4)
    expect(inMemory.rows).toEqual(spilled.rows)
  })

  test('loses nothing with experts that no token goes to', async () => {
    // Router rows r, −r, r/2 and −r/4: the largest is always one of the first two.
    const { tensors } = model.checkpoint
    const float32 = async (name: string) => {
      const values = await tensors.float32(name)
      if (!name.endsWith('block_sparse_moe.gate.weight')) return values
      return Float32Array.from(values, (_, i) => [1, -1, 0.5, -0.25][Math.floor(i / 16)] * values[i % 16])
    }
    const idle = {
      ...model,
      checkpoint: {
        ...model.checkpoint,
        tensors: { ...tensors, float32, bytes: async (name: string) => new Uint8Array((await float32(name)).buffer) },
      },
    }
    for (const method of ['reap', 'plain:scope=experts']) {
      const left = await pruned(idle, method, 0.4)
      expect(ffnHalves(left.architecture)[0].experts).toMatchObject({ router: { out: 2 }, active: 1 })
      expectSame(await rows(left), await rows(idle))
    }
  })
})

describe('what a config says of experts', () => {
  const sizes = { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2, vocab_size: 9 }
  const mixtral = { ...sizes, model_type: 'mixtral', num_key_value_heads: 2 }
  const qwen = {
    ...sizes,
    model_type: 'qwen3_moe',
    num_key_value_heads: 2,
    moe_intermediate_size: 6,
    num_experts: 4,
    num_experts_per_tok: 2,
  }
  const of = (config: object) => ffnHalves(architectureOf('made', { ...config }))[0].experts

  test('in fields of transformers 4 and 5, and what it does not say', () => {
    expect(of(mixtral)).toMatchObject({ router: { out: 8 }, active: 2, normalised: true })
    expect(of(qwen)).toMatchObject({ router: { out: 4 }, active: 2, normalised: false })
    const { num_experts, ...newer } = qwen
    expect(of({ ...newer, num_local_experts: num_experts, norm_topk_prob: true })).toMatchObject({
      router: { out: 4 },
      normalised: true,
    })
  })

  test.each([
    [{ ...mixtral, num_experts_per_tok: 9 }, '"num_experts_per_tok" is 9; it must be an integer from 1 to 8'],
    [{ ...mixtral, num_local_experts: 0 }, '"num_local_experts" is 0; it must be an integer from 1 to 1024'],
    [{ ...qwen, decoder_sparse_step: 2 }, '"decoder_sparse_step" is 2; it must be 1'],
    [{ ...qwen, mlp_only_layers: [0] }, '"mlp_only_layers" is [0]; it must be empty'],
  ])('%j is refused', (config, problem) => {
    expect(() => of(config)).toThrow(problem)
  })

  test.each([
    [
      'an expert that is missing',
      (name: string) => !name.includes('experts.2.up_proj'),
      'experts.2.up_proj.weight [6,8] that config.json calls for is missing',
    ],
    [
      'all but the first',
      (name: string) => !/experts\.[1-9]/.test(name),
      'experts.1.gate_proj.weight [6,8] that config.json calls for is missing',
    ],
  ])('%s', (_, stays, problem) => {
    const { checkpoint } = madeModel(qwen, 1)
    const tensors = new Map([...checkpoint.tensors.tensors].filter(([name]) => stays(name)))
    expect(() => describeModel({ ...checkpoint, tensors: { ...checkpoint.tensors, tensors } })).toThrow(problem)
  })

  test('experts of another number than the router has are refused', () => {
    const { checkpoint } = madeModel(qwen, 1)
    const say = (num_experts: number) => () => describeModel({ ...checkpoint, config: { ...qwen, num_experts } })
    expect(say(3)).toThrow('mlp.gate.weight has shape [4,8]; config.json calls for [3,8]')
    expect(say(5)).toThrow('mlp.gate.weight has shape [4,8]; config.json calls for [5,8]')
    expect(say(1000)).toThrow('calls for 1000 layers, or experts in layers, but there are')
  })
})
