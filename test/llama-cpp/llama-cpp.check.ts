// What we write as GGUF, in llama.cpp itself: it loads, gives our ids, logits, greedy text and perplexity; and its quantiser gives our bytes.
// usage: npx vitest run --project llama.cpp   (after npm run build; Linux x64, Python 3)
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { memorySource } from '../../src/base/bytes.ts'
import { PRE_TOKENIZERS } from '../../src/checkpoint/gguf-pretokenizers.ts'
import { openGguf } from '../../src/formats/gguf.ts'
import { READ_ONLY } from '../../src/formats/gguf-dequantize.ts'
import { memoryContext } from '../../src/forward/context.ts'
import { expertsOf, ffnHalves } from '../../src/model/architecture.ts'
import type { HalfBlock } from '../../src/model/half-block.ts'
import { exportModel, loadTokenizer, logits, type Model, prune } from '../../src/node.ts'
import { MemorySink } from '../../src/output/sink.ts'
import type { SpeedResult } from '../../src/report/speeds.ts'
import { gguf } from '../../src/write/gguf/file.ts'
import { FILE_TYPES, type GgufFileType } from '../../src/write/gguf/types.ts'
import { agreement, allowedFor } from '../../src/write/verify/agreement.ts'
import { LLAMA_CPP, timeInLlamaCpp } from '../../src/write/verify/llama-cpp.node.ts'
import { type RuntimeRequest, runRuntime, verifyIn } from '../../src/write/verify/runtime.node.ts'
import { AMX } from '../cpu.ts'
import { QUICK, run, TEXT, TINY_LLAMA } from '../fasp.ts'
import { finish } from '../finish.ts'
import { compactLlama, LLAMA3_ROPE, randomLlama, readModel, writeModel, YARN } from '../made-models.ts'
import { nightly, someOf } from '../nightly.ts'
import { engineAndFolder, perplexityOf, withModel } from '../opened.ts'
import { describeShared, sharedPath } from '../shared.ts'
import { proves, SCOPES } from '../support.ts'

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url))
const modules = join(
  execFileSync(process.execPath, [path('scripts/llama-cpp.mjs')], { encoding: 'utf8' }).trim(),
  'node_modules',
)
const library = pathToFileURL(join(modules, 'node-llama-cpp/dist/index.js')).href
const llamaCpp = { ...LLAMA_CPP, child: pathToFileURL(path('dist/llama-cpp-child.js')) }
const runLlamaCpp = (file: string, request: RuntimeRequest) => runRuntime(llamaCpp, library, [file], request)

const { engine, folder: root } = engineAndFolder()
const textFile = join(root, 'text.txt')
writeFileSync(textFile, TEXT)

const STORY =
  'It was a dark and stormy night, and the old man said that he had seen it all before. "I don\'t know," said the girl, who was 12. ' +
  'Once upon a time there was a prince who lived in a great house by the sea, with his sister and a very small dog. '
const GREEDY_TOKENS = 32

const NEOX = {
  ...{ model_type: 'gpt_neox', num_attention_heads: 4, num_key_value_heads: 4, tie_word_embeddings: false },
  rotary_pct: 1 / 3,
}
const GRANITE = {
  ...{ model_type: 'granite', attention_multiplier: 0.3, embedding_multiplier: 12, residual_multiplier: 0.22 },
  logits_scaling: 8,
}
const granite4 = (layers: number) => ({
  ...{ ...GRANITE, model_type: 'granitemoehybrid', num_local_experts: 0, shared_intermediate_size: 256 },
  ...{ layer_types: new Array(layers).fill('attention'), position_embedding_type: 'rope' },
})

