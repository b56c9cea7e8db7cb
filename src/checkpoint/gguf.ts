// A GGUF file as the Hugging Face checkpoint that it was made from: config, tensor names, row orders, factors of norms.
import type { ByteSource } from '../base/bytes.ts'
import { FormatError, orError, UnsupportedModelError } from '../base/errors.ts'
import { pickRows } from '../engine/linalg/scatter.ts'
import { type FloatDType, fromFloat32 } from '../formats/dtype.ts'
import { openGguf } from '../formats/gguf.ts'
import type { Gguf } from '../formats/gguf-contents.ts'
import type { TensorInfo, TensorSource } from '../formats/tensors.ts'
import { type Checkpoint, type GgufArchitecture, hubId, jsonFile, MAX_EXPERTS } from './checkpoint.ts'
import { type GgufGraph, GRAPHS } from './gguf-architectures.ts'
import { type GgufSizes, generationConfig, ggufConfig } from './gguf-config.ts'
import { GgufMetadata } from './gguf-metadata.ts'
import { type GEMMA3_LAYER, type MIXTURE_LAYER, type PHI3_LAYER, type RowOrder, swappedRows } from './gguf-names.ts'
import { ggufTokenizer } from './gguf-tokenizer.ts'
import { type Candidate, nearestOf, PAGE } from './nearest.ts'

/** Rows and columns of a layer's tensors by their names in the file, and row orders that transformers does not have. */
const LAYER_SHAPES: Readonly<
  Record<
    keyof typeof GEMMA3_LAYER | keyof typeof PHI3_LAYER | keyof typeof MIXTURE_LAYER,
    (s: GgufSizes, width: number, graph: GgufGraph) => readonly [shape: readonly number[], order?: RowOrder | false]
  >
> = {
  attn_norm: s => [[s.hidden]],
  attn_q_norm: (s, _, { wholeNorms }) => [[wholeNorms ? s.heads * s.headSize : s.headSize]],
  attn_k_norm: (s, _, { wholeNorms }) => [[wholeNorms ? s.kvHeads * s.headSize : s.headSize]],
  post_attention_norm: s => [[s.hidden]],
  post_ffw_norm: s => [[s.hidden]],
  attn_q: (s, _, { permuted }) => [[s.heads * s.headSize, s.hidden], permuted && [s.heads, s.headSize / 2, 2]],
  attn_k: (s, _, { permuted }) => [[s.kvHeads * s.headSize, s.hidden], permuted && [s.kvHeads, s.headSize / 2, 2]],
  attn_v: s => [[s.kvHeads * s.headSize, s.hidden]],
  attn_qkv: (s, _, { neox }) => [[(s.heads + 2 * s.kvHeads) * s.headSize, s.hidden], neox && [1, 3, s.heads]],
  attn_output: s => [[s.hidden, s.heads * s.headSize]],
  ffn_norm: s => [[s.hidden]],
  ffn_gate: (s, width) => [[width, s.hidden]],
  ffn_up: (s, width, { names, neox }) => [['ffn_gate' in names || neox ? width : 2 * width, s.hidden]],
  ffn_down: (s, width) => [[s.hidden, width]],
  ffn_gate_inp: s => [[s.experts, s.hidden]],
  ffn_gate_exps: (s, width) => [[s.experts, width, s.hidden]],
  ffn_up_exps: (s, width) => [[s.experts, width, s.hidden]],
  ffn_down_exps: (s, width) => [[s.experts, s.hidden, width]],
}

/** Turned into the config, or (`attn_rot_embd`, in files of 2023) computed from it. */
const NOT_WEIGHTS = /^(rope_freqs|rope_factors_(short|long)|blk\.\d+\.attn_rot_embd)\.weight$/

/** Multipliers of Granite, and of other models of the kind (MiniCPM). */
const MULTIPLIERS = ['attention.scale', 'embedding_scale', 'residual_scale', 'logit_scale']

interface Mapped extends TensorInfo {
  readonly stored: string
  readonly order?: RowOrder | false // false: rows are as in transformers
  /** In the file these are larger by so much. */
  readonly offset: number
  /** Which of the experts that are stacked in the file. */
  readonly expert?: number
}

