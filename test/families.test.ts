// Families that are a data file each (src/model/families), on random models against transformers (test/python/make_families.py): read with every
// attention that there is, pruned in all layouts, and exported: each scope with some family, nightly with all. Texts are longer than the sliding windows. Any other shape:
// test/compact.test.ts, src/write/onnx/export.test.ts; what we write in transformers itself: test/python.
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { attentionHalves } from '../src/model/architecture.ts'
import { stockConfig } from '../src/model/compact.ts'
import { linearsOf } from '../src/model/half-block.ts'
import { architectureOf } from '../src/model/model.ts'
import {
  exportModel,
  exportOnnx,
  inspect,
  logits,
  MemorySink,
  type PrunePathOptions,
  prune,
  UnsupportedModelError,
} from '../src/node.ts'
import { expectSame, familyFolder, testLogits, VOCABULARY } from './families.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { proves, SCOPES } from './support.ts'
import { asWindows } from './tiny.ts'

const DIVERGENCE = 1e-9

const { engine, folder: root } = engineAndFolder()

const FAMILIES = [
  'llama',
  'opt',
  'mistral',
  'qwen2',
  'qwen3',
  'smollm3',
  'gemma3_text',
  'olmo2',
  'olmo3',
  'exaone4',
  'phi3',
  'phi3-long',
  'granite',
  'granitemoehybrid',
  'granitemoehybrid-nope',
  'ministral3',
  'glm4',
  'gpt_neox',
  'gpt_neox-serial',
]

