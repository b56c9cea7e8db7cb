// A GGUF file as the Hugging Face checkpoint that it was made from: config.json, tensor names, row order of Q and K. Which family that is
// the biases say: of q, k and v alone in Qwen2, of all or none in LLaMA, which Mistral without its window is, too.
// An FFN width for each layer (architecture `deci`) makes it a compact checkpoint (`model/compact.ts`).
// Called by the openers (gguf.node.ts, open.web.ts).
import { FormatError, UnsupportedModelError } from '../errors.ts'
import type { ByteSource } from '../formats/bytes.ts'
import { type Gguf, openGguf } from '../formats/gguf.ts'
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'
import { pickRows } from '../linalg/scatter.ts'
import { type Checkpoint, hubId, jsonFile } from './checkpoint.ts'
import { type GgufArchitecture, GRAPHS } from './gguf-architectures.ts'
import { GgufMetadata } from './gguf-metadata.ts'
import { fromStoredRows, IN_LAYER, OUTSIDE_LAYERS } from './gguf-names.ts'
import { ropeScaling } from './gguf-rope.ts'
import { ggufTokenizer } from './gguf-tokenizer.ts'

interface Sizes {
  readonly hidden: number
  /** FFN width of each layer. */
  readonly widths: readonly number[]
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
}

/** Rows and columns of a layer's tensors, and for Q and K the heads whose rows are permuted. */
const LAYER_SHAPES: Readonly<
  Record<keyof typeof IN_LAYER, (s: Sizes, width: number) => readonly [shape: readonly number[], heads?: number]>
> = {
  attn_norm: s => [[s.hidden]],
  attn_q: s => [[s.heads * s.headSize, s.hidden], s.heads],
  attn_k: s => [[s.kvHeads * s.headSize, s.hidden], s.kvHeads],
  attn_v: s => [[s.kvHeads * s.headSize, s.hidden]],
  attn_output: s => [[s.hidden, s.heads * s.headSize]],
  ffn_norm: s => [[s.hidden]],
  ffn_gate: (s, width) => [[width, s.hidden]],
  ffn_up: (s, width) => [[width, s.hidden]],
  ffn_down: (s, width) => [[s.hidden, width]],
}

/** Turned into the config, or (`attn_rot_embd`, in files of 2023) computed from it. */
const NOT_WEIGHTS = /^(rope_freqs|blk\.\d+\.attn_rot_embd)\.weight$/

/** Multipliers of other models of the kind (Granite, MiniCPM). */
const FOREIGN_KEYS = ['attention.scale', 'embedding_scale', 'residual_scale', 'logit_scale']

interface Mapped extends TensorInfo {
  readonly stored: string
  readonly permutedHeads: number // 0: rows are as in transformers
}

/**
 * The checkpoint in a file, which is closed with it, or where this throws.
 * @throws FormatError where the file is damaged, or its metadata contradict themselves
 * @throws UnsupportedModelError for anything but a dense model of an architecture that `GRAPHS` has, another tokenizer or rope scaling
 */
export async function openGgufSource(file: ByteSource): Promise<Checkpoint> {
  try {
    return await ggufCheckpoint(await openGguf(file), file.name)
  } catch (error) {
    await file.close?.()
    throw error
  }
}