/** Relative difference of perplexities, and largest difference of a probability, by type; see `allowedFor` for why they differ. */
const TOLERANCES: Readonly<Record<string, { readonly perplexity: number; readonly probability: number }>> = {
  F32: { perplexity: 1e-5, probability: 1e-4 },
  F16: { perplexity: 1e-3, probability: 0.01 },
  BF16: { perplexity: 1e-2, probability: 0.03 },
  Q8_0: { perplexity: 3e-2, probability: 0.15 },
  Q4_K_M: { perplexity: 3e-2, probability: 0.15 },
}

/** Exports a folder and compares llama.cpp on the file with our own engine on the file; in F32, with the folder too. */
async function expectAgreement(folder: string, dtype: string, tokens: number) {
  if (statSync(folder).isDirectory()) proves('llama.cpp', folder)
  const output = join(root, `model-${dtype}.gguf`)
  await exportModel(folder, { output, to: [{ to: 'gguf', dtype }], overwrite: true })
  await expectSame(output, dtype, tokens, folder)
}

/** Compares llama.cpp on a file with our own engine on it. @param folder that it was made from, compared too where it is in F32 */
async function expectSame(output: string, dtype: string, tokens: number, folder?: string) {
  await withModel(output, async (model, checkpoint) => {
    const tokenizer = loadTokenizer(checkpoint)
    const text = STORY.repeat(4)
    const all = tokenizer.encode(text)
    const ids = [...all.subarray(0, tokens)]
    expect(ids).toHaveLength(tokens)
    const request = { ids, greedy: GREEDY_TOKENS, texts: [text], threads: 2 }
    const answer = await runLlamaCpp(output, request)
    expect(answer.tokens[0]).toEqual([...all.subarray(tokenizer.encode('').length)])
    const { vocabularySize } = model.architecture
    // ggml looks GELU up in a table of float16, whatever the type (ggml-cpu/vec.h).
    const halfPrecise = dtype === 'F32' && ffnHalves(model.architecture)[0].activation !== 'silu'
    const mixture = expertsOf(model.architecture) > 0 && dtype !== 'F32'
    const tolerance = TOLERANCES[mixture ? 'Q8_0' : halfPrecise ? 'F16' : dtype]
    const allowed = allowedFor(dtype, mixture)
    expect(answer.vocabulary).toBe(vocabularySize)
    const compare = async (ours: Model) => {
      const rows = await logits(ours, engine, [...ids, ...answer.greedy])
      const found = agreement(rows, answer.logits, answer.greedy, vocabularySize)
      expect(found.divergence).toBeLessThan(allowed.divergence)
      expect(found.probability).toBeLessThan(tolerance.probability)
      expect(found.preference).toBeLessThan(allowed.preference) // 0 where all 32 tokens are the same
      if (dtype === 'F32') expect(found.same).toBe(GREEDY_TOKENS)
      const [a, b] = [rows, answer.logits].map(side => perplexityOf(side, ids, vocabularySize))
      expect(Math.abs(a / b - 1)).toBeLessThan(tolerance.perplexity)
      return { ...found, perplexity: [a, b] }
    }
    const found = await compare(model)
    if (dtype === 'F32' && folder) await withModel(folder, compare)
    console.log(dtype, JSON.stringify(found))
  })
}

