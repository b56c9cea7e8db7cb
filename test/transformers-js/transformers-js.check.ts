// What we prune and export as ONNX, in transformers.js itself: ids, logits, greedy text, batches and perplexity are ours, in Node, and the
// text in Chromium too. All models are made by the command line. usage: npx vitest run --project transformers.js   (after npm run build)
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { floatSource } from '../../src/checkpoint/float-source.ts'
import { memoryContext } from '../../src/forward/context.ts'
import { attentionHalves, tensorShapes } from '../../src/model/architecture.ts'
import { exportOnnx, loadTokenizer, logits, type Model } from '../../src/node.ts'
import { openFolderSink } from '../../src/output/folder.node.ts'
import { cachedValues } from '../../src/write/onnx/cached-attention.ts'
import { ONNX_DTYPES, ONNX_FORMATS, type OnnxDtype } from '../../src/write/onnx/dtypes.ts'
import { asStored, planOnnxFile } from '../../src/write/onnx/file.ts'
import { type Allowance, agreement } from '../../src/write/verify/agreement.ts'
import { verifyIn } from '../../src/write/verify/runtime.node.ts'
import { TRANSFORMERS_JS } from '../../src/write/verify/transformers-js.node.ts'
import { ALLOWED } from '../../src/write/verify/verify-onnx.ts'
import { generate } from '../evaluation.ts'
import { run, TINY_LLAMA } from '../fasp.ts'
import { randomLlama, readModel, writeModel, YARN } from '../made-models.ts'
import { nightly, someOf } from '../nightly.ts'
import { engineAndFolder, perplexityOf, withModel } from '../opened.ts'
import { random } from '../random.ts'
import { describeShared, sharedPath } from '../shared.ts'
import { proves } from '../support.ts'
import { TINY_MODELS, TINY_NAMES } from '../tiny.ts'
import { openBrowser } from './browser.ts'
import { idsInTransformersJs, inPipeline, inTransformersJs } from './runtime.ts'

const PROMPTS = [
  'Once upon a time there was a little',
  'The old man said that he had never seen such a thing as the',
] as const
const GREEDY_TOKENS = 32

/**
 * Largest difference of a logit, as a part of the largest logit, and of perplexities, as a part of ours; beside what `--verify` allows. Both
 * sides have the same weights. What each operator rounds activations to is the same as in `ALLOWED`.
 */
const TOLERANCES: Readonly<Record<OnnxDtype, Allowance & { readonly logit: number; readonly perplexity: number }>> = {
  fp32: { ...ALLOWED.fp32, logit: 1e-4, perplexity: 1e-5 },
  fp16: { ...ALLOWED.fp16, logit: 0.02, perplexity: 2e-3 },
  q8: { ...ALLOWED.q8, logit: 0.5, perplexity: 0.1 },
  q4: { ...ALLOWED.q4, logit: 0.2, perplexity: 0.05 },
  q4f16: { ...ALLOWED.q4f16, logit: 0.2, perplexity: 0.05 },
}

const { engine, folder: root } = engineAndFolder()

/** Compares one file of an export with our own forward pass over its weights; `source` is the folder that it was made from. */
async function expectAgreement(source: string, folder: string, dtype: OnnxDtype, tokens: number): Promise<void> {
  proves('transformers.js', resolve(root, source))
  await withModel(resolve(root, source), async ({ checkpoint, architecture }) => {
    const ours = inMemory(asStored({ checkpoint, architecture }, planOnnxFile(architecture, ONNX_FORMATS[dtype])))
    const tokenizer = loadTokenizer(checkpoint)
    const prose = readFileSync(sharedPath('data/eval/prose-heldout.txt'), 'utf8').slice(0, 20 * tokens)
    const text = [...tokenizer.encode(prose).subarray(0, tokens)]
    expect(text).toHaveLength(tokens)
    const asked = { folder: join(root, folder), dtype, prompts: PROMPTS, tokens: GREEDY_TOKENS, text }
    const found = await inTransformersJs(asked)
    const { vocabularySize: vocabulary } = architecture
    const ids = PROMPTS.map(prompt => [...tokenizer.encode(prompt)])
    expect(found.ids).toEqual(ids)
    expect(found.cachedValues).toEqual(attentionHalves(architecture).map(cachedValues))

    const rows = await logits(ours, engine, text)
    const { divergence } = agreement(rows, found.logits, [], vocabulary)
    const largest = rows.reduce((most, logit) => Math.max(most, Math.abs(logit)), 0)
    const difference = rows.reduce((most, logit, i) => Math.max(most, Math.abs(logit - found.logits[i])), 0) / largest
    const [a, b] = [found.logits, rows].map(side => perplexityOf(side, text, vocabulary))
    const chosen = await Promise.all(
      [...found.written, ...found.together].map((row, i) => ownChoices(ours, ids[i % 2], row)),
    )
    const same = chosen.map(one => one.same)
    const preference = Math.max(...chosen.map(one => one.preference))
    console.log(
      `${folder} ${dtype} ${JSON.stringify({ divergence, difference, perplexity: [b, a], preference, same })}`,
    )
    const allowed = TOLERANCES[dtype]
    expect(divergence).toBeLessThan(allowed.divergence)
    expect(difference).toBeLessThan(allowed.logit)
    expect(Math.abs(a / b - 1)).toBeLessThan(allowed.perplexity)
    expect(preference).toBeLessThan(allowed.preference)
    if (dtype === 'fp32') {
      expect(found.together).toEqual(found.written)
      expect(found.written[0]).toEqual(await ourTokens(ours))
      expect(found.firstText).toBe(tokenizer.decode(found.written[0]))
    }
  })
}