/**
 * The checkpoint in a file, which is closed with it, or where this throws.
 * @throws FormatError for a damaged file @throws UnsupportedModelError for another architecture, tokenizer or rope
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
  const architecture = readArchitecture(metadata, gguf.tensors)
  const graph: GgufGraph = GRAPHS[architecture]
  const sizes = readSizes(metadata, gguf.tensors.tensors.size, graph)
  const tensors = mapTensors(name, gguf.tensors, sizes, graph)
  const tokenizer = ggufTokenizer(metadata)
  const config = await ggufConfig(architecture, metadata, gguf.tensors, tensors, sizes)
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

const SUPPORTED = Object.keys(GRAPHS)
  .filter(name => name !== 'deci' && name !== 'mixtral')
  .map(name => `"${name}"`)
  .join(', ')

function readArchitecture(metadata: GgufMetadata, source: TensorSource): GgufArchitecture {
  const architecture = metadata.need('general.architecture', metadata.text('general.architecture'))
  const refuse = (what: string, more = ''): never => {
    throw new UnsupportedModelError(
      `${metadata.file}: ${what}. Of GGUF files, models of architecture ${SUPPORTED} are supported, ` +
        `and of "deci" as fasp writes it${more}`,
    )
  }
  const experts = metadata.count('llama.expert_count') ?? 0
  const graph = architecture === 'llama' && experts > 0 ? 'mixtral' : (architecture as GgufArchitecture)
  if (!Object.hasOwn(GRAPHS, graph) || architecture === 'mixtral')
    refuse(`architecture "${architecture}"`, `.${nearestGraph(metadata, source)} ${PAGE}`)
  if (experts > 0 !== 'experts' in GRAPHS[graph]) refuse(`a mixture of ${experts} experts`)
  const parts = metadata.count('split.count') ?? 1
  if (parts > 1) refuse(`one of ${parts} parts; join them first with "llama-gguf-split --merge"`)
  const { multipliers }: GgufGraph = GRAPHS[graph]
  for (const key of multipliers ? [] : MULTIPLIERS) {
    const scale = metadata.real(`llama.${key}`) ?? 0
    if (scale !== 0 && scale !== 1) refuse(`${metadata.prefix}${key} is ${scale}, which none of these has`)
  }
  if (multipliers && metadata.flag('llama.rope.scaling.finetuned') === false) refuse('a model without positions')
  return graph
}

/** By the tensors that each architecture has where the sizes are those of the file. */
function nearestGraph(metadata: GgufMetadata, source: TensorSource): string {
  const { tensors } = source
  const candidates = Object.entries<GgufGraph>(GRAPHS).flatMap(([name, graph]): Candidate[] => {
    const expected = orError(() => expectedTensors(tensors, readSizes(metadata, tensors.size, graph), graph))
    if (expected instanceof Error) return [] // it has no such sizes
    const there = [...expected].filter(([stored, { required }]) => required || tensors.has(stored))
    const shapes = there.map(([stored, { shape }]) => [stored, shape] as const)
    return [{ name: graph.architecture ?? name, shapes, fields: () => [] }]
  })
  return nearestOf(candidates, source)
}

function readSizes(metadata: GgufMetadata, tensorCount: number, graph: GgufGraph): GgufSizes {
  const { perLayer, partial, experts, neox } = graph
  const positive = (key: string, value: number) => {
    if (value === 0) throw metadata.error(`${metadata.prefix}${key} is 0; it must be 1 or more`)
    return value
  }
  const need = (key: string) => positive(key, metadata.need(`llama.${key}`, metadata.uniform(`llama.${key}`)))
  const hidden = need('embedding_length')
  const heads = need('attention.head_count')
  const kvHeads = metadata.has('llama.attention.head_count_kv') ? need('attention.head_count_kv') : heads
  const dimensions = metadata.count('llama.rope.dimension_count')
  const headSize = metadata.count('llama.attention.key_length') ?? (partial ? undefined : dimensions) ?? hidden / heads
  const rotated = dimensions ?? headSize
  const valueSize = metadata.count('llama.attention.value_length') ?? headSize
  if (!Number.isInteger(headSize / 2) || headSize === 0)
    throw metadata.error(
      `heads of ${headSize} channels (embedding ${hidden}, ${heads} heads); an even number is allowed`,
    )
  if (neox && heads !== kvHeads)
    throw metadata.error(`${heads} query heads and ${kvHeads} KV heads; they must be as many`)
  if (heads % kvHeads !== 0) throw metadata.error(`${heads} query heads are no multiple of ${kvHeads} KV heads`)
  if (valueSize !== headSize || (partial ? rotated > headSize : rotated !== headSize))
    throw new UnsupportedModelError(
      `${metadata.file}: keys of ${headSize} channels, values of ${valueSize}, ${rotated} rotated; ` +
        'they must be the same',
    )
  const layers = need('block_count')
  // Before a table of all layers is made: the number is only what the metadata say.
  if (layers > tensorCount)
    throw metadata.error(`${metadata.prefix}block_count is ${layers}, with ${tensorCount} tensors in the file`)
  const width = experts?.width ?? 'feed_forward_length'
  const widths = perLayer
    ? metadata.need(`llama.${width}`, metadata.perLayer(`llama.${width}`, layers)).map(n => positive(width, n))
    : new Array<number>(layers).fill(need(width))
  const count = experts ? need('expert_count') : 0
  if (count > MAX_EXPERTS)
    throw metadata.error(`${metadata.prefix}expert_count is ${count}; it must be at most ${MAX_EXPERTS}`)
  return { hidden, heads, kvHeads, headSize, rotated, widths, experts: count }
}