describe('small models', () => {
  const sources: Record<string, string> = {}
  beforeAll(async () => {
    const settings = { sparsity: 0.3, calibration: [textFile], windows: 8, seqLen: 64 }
    await prune(TINY_LLAMA, { ...settings, method: 'plain', output: join(root, 'stock') })
    await prune(TINY_LLAMA, { ...settings, method: 'paper', output: join(root, 'padded') })
    await prune(TINY_LLAMA, { ...settings, vocabulary: { keep: [textFile] }, output: join(root, 'vocabulary') })
    const values = [
      [32, 32],
      [32, 20],
      [8, 32],
      [1, 5],
      [32, 32],
      [0, 32],
    ] // prettier-ignore
    const widths = [384, 288, 96, 200, 352, 64].map((ffn, i) => ({ ffn, values: values[i] }))
    const biases = { attention_bias: true, mlp_bias: true, tie_word_embeddings: false, num_attention_heads: 4 }
    const qwen2 = { model_type: 'qwen2', tie_word_embeddings: false, rms_norm_eps: 1e-6, rope_theta: 1e6 }
    const mistral = { model_type: 'mistral', tie_word_embeddings: false, sliding_window: 256 } // more than the tokens here
    const qwen3 = { ...qwen2, model_type: 'qwen3', head_dim: 20, num_attention_heads: 4 }
    const small = { hidden_size: 64, intermediate_size: 64, num_attention_heads: 4 }
    const exaone4 = { model_type: 'exaone4', sliding_window: 40, rope_parameters: LLAMA3_ROPE }
    const olmo3 = {
      ...{ ...qwen2, model_type: 'olmo3', num_hidden_layers: 8, sliding_window: 40 },
      rope_scaling: { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 128 },
    }
    const gemma3 = {
      ...{
        model_type: 'gemma3_text',
        num_hidden_layers: 8,
        head_dim: 24,
        query_pre_attn_scalar: 24,
        num_attention_heads: 4,
      },
      ...{ sliding_window: 40, rope_theta: 1e6, rope_scaling: { rope_type: 'linear', factor: 8 } },
    }
    const phi3 = {
      ...{ model_type: 'phi3', original_max_position_embeddings: 64, partial_rotary_factor: 0.75 },
      rope_scaling: {
        type: 'longrope',
        short_factor: [1, 1.02, 1.1, 1.2, 1.5, 1.7],
        long_factor: [1, 1.5, 2, 4, 8, 12],
      },
    }
    const mixture = {
      ...small,
      num_experts: 8,
      num_local_experts: 8,
      num_experts_per_tok: 3,
      moe_intermediate_size: 96,
    }
    const narrow = [256, 64, 160, 96].map(ffn => ({ ffn, values: [16, 11] }))
    const make = (name: string, model: Parameters<typeof writeModel>[1]) =>
      writeModel(join(root, name), model, TINY_LLAMA)
    Object.assign(sources, {
      'tiny-llama, stock': join(root, 'stock'),
      'tiny-llama, padded': join(root, 'padded'),
      'tiny-llama, smaller vocabulary': join(root, 'vocabulary'),
      'tiny-llama, compact (deci)': make('compact', compactLlama(await readModel(TINY_LLAMA), widths)),
      'Llama 3 positions': make('llama3', randomLlama({ rope_parameters: LLAMA3_ROPE }, 1)),
      'linear positions': make('linear', randomLlama({ rope_scaling: { type: 'linear', factor: 4 } }, 2)),
      'biases, separate head': make('biases', randomLlama({ ...biases, num_key_value_heads: 1, head_dim: 20 }, 3)),
      'compact with biases (deci)': make(
        'compact-biases',
        compactLlama(
          randomLlama({ ...biases, num_key_value_heads: 2, rope_parameters: LLAMA3_ROPE }, 4),
          // llama.cpp's build for AMX computes rows of one block of 32 wrongly, in Q8_0 and Q4_K_M (docs/gguf.md).
          [256, 64, 160, AMX ? 96 : 32].map(ffn => ({ ffn, values: [24, 11] })),
        ),
      ),
      Qwen2: make('qwen2', randomLlama({ ...qwen2, rope_scaling: { type: 'linear', factor: 4 } }, 10)),
      'Qwen2, compact (deci)': make('qwen2-compact', compactLlama(randomLlama(qwen2, 11), narrow)),
      'Qwen2, positions and heads that its graph does not take (llama)': make(
        'qwen2-llama',
        randomLlama({ ...qwen2, num_attention_heads: 4, head_dim: 20, rope_parameters: LLAMA3_ROPE }, 12),
      ),
      Mistral: make('mistral', randomLlama({ ...mistral, head_dim: 20 }, 13)),
      Qwen3: make('qwen3', randomLlama({ ...qwen3, rope_scaling: { type: 'linear', factor: 4 } }, 16)),
      'Qwen3, compact': make('qwen3-compact', compactLlama(randomLlama(qwen3, 17), narrow)),
      SmolLM3: make('smollm3', randomLlama({ ...qwen2, model_type: 'smollm3' }, 20)),
      'Gemma 3': make('gemma3', randomLlama(gemma3, 18)),
      'Gemma 3, every third layer': make('gemma3-third', randomLlama({ ...gemma3, sliding_window_pattern: 3 }, 19)),
      'EXAONE 4': make('exaone4', randomLlama({ ...exaone4, sliding_window: null }, 24)),
      'EXAONE 4, 64 layers': make('exaone4-64', randomLlama({ ...exaone4, num_hidden_layers: 64, ...small }, 25)),
      'OLMo 2': make(
        'olmo2',
        randomLlama({ ...qwen2, model_type: 'olmo2', rope_scaling: { type: 'linear', factor: 4 } }, 21),
      ),
      'OLMo 3': make('olmo3', randomLlama(olmo3, 22)),
      // llama.cpp asks for tokens of Phi-3's own where a file's general.name has "phi3" (src/llama-vocab.cpp).
      'Phi-3': make('fused', randomLlama({ ...phi3, original_max_position_embeddings: 512 }, 21)),
      'Phi-3, long texts, compact': make('fused-long', compactLlama(randomLlama(phi3, 22), narrow)),
      Mixtral: make('mixtral', randomLlama({ ...mistral, ...mixture, model_type: 'mixtral' }, 26)),
      'Qwen3-MoE': make(
        'qwen3moe',
        randomLlama({ ...qwen3, ...mixture, model_type: 'qwen3_moe', norm_topk_prob: true }, 27),
      ),
      OLMoE: make('olmoe', randomLlama({ ...qwen2, ...mixture, model_type: 'olmoe', num_key_value_heads: 4 }, 28)),
      'GLM-4': make('glm4', randomLlama({ model_type: 'glm4', head_dim: 24, num_attention_heads: 4 }, 29)),
      'Ministral 3': make('ministral3', randomLlama({ ...YARN, model_type: 'ministral3', head_dim: 16 }, 30)),
      'Qwen3, YaRN with a factor of its own': make(
        'qwen3-yarn',
        randomLlama({ ...qwen3, rope_scaling: { ...YARN.rope_parameters, attention_factor: 1.3 } }, 31),
      ),
      'GPT-NeoX': make('gpt-neox', randomLlama(NEOX, 32)),
      'GPT-NeoX, FFNs after attention': make(
        'gpt-neox-serial',
        randomLlama({ ...NEOX, use_parallel_residual: false }, 33),
      ),
      Granite: make('granite', randomLlama({ ...GRANITE, rope_parameters: LLAMA3_ROPE }, 25)),
      'Granite 4': make('granite4', randomLlama({ ...granite4(4), tie_word_embeddings: false }, 34)),
      'Granite 4, compact': make('granite4-compact', compactLlama(randomLlama(granite4(4), 35), narrow)),
      'Mistral, compact (deci)': make('mistral-compact', compactLlama(randomLlama(mistral, 14), narrow)),
    })
  })
  const names = [
    'tiny-llama, stock',
    'tiny-llama, padded',
    'tiny-llama, smaller vocabulary',
    'tiny-llama, compact (deci)',
    'Llama 3 positions',
    'linear positions',
    'biases, separate head',
    'compact with biases (deci)',
    'Qwen2',
    'Qwen2, compact (deci)',
    'Qwen2, positions and heads that its graph does not take (llama)',
    'Mistral',
    'Mistral, compact (deci)',
    'Qwen3',
    'Qwen3, compact',
    'SmolLM3',
    'Gemma 3',
    'Gemma 3, every third layer',
    'EXAONE 4',
    'EXAONE 4, 64 layers',
    'OLMo 2',
    'OLMo 3',
    'GLM-4',
    'Ministral 3',
    'Qwen3, YaRN with a factor of its own',
    'Granite',
    'Granite 4',
    'Granite 4, compact',
    'GPT-NeoX',
    'GPT-NeoX, FFNs after attention',
    'Phi-3',
    'Phi-3, long texts, compact',
    'Mixtral',
    'Qwen3-MoE',
    'OLMoE',
  ]
  // In BF16 llama.cpp rounds activations, too: a token whose gates are nearly alike goes to another expert.
  const dtypes = (name: string) => {
    const rounded = names.indexOf(name) % 3 === 0 // to blocks
    const all = someOf(
      Object.keys(TOLERANCES),
      d => name === 'tiny-llama, stock' || d === 'F32' || (rounded && d === 'Q4_K_M'),
    )
    return all.filter(d => d !== 'BF16' || !/Mixtral|MoE/.test(name))
  }
  test.each(names.flatMap(name => dtypes(name).map(dtype => [name, dtype])))('%s, %s', (name, dtype) =>
    expectAgreement(sources[name], dtype, 192),
  )
})