/** Rounds and reads each tensor once. */
function inMemory({ architecture, checkpoint }: Model): Model {
  const { tensors } = checkpoint
  const read = new Map<string, ReturnType<typeof tensors.float32>>()
  const float32 = (name: string) => {
    if (!read.has(name)) read.set(name, tensors.float32(name))
    return read.get(name)!
  }
  return { architecture, checkpoint: { ...checkpoint, tensors: floatSource(tensorShapes(architecture), float32) } }
}

/** What we write after the first prompt. */
async function ourTokens(model: Model): Promise<number[]> {
  const ids: number[] = []
  const prompt = loadTokenizer(model.checkpoint).encode(PROMPTS[0])
  for await (const id of generate(model, engine, [...prompt], { maxTokens: GREEDY_TOKENS })) ids.push(id)
  return ids
}

/** How many tokens after a prompt are those that we find most likely, and by how much we prefer another where they are not. */
async function ownChoices(model: Model, prompt: readonly number[], written: readonly number[]) {
  const { vocabularySize } = model.architecture
  const rows = await logits(model, engine, [...prompt, ...written])
  return agreement(rows, rows.subarray(0, prompt.length * vocabularySize), written, vocabularySize)
}

/** Names of what `fasp prune` writes, and how. */
const LAYOUTS = {
  stock: 'plain',
  padded: 'plain:scope=ffn+ragged:layout=padded',
  ragged: 'plain:scope=ffn+ragged:layout=compact',
  'per-head': 'plain:scope=ffn+per-head:layout=compact',
  best: 'best',
}
const cut = (name: string, layout: keyof typeof LAYOUTS, tokens: string) => {
  const calibration = [
    '--calibration',
    sharedPath('data/calibration/novels.txt'),
    '--windows',
    '8',
    '--seq-len',
    tokens,
  ]
  return ['-s', '0.3', '-o', `${name}-${layout}`, '--held-out', '0', ...calibration, '--method', LAYOUTS[layout]]
}
/** Small models of every run: each layout, and those that Chromium runs. */
const SMALL = [
  ...['tiny-llama-stock', 'tiny-llama-ragged', 'tiny-llama-best', 'tiny-opt-padded', 'tiny-opt-ragged'],
  'tiny-opt-per-head',
]
const OTHERS = ONNX_DTYPES.filter(dtype => dtype !== 'fp32' && dtype !== 'q8')

describeShared('small models', () => {
  describe.each(TINY_NAMES)('%s', name => {
    const layouts = Object.keys(LAYOUTS) as (keyof typeof LAYOUTS)[]
    describe.each(someOf(layouts, layout => SMALL.includes(`${name}-${layout}`)))('%s', layout => {
      const folder = `${name}-${layout}`
      beforeAll(() => run(root, 'prune', TINY_MODELS[name], ...cut(name, layout, '128'), '--to', 'onnx'))
      test.each(['fp32', 'q8'] as const)('%s', dtype => expectAgreement(folder, `${folder}/onnx`, dtype, 256))
      if (layout === 'per-head')
        test.each(OTHERS)('%s, by fasp export', async dtype => {
          await run(root, 'export', folder, '--to', `onnx:${dtype}`, '-o', `${folder}-${dtype}`)
          await expectAgreement(folder, `${folder}-${dtype}`, dtype, 256)
        })
    })
  })

  test('fasp export --verify runs it, and says so', async () => {
    const { stderr } = await run(root, 'export', TINY_LLAMA, '--to', 'onnx', '-o', 'verified', '--verify')
    expect(stderr).toMatch(
      /^onnx: fp32: transformers\.js writes the same 32 tokens; probabilities differ by \S+ at most\.$/m,
    )
    expect(stderr).toMatch(
      /^onnx: q8: transformers\.js writes the same \d+ tokens.*; probabilities differ by 0\.\d+ at most\.$/m,
    )
  })
})