describe.each(FAMILIES)('%s', name => {
  const wholeNorms = name.startsWith('olmo')
  const hasBiasFields = ['llama', 'opt', 'smollm3', 'granite', 'gpt_neox', 'gpt_neox-serial'].includes(name)
  const flap = wholeNorms ? 'flap:scope=ffn' : 'flap'
  const folder = join(root, name)
  let [ids, expected] = [new Int32Array(), new Float32Array()]
  beforeAll(async () => {
    ;[ids, expected] = await familyFolder(name, folder)
  })
  const config = () => JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'))
  const logitsOf = (path: string) => withModel(path, model => logits(model, engine, ids))

  testLogits(engine, folder, () => [ids, expected])

  const cut = (output: string, options: Omit<PrunePathOptions, 'output'>, source = folder) => {
    const rows = [0, 1, 2, 3].map(w => Array.from(ids, (id, i) => (id + (w * i) ** 2) % VOCABULARY))
    const common = { sparsity: 0.3, calibration: asWindows(rows), dtype: 'F32', output: join(root, output) } as const
    return prune(source, { ...common, ...options })
  }

  const index = FAMILIES.indexOf(name)
  const cuts = [
    ...SCOPES.filter(({ scope }) => !(wholeNorms && scope === 'ffn+heads')),
    ...['plain:scope=ffn+rotate:score=eliminate:repair=aligned:multiple=2', 'best:multiple=2'].map(method => ({
      scope: 'ffn+rotate',
      method,
      layouts: ['padded', 'compact'],
    })),
    {
      scope: wholeNorms ? 'ffn' : 'ffn+heads',
      method: flap,
      layouts: hasBiasFields ? ['padded', 'compact'] : ['compact'],
    },
  ]
  const some = someOf(cuts, (_, i) => i === index % cuts.length)
  test.each(some)('$scope cut by $method, all layouts compute the same, and an export what it should', async given => {
    const { method, layouts } = given
    const found = new Map<string, Float32Array>()
    for (const layout of layouts) {
      const output = `${name} ${method} ${layout}`
      await cut(output, { method: `${method}:layout=${layout}` })
      found.set(layout, await logitsOf(join(root, output)))
      expectSame(found.get(layout)!, found.get(layouts[0])!)
      await withModel(join(root, output), async model => {
        const [{ divergence }] = await exportOnnx(model, new MemorySink(), { engine, dtypes: ['fp32'] })
        expect(divergence).toBeLessThan(DIVERGENCE)
      })
      for (const runtime of ['fasp', 'ONNX Runtime'] as const) proves(runtime, join(root, output))
    }
    expect(found.get(layouts[0])).not.toEqual(expected)
  })

  // Which windows Gemma 3, OLMo 3 and EXAONE 4 have can tell a list alone, or a rule of the numbers of layers, which change.
  const needsList = ['gemma3_text', 'olmo3', 'exaone4'].includes(name)
  const byRule = needsList ? [{ layer_types: undefined, sliding_window_pattern: 2 }] : []
  const slides = needsList || name === 'mistral' || name.startsWith('granitemoehybrid')
  const configs = someOf([{}, ...byRule], () => slides)
  test.each(configs)('a model of fewer layers knows what those that stay see: %j', async changes => {
    const source = join(root, `${name} ${JSON.stringify(changes)}`)
    const whole = { ...config(), ...changes }
    cpSync(folder, source, { recursive: true })
    writeFileSync(join(source, 'config.json'), JSON.stringify(whole))
    const output = `${name} of fewer layers`
    const { removedLayers } = await cut(output, { method: 'sleb', overwrite: true }, source)
    expect(removedLayers).toHaveLength(1)
    const stay = attentionHalves(architectureOf(name, whole)).filter(half => half.layer !== removedLayers![0].layer)
    const written = JSON.parse(readFileSync(join(root, output, 'config.json'), 'utf8'))
    const granite4 = name.startsWith('granitemoehybrid')
    if (granite4) expect(written.layer_types).toEqual(['attention', 'attention']) // as transformers 4 reads it
    // As transformers 5 reads it, and 4, where that needs no list.
    for (const json of needsList || granite4 ? [written] : [written, { ...written, layer_types: undefined }])
      expect(attentionHalves(architectureOf(output, json)).map(half => half.window)).toEqual(stay.map(h => h.window))
  })

  // Of tokens that are all alike each column of H is constant, and its mean in the bias makes up for it, also before a norm. Not with learned
  // positions.
  const sparsities = someOf([0.3, wholeNorms ? 0.58 : 0.9], (_, i) => index % 3 === i)
  if (name !== 'opt')
    test.each(sparsities)('the means of %d leave what all tokens alike give', async sparsity => {
      const output = `${name} of one token ${sparsity}`
      const alike = asWindows([new Array<number>(64).fill(7)])
      const { layers } = await cut(output, { sparsity, method: `${flap}:layout=compact`, calibration: alike })
      const kept = layers.flatMap(({ attention, ffn }) => [attention?.kept.length, ffn?.kept.length])
      const of = (path: string) => withModel(path, model => logits(model, engine, alike.windows[0]))
      expectSame(await of(join(root, output)), await of(folder))
      expect(await logitsOf(join(root, output))).not.toEqual(expected)
      if (sparsity > 0.4) expect(kept.filter(n => n === 1).length).toBeGreaterThan(wholeNorms ? 0 : 1) // all of it went
    })

  if (!hasBiasFields && (NIGHTLY || index % 3 === 0))
    test('biases that the family has no fields for are written in layout compact alone', async () => {
      const output = join(root, `${name} with biases`)
      const { notices, options } = await cut(`${name} with biases`, { method: flap })
      expect(notices.join()).toContain(
        `Method ${flap} writes layout compact: config.json of ${config().model_type} models has no fields for the biases`,
      )
      expect(options).toMatchObject({ method: flap, layout: 'compact', multiple: 1 })
      const written = JSON.parse(readFileSync(join(output, 'config.json'), 'utf8'))
      expect(written).toMatchObject({ model_type: `fasp_${config().model_type}`, added_biases: true })
      await withModel(output, async ({ architecture, checkpoint }) => {
        for (const linear of architecture.halves.flatMap(linearsOf))
          expect(checkpoint.tensors.tensors.get(`${linear.name}.bias`)?.shape, linear.name).toBeDefined()
        expect(stockConfig(architecture, written)).not.toHaveProperty('added_biases')
      })
      await expect(cut('padded', { method: `${flap}:layout=padded` })).rejects.toThrow('Use layout=compact, which has')
      await expect(exportModel(output, { to: [{ to: 'padded' }], output: join(root, `${name} wide`) })).rejects.toThrow(
        `has biases that a stock ${config().model_type} model has no place for`,
      )
      for (const [added_biases, problem] of [
        ['yes', '"added_biases" is "yes"; it must be true or false'],
        [false, 'is no part of a'],
      ] as const) {
        writeFileSync(join(output, 'config.json'), JSON.stringify({ ...written, added_biases }))
        await expect(withModel(output, async () => {})).rejects.toThrow(problem)
      }
    })

  if (wholeNorms)
    test('removing whole heads under a norm over all of them is refused', async () => {
      await expect(cut('heads', { method: 'wanda-sp' })).rejects.toThrow(
        `${name} models have one norm over all of them`,
      )
      const { cuttable } = await inspect(folder)
      const scopes = [...SCOPES.map(({ scope }) => scope), 'vocabulary'].filter(scope => scope !== 'ffn+heads')
      expect(cuttable.map(({ scope }) => scope)).toEqual(scopes)
    })
})