const [LIKE_LLAMA, FOUR_HEADS] = [
  ['llama', 'qwen2', 'mistral', 'qwen3', 'smollm3', 'gemma3_text', 'granite', 'granitemoehybrid', 'ministral3'],
  ['olmo2', 'olmo3', 'exaone4', 'phi3', 'glm4', 'gpt_neox'],
]

const PRUNED = [...LIKE_LLAMA, ...FOUR_HEADS]

describe.each(PRUNED)('%s, pruned', model_type => {
  // llama.cpp has none for Mistral and Phi-3, and for EXAONE 4 in 64 layers alone.
  const window = ['mistral', 'phi3'].includes(model_type) ? 256 : /exaone4|ministral3/.test(model_type) ? null : 40
  const own = {
    ...{ model_type, head_dim: 24, query_pre_attn_scalar: 24, sliding_window: window, num_hidden_layers: 8 },
    ...(FOUR_HEADS.includes(model_type) && { num_attention_heads: 4, tie_word_embeddings: false }), // heads that fill the embedding, and a head
    ...{ gpt_neox: NEOX, granite: GRANITE, granitemoehybrid: granite4(8), ministral3: YARN }[model_type],
  }
  const named = model_type.replace('phi3', 'fused') // as above
  const source = join(root, `dense ${named}`)
  beforeAll(() => writeModel(source, randomLlama(own, 21), TINY_LLAMA))
  // Values that went are zeros in all layouts but compact: those of FFNs stand for them.
  const some = ({ scope, layouts }: (typeof SCOPES)[number]) => (scope === 'ffn' ? layouts : layouts.slice(0, 1))
  // One norm over all heads would see others.
  const scopes = SCOPES.filter(({ scope }) => !(scope === 'ffn+heads' && model_type.startsWith('olmo')))
  const all = scopes.flatMap(of => some(of).map(layout => ({ ...of, layout })))
  test.each(someOf(all, (_, i) => i === PRUNED.indexOf(model_type) % all.length))(
    '$scope, $layout',
    async ({ method, layout }) => {
      const output = join(root, `${named} ${method} ${layout}`)
      const settings = { sparsity: 0.3, calibration: [textFile], windows: 2, seqLen: 64, output }
      await prune(source, { ...settings, method: `${method}:layout=${layout}` })
      await expectAgreement(output, 'F32', 64)
    },
  )
})