/** The checkpoint in an opened GGUF file. @throws as `openGgufSource` */
export async function ggufCheckpoint(gguf: Gguf, name: string): Promise<Checkpoint> {
  const metadata = new GgufMetadata(name, gguf.metadata)
  const graph = GRAPHS[readArchitecture(metadata)]
  const sizes = readSizes(metadata, gguf.tensors.tensors.size, graph.perLayer)
  const tensors = mapTensors(name, gguf.tensors, sizes, graph.permuted)
  const tokenizer = ggufTokenizer(metadata)
  const config = await makeConfig(metadata, gguf.tensors, tensors, sizes)
  const tokens = metadata.texts('tokenizer.ggml.tokens')?.length ?? 0
  if (tokens > Number(config.vocab_size))
    throw metadata.error(`${tokens} tokens, and embeddings for ${config.vocab_size}. Convert the model again`)
  return {
    name,
    format: 'gguf',
    config,
    tensors: renamedTensors(gguf.tensors, tensors),
    tokenizer: tokenizer.tokenizer,
    tokenizerConfig: tokenizer.config,
    sideFiles: [
      jsonFile('tokenizer.json', tokenizer.tokenizer),
      jsonFile('tokenizer_config.json', tokenizer.config),
      jsonFile('generation_config.json', generationConfig(metadata)),
    ],
    card: {
      license: metadata.text('general.license'),
      hubId: hubId(metadata.text('general.base_model.0.repo_url')),
    },
    gguf,
    weightBytes: gguf.byteLength,
    close: () => gguf.tensors.close(),
  }
}

function readArchitecture(metadata: GgufMetadata): GgufArchitecture {
  const architecture = metadata.need('general.architecture', metadata.text('general.architecture'))
  const refuse = (what: string): never => {
    throw new UnsupportedModelError(
      `${metadata.file}: ${what}. Of GGUF files, dense models of architecture "llama" and "qwen2" are supported, and of "deci" as fasp writes it`,
    )
  }
  if (!Object.hasOwn(GRAPHS, architecture)) refuse(`architecture "${architecture}"`)
  const experts = metadata.count('llama.expert_count') ?? 0
  if (experts > 0) refuse(`a mixture of ${experts} experts`)
  const parts = metadata.count('split.count') ?? 1
  if (parts > 1) refuse(`one of ${parts} parts; join them first with "llama-gguf-split --merge"`)
  for (const key of FOREIGN_KEYS) {
    const scale = metadata.real(`llama.${key}`) ?? 0
    if (scale !== 0 && scale !== 1) refuse(`${metadata.prefix}${key} is ${scale}, which none of these has`)
  }
  return architecture as GgufArchitecture
}

function readSizes(metadata: GgufMetadata, tensorCount: number, perLayer: boolean): Sizes {
  const positive = (key: string, value: number) => {
    if (value === 0) throw metadata.error(`${metadata.prefix}${key} is 0; it must be 1 or more`)
    return value
  }
  const need = (key: string) => positive(key, metadata.need(`llama.${key}`, metadata.uniform(`llama.${key}`)))
  const hidden = need('embedding_length')
  const heads = need('attention.head_count')
  const kvHeads = metadata.has('llama.attention.head_count_kv') ? need('attention.head_count_kv') : heads
  const rotated = metadata.count('llama.rope.dimension_count')
  const headSize = metadata.count('llama.attention.key_length') ?? rotated ?? hidden / heads
  const valueSize = metadata.count('llama.attention.value_length') ?? headSize
  if (!Number.isInteger(headSize / 2) || headSize === 0)
    throw metadata.error(
      `heads of ${headSize} channels (embedding ${hidden}, ${heads} heads); an even number is allowed`,
    )
  if (heads % kvHeads !== 0) throw metadata.error(`${heads} query heads are no multiple of ${kvHeads} KV heads`)
  if (valueSize !== headSize || (rotated ?? headSize) !== headSize)
    throw new UnsupportedModelError(
      `${metadata.file}: keys of ${headSize} channels, values of ${valueSize}, ${rotated} rotated; they must be the same`,
    )
  const layers = need('block_count')
  // Before a table of all layers is made: the number is only what the metadata say.
  if (layers > tensorCount)
    throw metadata.error(`${metadata.prefix}block_count is ${layers}, with ${tensorCount} tensors in the file`)
  const width = 'feed_forward_length'
  const widths = perLayer
    ? metadata.need(`llama.${width}`, metadata.perLayer(`llama.${width}`, layers)).map(n => positive(width, n))
    : new Array<number>(layers).fill(need(width))
  return { hidden, heads, kvHeads, headSize, widths }
}

