// Small models in shapes that the shipped one does not have, written as Hugging Face folders.
import { copyFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { layoutSafetensors } from '../src/formats/safetensors.ts'
import { elements } from '../src/formats/tensors.ts'
import { ffnHalves, tensorShapes } from '../src/model/architecture.ts'
import { type LayerWidths, normsOf, storedInputs } from '../src/model/half-block.ts'
import { architectureOf } from '../src/model/model.ts'
import { openCheckpoint } from '../src/node.ts'

export interface MadeModel {
  readonly config: Readonly<Record<string, unknown>>
  readonly tensors: Readonly<Record<string, { readonly shape: readonly number[]; readonly values: Float32Array }>>
}

/** Writes float32 weights, and the tokenizer that is in another folder. @returns the folder */
export function writeModel(folder: string, { config, tensors }: MadeModel, tokenizerFolder: string): string {
  mkdirSync(folder, { recursive: true })
  const infos = Object.entries(tensors).map(([name, { shape }]) => ({ name, shape, dtype: 'F32' as const }))
  const layout = layoutSafetensors(infos)
  const file = Buffer.alloc(layout.byteLength)
  file.set(layout.header)
  for (const { name, offset } of layout.tensors.values()) {
    const { values } = tensors[name]
    file.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), offset)
  }
  writeFileSync(join(folder, 'model.safetensors'), file)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    if (existsSync(join(tokenizerFolder, name))) copyFileSync(join(tokenizerFolder, name), join(folder, name))
  return folder
}

/** The model in a folder, in float32. */
export async function readModel(folder: string): Promise<MadeModel> {
  const checkpoint = await openCheckpoint(folder)
  try {
    const tensors: Record<string, { shape: readonly number[]; values: Float32Array }> = {}
    for (const [name, { shape }] of checkpoint.tensors.tensors)
      tensors[name] = { shape, values: await checkpoint.tensors.float32(name) }
    return { config: { ...checkpoint.config, dtype: 'float32' }, tensors }
  } finally {
    await checkpoint.close()
  }
}

/** Scaling of rotary positions as Llama 3.1 has it, for a model of short context. */
export const LLAMA3_ROPE = {
  rope_type: 'llama3',
  rope_theta: 500000,
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 64,
}

/** YaRN as Ministral 3 has it, for a model of short context. */
export const YARN = {
  max_position_embeddings: 1024,
  rope_parameters: {
    ...{ rope_type: 'yarn', rope_theta: 10000, factor: 4, original_max_position_embeddings: 256 },
    ...{ mscale: 1, mscale_all_dim: 1, llama_4_scaling_beta: 0.1 },
  },
}

/** A model like LLaMA of random weights; norms and biases are random too, since constants would hide mistakes. */
export function randomLlama(changes: Readonly<Record<string, unknown>>, seed: number): MadeModel {
  const sizes = { vocab_size: 1024, hidden_size: 96, intermediate_size: 256, num_hidden_layers: 4 }
  const heads = { num_attention_heads: 6, num_key_value_heads: 2 }
  const rest = { max_position_embeddings: 512, rms_norm_eps: 1e-5, tie_word_embeddings: true, torch_dtype: 'float32' }
  const config = { model_type: 'llama', ...sizes, ...heads, ...rest, ...changes }
  const a = architectureOf('made', config)
  const norms = new Map([...a.halves.flatMap(normsOf), a.finalNorm!].map(n => [`${n.name}.weight`, n]))
  const random = normalNumbers(seed)
  const tensors: Record<string, { shape: readonly number[]; values: Float32Array }> = {}
  for (const [name, shape] of tensorShapes(a)) {
    const table = [a.names.embedding, a.names.head].some(module => name === `${module}.weight`)
    const norm = norms.get(name)
    const [spread, mean] = norm
      ? [0.2, 1 - (norm.offset ?? 0)]
      : shape.length === 1
        ? [0.3, 0]
        : [(table ? 2 : 1) / Math.sqrt(shape[1]), 0]
    tensors[name] = { shape, values: Float32Array.from({ length: elements(shape) }, () => mean + spread * random()) }
  }
  return { config, tensors }
}

/** Box–Muller over a multiplicative generator (Park–Miller). */
function normalNumbers(seed: number): () => number {
  let state = seed
  const uniform = () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
  return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
}

/** The compact checkpoint that keeps the first neurons and value channels of a LLaMA, as many as `widths` says of each layer. */
export function compactLlama({ config, tensors }: MadeModel, widths: readonly LayerWidths[]): MadeModel {
  const [h, k, d] = ['num_attention_heads', 'num_key_value_heads', 'hidden_size'].map(key => config[key] as number)
  const e = (config.head_dim as number | undefined) ?? d / h
  const narrow = { ...tensors }
  const first = (n: number) => Array.from({ length: n }, (_, i) => i)
  const rows = (name: string, kept: readonly number[]) => {
    const { shape, values } = tensors[name]
    const width = shape[1] ?? 1
    const picked = kept.flatMap(row => [...values.subarray(row * width, (row + 1) * width)])
    narrow[name] = { shape: [kept.length, ...shape.slice(1)], values: Float32Array.from(picked) }
  }
  const columns = (name: string, kept: readonly number[]) => {
    const [out, width] = tensors[name].shape
    const picked = first(out).flatMap(row => kept.map(column => tensors[name].values[row * width + column]))
    narrow[name] = { shape: [out, kept.length], values: Float32Array.from(picked) }
  }
  const ffns = ffnHalves(architectureOf('made', config))
  for (const [i, { ffn, values }] of widths.entries()) {
    const { output } = ffns[i]
    const at = `model.layers.${i}.`
    const channels = (heads: number) =>
      first(heads).flatMap(head => first(values[Math.floor(head / (heads / k))]).map(channel => head * e + channel))
    for (const kind of ['weight', 'bias']) {
      const keep = (name: string, kept: readonly number[]) => {
        if (tensors[`${name}.${kind}`]) rows(`${name}.${kind}`, kept)
      }
      for (const [name, slices] of storedInputs(ffns[i]))
        keep(
          name,
          slices.flatMap((_, slice) => first(ffn).map(row => slice * output.in + row)),
        )
      keep(`${at}self_attn.v_proj`, channels(k))
      keep(`${at}self_attn.qkv_proj`, [...first((h + k) * e), ...channels(k).map(row => (h + k) * e + row)])
    }
    columns(`${output.name}.weight`, first(ffn))
    columns(`${at}self_attn.o_proj.weight`, channels(h))
  }
  return { config: { ...config, model_type: `fasp_${config.model_type}`, layer_widths: widths }, tensors: narrow }
}