describe.each(['mixtral', 'qwen3_moe', 'olmoe'])('%s, pruned', model_type => {
  const experts = {
    num_experts: 8,
    num_local_experts: 8,
    num_experts_per_tok: 3,
    norm_topk_prob: model_type !== 'olmoe',
  }
  const sizes = { hidden_size: 64, num_attention_heads: 4, num_key_value_heads: 4, moe_intermediate_size: 96 }
  const own = { model_type, ...sizes, intermediate_size: 96, tie_word_embeddings: false, ...experts }
  const source = join(root, `dense ${model_type}`)
  beforeAll(() => writeModel(source, randomLlama(own, 29), TINY_LLAMA))
  const methods = ['plain:scope=experts', 'plain']
  test.each(someOf(methods, (_, i) => (i === 0) === (model_type === 'mixtral')))('%s', async method => {
    const output = join(root, `${model_type} ${method}`)
    await prune(source, { sparsity: 0.3, calibration: [textFile], windows: 2, seqLen: 64, output, method })
    await expectAgreement(output, 'F32', 64)
  })
})

describeShared('trained models: SmolLM2-135M at 30 %', () => {
  const output = join(root, 'smollm2')
  beforeAll(async () => {
    const source = execFileSync('bash', [sharedPath('scripts/fetch-smollm2.sh')], { encoding: 'utf8' }).trim()
    const calibration = [sharedPath('data/calibration/wikitext2-valid.txt')]
    await prune(source, { sparsity: 0.3, method: 'plain', calibration, windows: 8, seqLen: 256, output })
  })
  test.each(someOf(['F32', 'F16', 'BF16', 'Q8_0'], dtype => dtype === 'Q8_0'))('%s', dtype =>
    expectAgreement(output, dtype, 64),
  )
  nightly('Gemma 3 270M, as it is in its Q4_K_M file, F32', { timeout: 600_000 }, () => {
    const source = execFileSync('bash', [sharedPath('scripts/fetch-gemma3.sh')], { encoding: 'utf8' }).trim()
    return expectAgreement(source, 'F32', 128)
  })
})