/** Hugging Face name → tensor, in the order of the file, checked for shape and completeness. */
function mapTensors(file: string, { tensors }: TensorSource, sizes: Sizes, permuted: boolean): Map<string, Mapped> {
  const expected = expectedTensors(tensors, sizes, permuted)
  const mapped = new Map<string, Mapped>()
  for (const [stored, { dtype, shape }] of tensors) {
    const target = expected.get(stored)
    if (target === undefined && NOT_WEIGHTS.test(stored)) continue
    if (target === undefined)
      throw new UnsupportedModelError(
        `${file}: the tensor "${stored}" is no part of a dense LLaMA, Mistral or Qwen2, which are supported`,
      )
    if (shape.join() !== target.shape.join())
      throw new FormatError(file, `"${stored}" has shape [${shape}], and the metadata say [${target.shape}]`)
    mapped.set(target.name, { ...target, dtype, stored })
  }
  for (const [stored, { required }] of expected)
    if (required && !tensors.has(stored))
      throw new FormatError(file, `the tensor "${stored}" is missing. Convert the model again`)
  return mapped
}

interface Expected {
  readonly name: string
  readonly shape: readonly number[]
  readonly permutedHeads: number
  readonly required: boolean
}

function expectedTensors(tensors: TensorSource['tensors'], sizes: Sizes, permuted: boolean): Map<string, Expected> {
  const vocabulary = tensors.get('token_embd.weight')?.shape[0] ?? 0
  const expected = new Map<string, Expected>()
  for (const [stored, name] of Object.entries(OUTSIDE_LAYERS)) {
    const shape = stored === 'output_norm' ? [sizes.hidden] : [vocabulary, sizes.hidden]
    expected.set(`${stored}.weight`, { name: `${name}.weight`, shape, permutedHeads: 0, required: stored !== 'output' })
  }
  for (const [layer, width] of sizes.widths.entries())
    for (const [stored, shapeOf] of Object.entries(LAYER_SHAPES)) {
      const [shape, heads = 0] = shapeOf(sizes, width)
      const rest = { permutedHeads: permuted ? heads : 0, required: true }
      const name = `model.layers.${layer}.${IN_LAYER[stored as keyof typeof IN_LAYER]}`
      expected.set(`blk.${layer}.${stored}.weight`, { name: `${name}.weight`, shape, ...rest })
      // In all layers or in none there is a bias on q, k and v, on o, and on all projections of the FFN.
      const first = stored.startsWith('ffn') ? 'ffn_gate' : stored === 'attn_output' ? stored : 'attn_q'
      if (shape.length === 2 && tensors.has(`blk.0.${first}.bias`))
        expected.set(`blk.${layer}.${stored}.bias`, { name: `${name}.bias`, shape: [shape[0]], ...rest })
    }
  return expected
}

