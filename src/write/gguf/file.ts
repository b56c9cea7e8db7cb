// Writes a GGUF file for llama.cpp, tensor by tensor: in the family's architecture where all FFNs have one width, in
// `deci` where they differ. llama.cpp wants as many value channels as query channels: zeros fill narrower heads.
// Source: llama.cpp, conversion/llama.py and conversion/base.py (keys, types, permutation).
import { baseName, bytes, percent } from '../../base/display.ts'
import { UnsupportedModelError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import { VERSION } from '../../base/version.ts'
import type { Checkpoint } from '../../checkpoint/checkpoint.ts'
import { type GgufGraph, GRAPHS } from '../../checkpoint/gguf-architectures.ts'
import { type RowOrder, storedName, swappedRows } from '../../checkpoint/gguf-names.ts'
import { healedText, prunedFrom, sparsityText } from '../../checkpoint/pruning-record.ts'
import { isDType } from '../../formats/dtype.ts'
import { encode } from '../../formats/encode.ts'
import { READ_ONLY } from '../../formats/gguf-dequantize.ts'
import {
  type GgufPair,
  type GgufTensorInfo,
  type GgufType,
  ggufValue,
  layoutGguf,
  storedBytes,
} from '../../formats/gguf-layout.ts'
import { quantize } from '../../formats/gguf-quantize.ts'
import { elements, type Floats, type QuantizedType } from '../../formats/tensors.ts'
import {
  type Architecture,
  attentionHalves,
  expertsOf,
  ffnHalves,
  layersOf,
  layerWidths,
  tensorShapes,
} from '../../model/architecture.ts'
import { firstValueRows } from '../../model/coupling.ts'
import { EXPERT, type HalfBlock, normsOf, normTensors } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import { GGUF_FILE, OWN_KEY, type Sink } from '../../output/sink.ts'
import { UNSAVED } from '../../output/steps.ts'
import { partsOf, readPart } from '../conversion.ts'
import type { ExportPlan, Target, WriteContext } from '../target.ts'
import { widened } from '../widen.ts'
import { familyGraph, ggufArchitecture, likeLlama, unlikeGguf, windowsOf } from './architecture.ts'
import { quantizeByGram } from './gptq.ts'
import { gramReader, repairedExperts } from './grams.ts'
import { type Pairs, ropePairs, ropeTensors } from './rope.ts'
import { unfused } from './split-gate.ts'
import { tokenizerPairs } from './tokenizer.ts'
import { BLOCK, declaredType, FILE_TYPES, type GgufFileType, tensorTypes } from './types.ts'

/** The file type that is nearest to what most weights of a source are in. */
const NEAREST = new Map<string, GgufFileType>([
  ['F64', 'F32'],
  ...READ_ONLY.map((name): [string, GgufFileType] => [name, 'Q4_K_M']),
  ...Object.entries(FILE_TYPES).map(([name, { base }]): [string, GgufFileType] => [base, name as GgufFileType]),
])

export const gguf: Target = {
  dtypes: Object.keys(FILE_TYPES),
  file: GGUF_FILE,
  dtypeFor,
  plan: (model, dtype) => planGguf(model, dtype as GgufFileType),
}

function planGguf(given: Model, fileType: GgufFileType): ExportPlan {
  const source = unfused(given)
  checkArchitecture(source)
  const model = fitted(source, fileType)
  const { statistics, gguf } = model.checkpoint
  const graph = familyGraph(model.architecture)
  const experts = repairedExperts(model)
  const types = tensorTypes(model.architecture, fileType, {
    observed: layer => (statistics?.tensors.has(layer) ?? false) || experts.has(layer),
    held: name => gguf?.tensors.tensors.get(storedName(name, graph)!)?.dtype,
  })
  const notices = sizeNotices(source, model, types)
  const { maxPositions } = source.architecture
  const narrowest = attentionHalves(source.architecture).reduce(
    (least, { window = least }) => Math.min(least, window),
    maxPositions,
  )
  if (narrowest < maxPositions && !familyGraph(source.architecture).windows)
    notices.push(
      `llama.cpp has no sliding window for this architecture: each token sees all before it, and not the last ` +
        `${narrowest} alone. Texts of more tokens come out differently.`,
    )
  const rows = [...types].filter(([name, type]) => type === 'F16' && fileType !== 'F16' && isMatrix(model, name))
  if (rows.length > 0)
    notices.push(
      `${rows.length} tensors are in F16: their rows are no multiples of ${BLOCK}, the block of ${fileType}.`,
    )
  const { checkpoint, architecture } = model
  const copied = checkpoint.gguf?.metadata.has('tokenizer.ggml.tokens')
  const tokenizer = copied ? undefined : tokenizerPairs(checkpoint, architecture.vocabularySize)
  const infos = tensorInfos(model, types)
  const own = new Map([...modelPairs(model, fileType), ...(tokenizer ?? [])])
  const { keys, rawBytes, rawValue } = copiedPairs(model, own)
  return {
    dtype: fileType,
    bytes: layoutGguf([...own, ...keys.map((key): GgufPair => [key, new Uint8Array(rawBytes(key))])], infos).byteLength,
    notices,
    expected: { model, types, sums: normOffsets(architecture) },
    async *write(sink, context) {
      const copied = await Promise.all(keys.map(async (key): Promise<GgufPair> => [key, await rawValue(key)]))
      yield* writeTensors(model, [...own, ...copied], infos, sink, context)
    },
  }
}

const isMatrix = ({ architecture }: Model, name: string) => tensorShapes(architecture).get(name)!.length === 2

/** @throws UnsupportedModelError for what llama.cpp's graphs do not compute */
function checkArchitecture({ checkpoint, architecture: a }: Model): void {
  const problem = unlikeGguf(a)
  if (problem)
    throw new UnsupportedModelError(
      `${checkpoint.name}: ${a.modelType} models cannot be written as GGUF: llama.cpp has no architecture for ` +
        `${problem}. Choose another --to.`,
    )
}

/** The type that the source says it has, or the nearest to that of most of its weights. */
function dtypeFor({ checkpoint, architecture }: Model): GgufFileType {
  const sizes = new Map<string, number>()
  for (const [name, shape] of tensorShapes(architecture)) {
    const { dtype } = checkpoint.tensors.tensors.get(name)!
    sizes.set(dtype, (sizes.get(dtype) ?? 0) + elements(shape))
  }
  const declared = declaredType(checkpoint.gguf?.metadata.get('general.file_type'), new Set(sizes.keys()))
  const [[most]] = [...sizes].sort((x, y) => y[1] - x[1])
  return declared ?? NEAREST.get(most) ?? 'Q8_0'
}

/** The model as llama.cpp's graph holds it: all value channels, FFNs of whole blocks, one FFN width where needed. */
function fitted({ checkpoint, architecture }: Model, fileType: GgufFileType): Model {
  const everywhere = (half: HalfBlock): HalfBlock => (half.kind === 'ffn' ? half : { ...half, window: undefined })
  const a = familyGraph(architecture).windows
    ? architecture
    : { ...architecture, halves: architecture.halves.map(everywhere) }
  const model = { checkpoint, architecture: a }
  const multiple = isDType(fileType) ? 1 : BLOCK
  const widths = layerWidths(a)
  const widest = likeLlama(a) ? 0 : Math.max(...widths.map(({ ffn }) => ffn))
  const places = attentionHalves(a).map((half, layer) => {
    const { ffn } = widths[layer]
    return {
      ffn: Math.ceil(Math.max(ffn, widest) / multiple) * multiple,
      neurons: Int32Array.from({ length: ffn }, (_, i) => i),
      valueRows: firstValueRows(half),
    }
  })
  const same = !a.compact && places[0].ffn === a.ffnWidth
  return same ? model : widened(model, places)
}

/** What the zeros cost. */
function sizeNotices(
  { architecture: narrow }: Model,
  { architecture: wide }: Model,
  types: ReadonlyMap<string, GgufType>,
) {
  const notices: string[] = []
  const cost = (kind: 'attention' | 'ffn') => {
    let added = 0
    let all = 0
    for (const [i, half] of wide.halves.entries()) {
      const before = narrow.halves[i]
      for (const [j, l] of [...half.inputs, half.output].entries()) {
        const size = storedBytes({ type: types.get(`${l.name}.weight`)!, shape: [l.out, l.in] })
        const old = [...before.inputs, before.output][j]
        all += size
        if (half.kind === kind) added += size * (1 - (old.out * old.in) / (l.out * l.in))
      }
    }
    return `${bytes(added)} (${percent(added / all)} of the decoder's linear layers) are zeros`
  }
  const attentions = attentionHalves(narrow)
  const [{ headSize }] = attentions
  if (attentions.some(({ values }) => values.some(n => n < headSize)))
    notices.push(
      `llama.cpp holds as many value channels as query channels, ${headSize} a head: ${cost('attention')}, ` +
        'and the KV cache is no smaller.',
    )
  const filled = layerWidths(wide)
  if (layerWidths(narrow).some(({ ffn }, layer) => ffn !== filled[layer].ffn))
    notices.push(
      `FFN widths are filled up to ${
        likeLlama(wide)
          ? `multiples of ${BLOCK}, the block of the type`
          : 'the widest, as llama.cpp has one for all layers of this family, and whole blocks'
      }: ${cost('ffn')}.`,
    )
  return notices
}

const tensorInfos = ({ architecture: a }: Model, types: ReadonlyMap<string, GgufType>): GgufTensorInfo[] => {
  const infos = [...tensorShapes(a)].flatMap(([name, shape]): GgufTensorInfo[] => {
    const number = EXPERT.exec(name)?.[1]
    if (number !== undefined && number !== '0') return [] // in the tensor of the first
    const stacked = number ? [expertsOf(a), ...shape] : shape
    return [{ name: storedName(name, familyGraph(a))!, type: types.get(name)!, shape: stacked }]
  })
  const divisors = [...ropeTensors(a)].map(
    ([name, { length }]): GgufTensorInfo => ({ name, type: 'F32', shape: [length] }),
  )
  return [...infos, ...divisors]
}

/** Keys of the architecture, and of the model in general. */
function modelPairs({ checkpoint, architecture: a }: Model, fileType: GgufFileType): GgufPair[] {
  const { count, counts, flag, real, text } = ggufValue
  const { heads, kvHeads, headSize, parallel } = attentionHalves(a)[0]
  const graph: GgufGraph = GRAPHS[ggufArchitecture(a)]
  const prefix = graph.architecture ?? ggufArchitecture(a)
  const [{ experts }] = ffnHalves(a)
  const own: Pairs = {
    block_count: count(layersOf(a)),
    // We compute less of Ministral 3's context than its config says.
    context_length: count(Math.max(a.maxPositions, Number(checkpoint.config.max_position_embeddings ?? 0))),
    embedding_length: count(a.hiddenSize),
    feed_forward_length: a.compact ? counts(layerWidths(a).map(({ ffn }) => ffn)) : count(a.ffnWidth),
    expert_count: experts && count(experts.router.out),
    expert_used_count: experts && count(experts.active),
    expert_feed_forward_length: graph.experts?.width && count(a.ffnWidth),
    vocab_size: count(a.vocabularySize),
    'attention.head_count': count(heads),
    'attention.head_count_kv': count(kvHeads),
    'attention.key_length': count(headSize),
    'attention.value_length': count(headSize),
    [`attention.layer_norm_${graph.neox ? '' : 'rms_'}epsilon`]: real(a.finalNorm!.epsilon),
    use_parallel_residual: parallel !== undefined && flag(parallel),
    ...ropePairs(a, checkpoint.config),
    'attention.sliding_window': familyGraph(a).tellsWindow && count(Number(checkpoint.config.sliding_window ?? 0)),
    ...windowPairs(a),
    ...multiplierPairs(a),
  }
  const general: Pairs = {
    'general.architecture': text(prefix),
    'general.type': text('model'),
    ...descriptionPairs(checkpoint),
    'general.license': checkpoint.card?.license !== undefined && text(checkpoint.card.license),
    'general.file_type': count(FILE_TYPES[fileType].number),
    'general.quantization_version': count(2), // GGML_QNT_VERSION
    [OWN_KEY]: text(VERSION),
  }
  const pairs = [...Object.entries(general), ...Object.entries(own).map(([key, value]) => [`${prefix}.${key}`, value])]
  return pairs.filter((pair): pair is [string, GgufPair[1]] => pair[1] instanceof Uint8Array)
}

/** Of families whose graph has windows. */
function windowPairs(a: Architecture): Pairs {
  const { count, real } = ggufValue
  const { windows } = familyGraph(a)
  const { window, every } = (windows && windowsOf(a)) || { window: 0, every: 0 }
  if (window === 0) return {}
  const { rope } = attentionHalves(a).find(half => half.window !== undefined)!
  return {
    'attention.sliding_window': count(window),
    // Older versions of llama.cpp know the usual pattern alone.
    'attention.sliding_window_pattern': every !== windows && count(every),
    'rope.freq_base_swa': real(rope!.theta),
  }
}

function multiplierPairs(a: Architecture): Pairs {
  const { real } = ggufValue
  const [{ scale, updateScale = 1 }] = attentionHalves(a)
  return familyGraph(a).multipliers
    ? {
        'attention.scale': real(scale),
        embedding_scale: real(a.embeddingScale ?? 1),
        residual_scale: real(updateScale),
        logit_scale: real(1 / (a.logitScale ?? 1)), // llama.cpp divides by it
      }
    : {}
}

/** The model's name, and how it was pruned. Source of the general keys: llama.cpp, gguf-py/gguf/constants.py. */
function descriptionPairs(checkpoint: Checkpoint): Pairs {
  const { count, real, text } = ggufValue
  const { gguf, recipe, card } = checkpoint
  const pruned = recipe && prunedFrom(checkpoint)
  const named = gguf?.metadata.get('general.name')
  const stem = baseName(pruned?.hubId ?? pruned?.source ?? card?.hubId ?? checkpoint.name).replace(/\.gguf$/i, '')
  const base = typeof named === 'string' ? named : stem
  if (!pruned) return { 'general.name': text(base) }
  const [part, { source, hubId, method, sparsity, healed }] = [sparsityText(pruned), pruned]
  return {
    'general.name': text(`${base}, pruned ${part}${healed ? ', healed' : ''}`),
    'general.description': text(
      `${base} without ${part} of the weights of its decoder's linear layers, pruned by fasp ${VERSION}, ` +
        `method ${method}${healedText(pruned)}.`,
    ),
    'general.base_model.count': count(1),
    'general.base_model.0.name': text(base),
    'general.base_model.0.repo_url': hubId !== undefined && text(`https://huggingface.co/${hubId}`),
    'fasp.source': text(source),
    'fasp.method': text(method),
    'fasp.sparsity': real(sparsity),
    'fasp.healed_tokens': healed !== undefined && real(healed),
  }
}

/** Keys that a GGUF source passes on as stored: general, ours, tokenizer; not sizes, nor what names another model. */
function copiedPairs({ checkpoint: { gguf, recipe } }: Model, own: ReadonlyMap<string, unknown>) {
  const changed = /^general\.(alignment|size_label|parameter_count)$/
  const others = /^general\.(uuid|doi|url|repo_url|source\.|base_model\.)|^fasp\./
  const stays = (key: string) => !own.has(key) && !changed.test(key) && !(recipe && others.test(key))
  const keys = [...(gguf?.metadata.keys() ?? [])].filter(key => /^(general|tokenizer|fasp)\./.test(key) && stays(key))
  return { keys, rawBytes: (key: string) => gguf!.rawBytes(key), rawValue: (key: string) => gguf!.rawValue(key) }
}

async function* writeTensors(
  model: Model,
  pairs: readonly GgufPair[],
  infos: readonly GgufTensorInfo[],
  sink: Sink,
  { engine, signal, saved = UNSAVED }: WriteContext,
): Progress<void> {
  const { architecture: a } = model
  const layout = layoutGguf(pairs, infos)
  const file = await sink.create(GGUF_FILE, layout.byteLength)
  await file.write(layout.header, 0)
  const gramOf = gramReader(model)
  /** Writes values of a tensor from a byte of it on. @returns the byte after them */
  const put = async (stored: string, values: Floats, name = stored, from = 0) => {
    const { type, offset } = layout.tensors.get(stored)!
    const quantized = async (type: QuantizedType) => {
      const gram = await gramOf(name)
      return gram ? await quantizeByGram(engine, values, gram, type, name) : quantize(values, type)
    }
    const bytes = isDType(type) ? encode(stored, values, type) : await quantized(type)
    await file.write(bytes, offset + from + Number(EXPERT.exec(name)?.[1] ?? 0) * bytes.length)
    return from + bytes.length
  }
  const names = [...tensorShapes(a).keys()]
  const permuted = permutedRows(a)
  const offsets = normOffsets(a)
  yield { type: 'phase', phase: 'export', total: names.length, unit: 'tensors' }
  for (const [i, name] of names.entries()) {
    signal?.throwIfAborted()
    const order = permuted.get(name)
    const offset = offsets.get(name)
    yield* saved.step(name, async () => {
      let at = 0
      for (const rows of partsOf(model, name)) {
        const values = await readPart(model, name, rows)
        const stored = () => new Float32Array(swappedRows(new Uint8Array(values.buffer), order!).buffer)
        const own = offset ? values.map(v => v + offset) : values
        at = await put(storedName(name, familyGraph(a))!, order ? stored() : own, name, at)
      }
    })
    yield { type: 'progress', done: i + 1 }
  }
  for (const [name, divisors] of ropeTensors(a)) await put(name, divisors)
  await file.close()
}

/** What llama.cpp adds to norms before it stores them, where it is not 0. */
const normOffsets = (a: Architecture): Map<string, number> =>
  new Map(
    [...a.halves.flatMap(normsOf), a.finalNorm!].flatMap(norm =>
      norm.offset ? normTensors(norm).map((name): [string, number] => [name, norm.offset!]) : [],
    ),
  )

/** The tensors whose rows llama.cpp has in another order, and what they are in transformers. */
function permutedRows(a: Architecture): Map<string, RowOrder> {
  const orders = attentionHalves(a).flatMap(({ inputs, heads, kvHeads, headSize, headwise }): [string, RowOrder][] => {
    if (headwise) return [[inputs[0].name, [1, heads, 3]]]
    const [q, k] = [heads, kvHeads].map((n, i): [string, RowOrder] => [inputs[i].name, [n, 2, headSize / 2]])
    return GRAPHS[ggufArchitecture(a)].permuted ? [q, k] : []
  })
  return new Map(orders.flatMap(([name, order]) => ['weight', 'bias'].map(kind => [`${name}.${kind}`, order])))
}