describe("llama.cpp's quantiser gives the same file", () => {
  const sizes = { hidden_size: 256, intermediate_size: 512, num_attention_heads: 4 }
  const models = {
    'tied head': () => randomLlama({ ...sizes, num_hidden_layers: 9 }, 5),
    'separate head, widths of each layer': () => {
      const dense = randomLlama({ ...sizes, num_hidden_layers: 8, tie_word_embeddings: false }, 6)
      return compactLlama(
        dense,
        [256, 512, 96, 288, 480, 512, 256, 64].map(ffn => ({ ffn, values: [64, 64] })),
      ) // prettier-ignore
    },
    'Qwen2, 80 layers': () =>
      randomLlama(
        { ...sizes, model_type: 'qwen2', intermediate_size: 32, num_key_value_heads: 4, num_hidden_layers: 80 },
        15,
      ),
    '80 layers': () => randomLlama({ ...sizes, head_dim: 16, intermediate_size: 32, num_hidden_layers: 80 }, 7),
    'rows of 96': () => randomLlama({}, 8),
    'Phi-3': () => randomLlama({ ...sizes, model_type: 'phi3', num_hidden_layers: 8 }, 9),
  }
  const quantized = Object.keys(FILE_TYPES).filter(type => type.startsWith('Q')) as GgufFileType[]

  const names = Object.keys(models) as (keyof typeof models)[]
  test.each(someOf(names, name => !/80 layers|separate/.test(name)))('%s', async name => {
    const folder = writeModel(join(root, `quantized ${name}`), models[name](), TINY_LLAMA)
    await withModel(folder, async model => {
      const write = async (type: GgufFileType) => {
        const sink = new MemorySink()
        await finish(gguf.plan(model, type).write(sink, memoryContext(engine)))
        await sink.commit()
        return sink.files.get('model.gguf')!
      }
      const [source, target] = [join(root, 'f32.gguf'), join(root, 'theirs.gguf')]
      writeFileSync(source, await write('F32'))
      for (const type of name.endsWith('80 layers') ? (['Q4_K_M', 'Q5_K_M'] as const) : quantized) {
        const args = [path('test/llama-cpp/quantize.py'), modules, source, target, String(FILE_TYPES[type].number)]
        execFileSync('python3', args, { stdio: ['ignore', 'ignore', 'pipe'] })
        expect(await contents(await write(type)), type).toEqual(await contents(readFileSync(target)))
      }
    })
  })

  test.each([
    ['Q2_K', 10],
    ['Q3_K_M', 12],
    ['IQ4_NL', 25],
    ['IQ4_XS', 30],
  ])('%s, which we only read, is computed as there', async (type, number) => {
    const folder = writeModel(join(root, `read ${type}`), models['tied head'](), TINY_LLAMA)
    const [source, target] = [join(root, 'f32.gguf'), join(root, 'theirs.gguf')]
    await exportModel(folder, { output: source, to: [{ to: 'gguf', dtype: 'F32' }], overwrite: true })
    const args = [path('test/llama-cpp/quantize.py'), modules, source, target, String(number)]
    execFileSync('python3', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    await withModel(target, async ({ checkpoint }) => {
      const types = [...checkpoint.tensors.tensors.values()].map(({ dtype }) => dtype)
      expect(types.filter(one => READ_ONLY.includes(one)).length).toBeGreaterThan(10)
    })
    await expectSame(target, 'Q4_K_M', 96)
    const { exports } = await prune(target, {
      ...{ sparsity: 0.3, method: 'plain', calibration: [textFile], windows: 8, seqLen: 64 },
      ...{ output: join(root, `pruned ${type}.gguf`) },
    })
    expect(exports[0].dtype).toBe(type === 'IQ4_NL' ? 'Q4_0' : 'Q4_K_M') // what is nearest of those that we write
  })

  /** Metadata, and of each tensor its type, shape and bytes. The order of tensors is not the same. */
  async function contents(file: Uint8Array) {
    const { metadata, tensors } = await openGguf(memorySource(file))
    const placed = [...tensors.tensors.values()] as unknown as { name: string; offset: number; byteLength: number }[]
    const described = placed.map(({ name, offset, byteLength }) => {
      const { dtype, shape } = tensors.tensors.get(name)!
      return [name, `${dtype} [${shape}] ${Buffer.from(file.subarray(offset, offset + byteLength)).toString('base64')}`]
    })
    return { metadata: Object.fromEntries(metadata), tensors: Object.fromEntries(described) }
  }
})

describe('tokenizers', () => {
  const strings: string[] = JSON.parse(readFileSync(path('test/fixtures/gguf/strings.json'), 'utf8'))
  /** What llama.cpp makes of texts with special tokens inside is its own: it puts a space after each. */
  const plain = strings.filter(text => !/<[^>]*>/.test(text))

  async function expectSameIds(folder: string, texts: readonly string[]) {
    const output = join(root, 'tokens.gguf')
    await exportModel(folder, { output, overwrite: true })
    const { tokens } = await runLlamaCpp(output, { ids: [1], greedy: 0, texts, threads: 2 })
    await withModel(folder, async (_, checkpoint) => {
      const tokenizer = loadTokenizer(checkpoint)
      const begin = tokenizer.encode('').length
      for (const [i, text] of texts.entries()) expect(tokens[i]).toEqual([...tokenizer.encode(text).subarray(begin)])
    })
  }

  test('byte-level BPE', async () => {
    expect(plain.length).toBeGreaterThan(20)
    await expectSameIds(TINY_LLAMA, plain)
  })
  test.each(['qwen2', 'olmo'])(
    'split as %s, of texts that are in NFC already: llama.cpp does not bring them there',
    async name => {
      const { normalizer, preTokenizer: pre_tokenizer } = PRE_TOKENIZERS.get(name)!
      const folder = join(root, `${name}-tokenizer`)
      cpSync(TINY_LLAMA, folder, { recursive: true })
      const file = join(folder, 'tokenizer.json')
      writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), normalizer, pre_tokenizer }))
      await expectSameIds(
        folder,
        plain.filter(text => text.normalize() === text),
      )
    },
  )
  describeShared('of Llama 2', () => {
    test('SentencePiece BPE, by the ranks of merges', async () => {
      const tiny = { hidden_size: 32, intermediate_size: 32, num_hidden_layers: 1, num_attention_heads: 2 }
      const model = randomLlama(
        { ...tiny, num_key_value_heads: 1, vocab_size: 32003, bos_token_id: 1, eos_token_id: 2 },
        9,
      )
      const folder = writeModel(join(root, 'sentencepiece'), model, sharedPath('tokenizers/llama_hf'))
      const wiki = readFileSync(sharedPath('data/eval/wikitext2-test.txt'), 'utf8').slice(0, 30_000)
      await expectSameIds(folder, [...plain, ...wiki.match(/[\s\S]{1,3000}/g)!])
    })
  })
})