/** Hugging Face name → tensor, in the order of the file, checked for shape and completeness. */
function mapTensors(file: string, { tensors }: TensorSource, sizes: GgufSizes, graph: GgufGraph): Map<string, Mapped> {
  const expected = expectedTensors(tensors, sizes, graph)
  const mapped = new Map<string, Mapped>()
  for (const [stored, { dtype, shape }] of tensors) {
    const target = expected.get(stored)
    if (target === undefined && NOT_WEIGHTS.test(stored)) continue
    if (target === undefined)
      throw new UnsupportedModelError(`${file}: the tensor "${stored}" is no part of a model of its architecture`)
    if (shape.join() !== target.shape.join())
      throw new FormatError(file, `"${stored}" has shape [${shape}], and the metadata say [${target.shape}]`)
    const [count, ...own] = shape
    if (own.length < 2) mapped.set(target.name, { ...target, dtype, stored })
    else
      for (let expert = 0; expert < count; expert++) {
        const name = target.name.replace('.experts.0.', `.experts.${expert}.`)
        mapped.set(name, { ...target, name, shape: own, dtype, stored, expert })
      }
  }
  for (const [stored, { required }] of expected)
    if (required && !tensors.has(stored))
      throw new FormatError(file, `the tensor "${stored}" is missing. Convert the model again`)
  return mapped
}

interface Expected extends Pick<Mapped, 'name' | 'shape' | 'order' | 'offset'> {
  readonly required: boolean
}

function expectedTensors(tensors: TensorSource['tensors'], sizes: GgufSizes, graph: GgufGraph): Map<string, Expected> {
  const { layers, outside, names, normOffset } = graph
  const vocabulary = tensors.get('token_embd.weight')?.shape[0] ?? 0
  const expected = new Map<string, Expected>()
  const allBiased = graph.biases === 'all'
  for (const [stored, name] of Object.entries(outside)) {
    const norm = stored === 'output_norm'
    const shape = norm ? [sizes.hidden] : [vocabulary, sizes.hidden]
    const rest = { shape, offset: norm ? normOffset : 0, required: stored !== 'output' }
    expected.set(`${stored}.weight`, { name: `${name}.weight`, ...rest })
    if (norm && allBiased) expected.set(`${stored}.bias`, { name: `${name}.bias`, ...rest })
  }
  for (const [layer, width] of sizes.widths.entries())
    for (const [stored, own] of Object.entries(names)) {
      const [shape, order] = LAYER_SHAPES[stored as keyof typeof LAYER_SHAPES](sizes, width, graph)
      const offset = shape.length === 1 ? normOffset : 0
      const rest = { order, offset, required: true }
      const name = `${layers}.${layer}.${own}`
      expected.set(`blk.${layer}.${stored}.weight`, { name: `${name}.weight`, shape, ...rest })
      // In all layers or in none there is a bias on q, k and v, on o, and on all projections of the FFN.
      const first = stored.startsWith('ffn') ? 'ffn_gate' : stored === 'attn_output' ? stored : 'attn_q'
      if (allBiased || (shape.length === 2 && tensors.has(`blk.0.${first}.bias`)))
        expected.set(`blk.${layer}.${stored}.bias`, { name: `${name}.bias`, shape: [shape[0]], ...rest, offset: 0 })
    }
  return expected
}

function renamedTensors(source: TensorSource, tensors: ReadonlyMap<string, Mapped>): TensorSource {
  const find = (name: string): Mapped => {
    const tensor = tensors.get(name)
    if (tensor === undefined)
      throw new UnsupportedModelError(`the model has no tensor "${name}" among its ${tensors.size}`)
    return tensor
  }
  const float32 = async (name: string) => {
    const { stored, order, offset, expert } = find(name)
    if (expert !== undefined) return source.rows(stored, Int32Array.of(expert))
    const values = await source.float32(stored)
    if (offset !== 0) return values.map(v => v - offset)
    if (!order) return values
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength)
    return new Float32Array(swappedRows(bytes, order).buffer)
  }
  return {
    tensors,
    bytes: async name => {
      const { dtype, stored, order, offset, expert } = find(name)
      if (offset !== 0 || expert !== undefined) return fromFloat32(await float32(name), dtype as FloatDType)
      const bytes = await source.bytes(stored)
      return order ? swappedRows(bytes, order) : bytes
    },
    float32,
    rows: async (name, ids) => {
      const { stored, shape, order } = find(name)
      return order ? pickRows(await float32(name), ids, shape[1]) : source.rows(stored, ids)
    },
    close: () => source.close(),
  }
}