describeShared('a smaller vocabulary', () => {
  test.each(TINY_NAMES)('%s: its tokenizer.json gives our ids, of a text that was not kept, too', async name => {
    const [keep, other] = [join(root, 'keep.txt'), 'Zebras — 47 Żubry, 斑马\n']
    writeFileSync(keep, PROMPTS.join('\n'))
    const model = `${name}-vocabulary`
    const folder = `${model}-stock`
    const given = ['--vocabulary', keep, '--to', 'onnx:fp32']
    await run(root, 'prune', TINY_MODELS[name], ...cut(model, 'stock', '128'), ...given)
    await expectAgreement(folder, `${folder}/onnx`, 'fp32', 256)
    await withModel(join(root, folder), async ({ checkpoint, architecture: { vocabularySize } }) => {
      const ids = [...loadTokenizer(checkpoint).encode(other)]
      expect(vocabularySize).toBeLessThan(500) // of 1024
      expect(Math.max(...ids)).toBeLessThan(vocabularySize)
      expect(await idsInTransformersJs(join(root, folder, 'onnx'), other)).toEqual(ids)
    })
  })
})

const FAMILIES = [
  'mistral',
  'qwen2',
  'qwen3',
  'smollm3',
  'gemma3_text',
  'olmo2',
  'olmo3',
  'phi3',
  'granite',
  'granitemoehybrid',
  'ministral3',
  'gpt_neox',
] as const

/** A model of another family: tiny-llama as one whose tokens see the last ones only, fewer than are in any text here, with biases; or random. */
async function asFamily(model_type: (typeof FAMILIES)[number]): Promise<string> {
  if (model_type !== 'mistral' && model_type !== 'qwen2') {
    const usual = { model_type, head_dim: 20, query_pre_attn_scalar: 24, sliding_window: 12, num_hidden_layers: 7 }
    const neox = {
      head_dim: 24,
      num_attention_heads: 4,
      num_key_value_heads: 4,
      rotary_pct: 1 / 3,
      tie_word_embeddings: false,
    }
    // As transformers 5 writes it: transformers.js knows another word.
    const granitemoehybrid = {
      ...{ num_local_experts: 0, shared_intermediate_size: 256, position_embedding_type: 'rope' },
      layer_types: new Array(7).fill('full_attention'),
    }
    const own = { ministral3: YARN, gpt_neox: neox, granitemoehybrid }[model_type as string]
    return writeModel(join(root, model_type), randomLlama({ ...usual, ...own }, 5), TINY_LLAMA)
  }
  const { config, tensors } = await readModel(TINY_LLAMA)
  const window = { sliding_window: 12, use_sliding_window: true, max_window_layers: 2 }
  const biases = Object.entries(tensors).flatMap(([name, { shape }], i) => {
    if (model_type !== 'qwen2' || !/[qkv]_proj\.weight$/.test(name)) return []
    return [[name.replace('weight', 'bias'), { shape: [shape[0]], values: random(shape[0], i).map(v => v / 4) }]]
  })
  const made = { config: { ...config, ...window, model_type }, tensors: { ...tensors, ...Object.fromEntries(biases) } }
  return writeModel(join(root, model_type), made, TINY_LLAMA)
}

describeShared('families like LLaMA', () => {
  describe.each(FAMILIES)('%s', name => {
    const layouts = ['stock', 'ragged', 'per-head'] as const
    test.each(someOf(layouts, (_, i) => i === FAMILIES.indexOf(name) % 3))('%s, fp32', async layout => {
      const folder = `${name}-${layout}`
      await run(root, 'prune', await asFamily(name), ...cut(name, layout, '128'), '--to', 'onnx:fp32')
      await expectAgreement(folder, `${folder}/onnx`, 'fp32', 256)
    })
  })
})

test('external data, which models over 2 GB have', async () => {
  await withModel(TINY_LLAMA, async model => {
    const sink = await openFolderSink(join(root, 'external'), false)
    await exportOnnx(model, sink, { engine, dtypes: ['fp32'], fileBytes: 2e6 })
  })
  await expectAgreement(TINY_LLAMA, 'external', 'fp32', 256)
})

test('a pipeline adds the BOS that fasp generate adds, and writes the same text', async () => {
  await run(root, 'export', TINY_LLAMA, '--to', 'onnx:fp32', '-o', 'piped')
  const { stdout } = await run(root, 'generate', TINY_LLAMA, '-p', PROMPTS[0], '--max-tokens', '24')
  expect(`${await inPipeline(join(root, 'piped'), PROMPTS[0], 24)}\n`).toBe(stdout)
})