describe('the command', () => {
  test('fasp prune model.gguf -o smaller.gguf, and export --verify', async () => {
    const folder = mkdtempSync(join(root, 'command-'))
    symlinkSync(modules, join(folder, 'node_modules')) // as after npm install node-llama-cpp
    writeFileSync(join(folder, 'text.txt'), TEXT)
    await run(folder, 'export', TINY_LLAMA, '--to', 'gguf:q8_0', '-o', 'model.gguf')
    await run(folder, 'prune', 'model.gguf', '-s', '0.3', '-o', 'smaller.gguf', '--to', 'gguf', ...QUICK)
    const { stderr } = await run(folder, 'export', 'smaller.gguf', '--to', 'gguf:f16', '-o', 'again.gguf', '--verify')
    expect(stderr).toMatch(
      /^gguf: llama\.cpp writes the same 32 tokens; probabilities differ by (0\.\d+|\d(\.\d+)?e-\d+) at most\.$/m,
    )
    const { lines } = await run(folder, 'bench', 'model.gguf', 'smaller.gguf', '--runs', '1', '--json')
    const { speeds }: SpeedResult = JSON.parse(lines.at(-1)!)
    const places = ['fasp', 'llama.cpp'].flatMap(runtime =>
      ['model.gguf', 'smaller.gguf'].map(model => ({ runtime, model })),
    )
    expect(speeds).toMatchObject(places)
    for (const { prefill, decode } of speeds) expect(Math.min(...prefill, ...decode)).toBeGreaterThan(0)
    const controller = new AbortController()
    const file = { path: join(folder, 'model.gguf'), name: 'model.gguf' }
    const timed = timeInLlamaCpp(library, file, { ids: [1, 2], after: 8 }, controller.signal)
    controller.abort(new Error('no more'))
    await expect(timed).rejects.toThrow('no more')
  })

  test('a file that llama.cpp does not load, and a model that is another one, are refused', async () => {
    const output = join(root, 'broken.gguf')
    await exportModel(TINY_LLAMA, { output })
    await withModel(output, async model => {
      const faster = (half: HalfBlock): HalfBlock =>
        half.kind === 'ffn'
          ? half
          : { ...half, rope: { ...half.rope!, inverseFrequencies: half.rope!.inverseFrequencies.map(f => 2 * f) } }
      const { architecture } = model
      const other = { ...model, architecture: { ...architecture, halves: architecture.halves.map(faster) } }
      await expect(
        verifyIn(memoryContext(engine), other, llamaCpp, [output], allowedFor('BF16'), library),
      ).rejects.toThrow(/^llama\.cpp runs the export, but its probabilities are 0?\.?\d+.* nats a token from ours/)
    })
    truncateSync(output, statSync(output).size - 4096)
    const request = { ids: [1], greedy: 0, texts: [], threads: 2 }
    await expect(runLlamaCpp(output, request)).rejects.toThrow(/^llama\.cpp does not run the export/)
  })
})