async function makeConfig(
  metadata: GgufMetadata,
  source: TensorSource,
  tensors: ReadonlyMap<string, Mapped>,
  sizes: Sizes,
): Promise<Record<string, unknown>> {
  const epsilon = 'llama.attention.layer_norm_rms_epsilon'
  const theta = decimal(metadata.real('llama.rope.freq_base') ?? 10000)
  const factors = source.tensors.has('rope_freqs.weight') ? await source.float32('rope_freqs.weight') : undefined
  if (factors !== undefined && factors.length !== sizes.headSize / 2)
    throw metadata.error(
      `rope_freqs.weight has ${factors.length} values; heads of ${sizes.headSize} channels need half as many`,
    )
  const width = Math.max(...sizes.widths)
  const values = new Array<number>(sizes.kvHeads).fill(sizes.headSize)
  const biased = (name: string) => tensors.has(`model.layers.0.${name}.bias`)
  const isQwen2 = biased('self_attn.q_proj') && !biased('self_attn.o_proj')
  const family = isQwen2 ? 'qwen2' : 'llama'
  return {
    architectures: [isQwen2 ? 'Qwen2ForCausalLM' : 'LlamaForCausalLM'],
    ...(sizes.widths.every(n => n === width)
      ? { model_type: family }
      : { model_type: `fasp_${family}`, layer_widths: sizes.widths.map(ffn => ({ ffn, values })) }), // model/compact.ts
    hidden_size: sizes.hidden,
    intermediate_size: width,
    num_hidden_layers: sizes.widths.length,
    num_attention_heads: sizes.heads,
    num_key_value_heads: sizes.kvHeads,
    head_dim: sizes.headSize,
    hidden_act: 'silu',
    rms_norm_eps: decimal(metadata.need(epsilon, metadata.real(epsilon))),
    rope_theta: theta,
    rope_scaling: ropeScaling(metadata, factors, theta),
    max_position_embeddings: metadata.need('llama.context_length', metadata.count('llama.context_length')),
    vocab_size: tensors.get('model.embed_tokens.weight')?.shape[0],
    ...specialIds(metadata),
    tie_word_embeddings: !tensors.has('lm_head.weight'),
    ...(!isQwen2 && { attention_bias: biased('self_attn.q_proj'), mlp_bias: biased('mlp.gate_proj') }),
    torch_dtype: torchDtype(tensors),
  }
}

/** GGUF holds float32: 9.999999747378752e-06 was 1e-05. */
const decimal = (value: number): number => Number(value.toPrecision(6))

/** The type of the matrices where it is one that PyTorch has, else bfloat16. */
function torchDtype(tensors: ReadonlyMap<string, Mapped>): string {
  const dtype = tensors.get('model.layers.0.mlp.up_proj.weight')?.dtype
  return dtype === 'F32' ? 'float32' : dtype === 'F16' ? 'float16' : 'bfloat16'
}

const SPECIAL_IDS = { bos_token_id: 'bos_token_id', eos_token_id: 'eos_token_id', pad_token_id: 'padding_token_id' }

function specialIds(metadata: GgufMetadata): Record<string, number> {
  const ids = Object.entries(SPECIAL_IDS).map(([name, key]) => [name, metadata.count(`tokenizer.ggml.${key}`)] as const)
  return Object.fromEntries(ids.filter((pair): pair is [string, number] => pair[1] !== undefined))
}

function generationConfig(metadata: GgufMetadata): Record<string, unknown> {
  const ids = specialIds(metadata)
  const turnEnd = metadata.count('tokenizer.ggml.eot_token_id')
  const several = turnEnd !== undefined && ids.eos_token_id !== undefined && turnEnd !== ids.eos_token_id
  return { _from_model_config: true, ...ids, ...(several && { eos_token_id: [ids.eos_token_id, turnEnd] }) }
}

function renamedTensors(source: TensorSource, tensors: ReadonlyMap<string, Mapped>): TensorSource {
  const find = (name: string): Mapped => {
    const tensor = tensors.get(name)
    if (tensor === undefined)
      throw new UnsupportedModelError(`the model has no tensor "${name}" among its ${tensors.size}`)
    return tensor
  }
  const float32 = async (name: string) => {
    const { stored, shape, permutedHeads } = find(name)
    const values = await source.float32(stored)
    if (permutedHeads === 0) return values
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    return new Float32Array(fromStoredRows(bytes, shape[0], permutedHeads).buffer)
  }
  return {
    tensors,
    bytes: async name => {
      const { stored, shape, permutedHeads } = find(name)
      const bytes = await source.bytes(stored)
      return permutedHeads === 0 ? bytes : fromStoredRows(bytes, shape[0], permutedHeads)
    },
    float32,
    rows: async (name, ids) => {
      const { stored, shape, permutedHeads } = find(name)
      return permutedHeads === 0 ? source.rows(stored, ids) : pickRows(await float32(name), ids, shape[1])
    },
    close: () => source.close(),
  }
}