describe('what a config says of windows', () => {
  const sizes = { hidden_size: 8, intermediate_size: 8, num_hidden_layers: 3, num_attention_heads: 2, vocab_size: 9 }
  const windows = (config: object) =>
    attentionHalves(architectureOf('made', { ...sizes, num_key_value_heads: 2, ...config })).map(half => half.window)
  const slides = { model_type: 'qwen2', use_sliding_window: true, sliding_window: 7 }
  test.each<[object, (number | undefined)[]]>([
    [{ model_type: 'mistral' }, [4096, 4096, 4096]],
    [{ model_type: 'mistral', sliding_window: 7 }, [7, 7, 7]],
    [{ model_type: 'mistral', sliding_window: null }, [undefined, undefined, undefined]],
    [{ model_type: 'qwen2', sliding_window: 7, max_window_layers: 0 }, [undefined, undefined, undefined]],
    [slides, [undefined, undefined, undefined]],
    [{ ...slides, max_window_layers: 0 }, [7, 7, 7]],
    [{ ...slides, max_window_layers: 2 }, [undefined, undefined, 7]],
    [{ ...slides, max_window_layers: 0, sliding_window: null }, [undefined, undefined, undefined]],
    [{ ...slides, layer_types: ['sliding_attention', 'full_attention', 'sliding_attention'] }, [7, undefined, 7]],
  ])('%j', (config, expected) => expect(windows(config)).toEqual(expected))

  test.each([
    [
      ['full_attention'],
      '"layer_types" is ["full_attention"]; it must be a list of 3, each full_attention or sliding_',
    ],
    [['full_attention', 'full_attention', 'other'], '"layer_types" is ["full_attention","other"]'],
    ['other', '"layer_types" is "other"'],
  ])('layer_types %j are refused, also where no layer has a window', (layer_types, problem) => {
    for (const config of [
      { ...slides, layer_types },
      { ...slides, layer_types, use_sliding_window: false },
    ]) {
      expect(() => windows(config)).toThrow(UnsupportedModelError)
      expect(() => windows(config)).toThrow(problem)
    }
  })

  test('Gemma 3 in fields of transformers 4 and 5', () => {
    const gemma = { model_type: 'gemma3_text', ...sizes, head_dim: 4, num_key_value_heads: 2, num_hidden_layers: 7 }
    const sliding = [4096, 4096, 4096, 4096, 4096, undefined, 4096]
    const of = (config: object) => attentionHalves(architectureOf('made', { ...gemma, ...config }))
    const thetas = (config: object) => of(config).map(({ rope }) => rope!.theta)
    expect(windows(gemma)).toEqual(sliding)
    expect(windows({ ...gemma, sliding_window_pattern: 2, sliding_window: 8 })).toEqual([
      8,
      undefined,
      8,
      undefined,
      8,
      undefined,
      8,
    ])
    expect(thetas({})).toEqual([1e4, 1e4, 1e4, 1e4, 1e4, 1e6, 1e4])
    const older = { rope_theta: 5e5, rope_local_base_freq: 2e4, rope_scaling: { rope_type: 'linear', factor: 8 } }
    const rope_parameters = {
      full_attention: { rope_type: 'linear', factor: 8, rope_theta: 5e5 },
      sliding_attention: { rope_type: 'default', rope_theta: 2e4 },
    }
    expect(of({ rope_parameters })).toEqual(of(older))
    expect(of(older)[0].rope!.inverseFrequencies[0]).toBe(1)
    expect(of(older)[5].rope!.inverseFrequencies[0]).toBe(1 / 8)
    expect(() => of({ final_logit_softcapping: 30 })).toThrow('"final_logit_softcapping" is 30')
  })

  test('OLMo 3 in fields of transformers 4 and 5', () => {
    const olmo = { model_type: 'olmo3', ...sizes, num_hidden_layers: 4 }
    const of = (config: object) => attentionHalves(architectureOf('made', { ...olmo, ...config }))
    expect(of({}).map(({ window }) => window)).toEqual([4096, 4096, 4096, undefined])
    expect(of({}).map(({ rope }) => rope!.theta)).toEqual([5e5, 5e5, 5e5, 5e5])
    const rope_scaling = { rope_type: 'linear', factor: 8 }
    const rope_parameters = {
      full_attention: { ...rope_scaling, rope_theta: 1e4 },
      sliding_attention: { rope_theta: 1e4 },
    }
    expect(of({ rope_parameters })).toEqual(of({ rope_theta: 1e4, rope_scaling }))
    expect(of({ rope_parameters }).map(({ rope }) => rope!.inverseFrequencies[0])).toEqual([1, 1, 1, 1 / 8])
  })

  test('GPT-NeoX in fields of transformers 4 and 5, or of neither', () => {
    const neox = { model_type: 'gpt_neox', ...sizes, hidden_size: 48 }
    const of = (config: object) => architectureOf('made', { ...neox, ...config }).halves
    const rope_parameters = { rope_type: 'linear', factor: 8, rope_theta: 500, partial_rotary_factor: 0.5 }
    const older = { rotary_emb_base: 500, rotary_pct: 0.5, rope_scaling: { type: 'linear', factor: 8 } }
    expect(of({ rope_parameters })).toEqual(of(older))
    const [attention, ffn] = of({})
    expect(attention).toMatchObject({ parallel: true, headwise: true, rope: { theta: 1e4 }, output: { bias: true } })
    expect(ffn).toMatchObject({
      parallel: true,
      activation: 'gelu',
      norms: { before: { type: 'layer', epsilon: 1e-5 } },
    })
    expect(of({ use_parallel_residual: false })[1].parallel).toBe(false)
    for (const [changes, problem] of [
      [{ use_parallel_residual: 'no' }, '"use_parallel_residual" is "no"; it must be true or false'],
      [{ rotary_pct: 'half' }, '"rotary_pct" is "half"; it must be a number'],
      [{ rotary_pct: 0.3 }, '"partial_rotary_factor" is 0.3; it must be a part of 24 channels that is an even number'],
      [{ hidden_act: 'tanh' }, '"hidden_act" is "tanh"; it must be one of silu'],
    ] as const)
      expect(() => of(changes)).toThrow(problem)
  })

  test('what it does not say is as in transformers', () => {
    for (const [model_type, kvHeads, positions] of [
      ['mistral', 8, 131072],
      ['qwen2', 32, 32768],
      ['qwen3', 32, 32768],
      ['smollm3', 4, 32768],
      ['olmo2', 32, 2048],
      ['olmo3', 32, 2048],
      ['exaone4', 32, 2048],
    ] as const) {
      const config = { ...sizes, model_type, num_attention_heads: 32, hidden_size: 64 }
      const { halves, maxPositions } = architectureOf('made', config)
      expect([halves[0], maxPositions]).toMatchObject([{ kvHeads }, positions])
      expect(architectureOf('made', { ...config, num_key_value_heads: null }).halves[0]).toMatchObject({ kvHeads: 32 })
    }
  })
})