test('an export that is another model, and one that does not load, are refused', async () => {
  await run(root, 'export', TINY_LLAMA, '--to', 'onnx:fp32', '-o', 'dense')
  const runtime = { ...TRANSFORMERS_JS, child: new URL('../../dist/transformers-js-child.js', import.meta.url) }
  const folder = join(root, 'dense')
  await withModel(TINY_LLAMA, async model => {
    const halves = model.architecture.halves.map(half => ({ ...half, rope: undefined }))
    const architecture = { ...model.architecture, halves }
    const other = { ...model, architecture }
    const context = memoryContext(engine)
    await expect(verifyIn(context, other, runtime, [folder, 'fp32'], ALLOWED.fp32)).rejects.toThrow(
      /^transformers\.js runs the export, but its probabilities are \d\S* nats a token from ours, allowed are 0\.000001/,
    )
    await expect(verifyIn(context, model, runtime, [folder, 'q8'], ALLOWED.q8)).rejects.toThrow(
      /^transformers\.js does not run the export \(1\): .*model_quantized\.onnx/,
    )
  })
})

describeShared('SmolLM2-135M', () => {
  const source = () => execFileSync('bash', [sharedPath('scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
  test.each(someOf(['stock', 'ragged', 'per-head'] as const, layout => layout === 'per-head'))(
    '%s, fp32',
    async layout => {
      const folder = `smollm2-${layout}`
      await run(root, 'prune', source(), ...cut('smollm2', layout, '128'), '--to', 'onnx:fp32')
      await expectAgreement(folder, `${folder}/onnx`, 'fp32', 128)
    },
  )
  nightly('padded, fp32', async () => {
    await run(root, 'export', 'smollm2-ragged', '--to', 'padded', '-o', 'smollm2-padded')
    await run(root, 'export', 'smollm2-padded', '--to', 'onnx:fp32', '-o', 'smollm2-padded-onnx')
    await expectAgreement('smollm2-padded', 'smollm2-padded-onnx', 'fp32', 128)
  })
  test.each(someOf(['q8', ...OTHERS] as const, dtype => dtype === 'q8'))('per-head, %s', async dtype => {
    await run(root, 'export', 'smollm2-per-head', '--to', `onnx:${dtype}`, '-o', `smollm2-${dtype}`)
    await expectAgreement('smollm2-per-head', `smollm2-${dtype}`, dtype, 128)
  })
})

describeShared('Chromium writes our text', () => {
  let browser: Awaited<ReturnType<typeof openBrowser>>
  beforeAll(async () => {
    browser = await openBrowser(root)
  })
  afterAll(() => browser?.close())
  test.each<[string, string, OnnxDtype]>([
    ['tiny-llama-stock/onnx', 'tiny-llama-stock', 'fp32'],
    ['tiny-llama-ragged/onnx', 'tiny-llama-ragged', 'q8'],
    ['tiny-llama-best/onnx', 'tiny-llama-best', 'fp32'],
    ['tiny-opt-padded/onnx', 'tiny-opt-padded', 'fp32'],
    ['tiny-opt-ragged/onnx', 'tiny-opt-ragged', 'fp32'],
    ['external', TINY_LLAMA, 'fp32'],
    ['smollm2-per-head/onnx', 'smollm2-per-head', 'fp32'],
  ])('%s, from %s, %s', async (model, source, dtype) => {
    const asked = { model, dtype, prompt: PROMPTS[0], tokens: GREEDY_TOKENS }
    const { text, seconds } = await browser.generate(asked, screenshot(model))
    console.log(`${model}: ${seconds.toFixed(1)} s in Chromium`)
    await withModel(resolve(root, source), async ours => {
      const stored = inMemory(asStored(ours, planOnnxFile(ours.architecture, ONNX_FORMATS[dtype])))
      const tokenizer = loadTokenizer(ours.checkpoint)
      if (dtype === 'fp32') expect(text).toBe(tokenizer.decode(await ourTokens(stored)))
      else {
        // Activations are rounded, too, in the browser by the processor's own rules: as in Node, it may part from us where we hardly prefer another.
        const prompt = tokenizer.encode(PROMPTS[0])
        const written = tokenizer.encode(PROMPTS[0] + text).slice(prompt.length)
        expect(tokenizer.decode(written)).toBe(text)
        const { same, preference } = await ownChoices(stored, [...prompt], [...written])
        console.log(`${model} ${dtype} ${JSON.stringify({ same, preference })}`)
        expect(preference).toBeLessThan(TOLERANCES[dtype].preference)
      }
    })
  })
})

/** Where a picture of the page goes, if anybody wants one. */
const screenshot = (name: string) =>
  process.env.FASP_SCREENSHOTS ? join(process.env.FASP_SCREENSHOTS, `${name.replaceAll('/', '-')}.png`) : undefined
