// A checkpoint with its architecture: every tensor is there and has the shape that the config promises.
import { FormatError, NumericError, UnsupportedModelError } from '../base/errors.ts'
import { describeValue } from '../base/json.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { PAGE } from '../checkpoint/nearest.ts'
import { firstNotFinite, isDType, isFloat, toFloat32 } from '../formats/dtype.ts'
import type { DType } from '../formats/tensors.ts'
import { type Architecture, type Family, ffnCount, tensorShapes } from './architecture.ts'
import { COMPACT_PREFIX, compact } from './compact.ts'
import { Config } from './config.ts'
import { exaone4 } from './families/exaone4.ts'
import { gemma3 } from './families/gemma3.ts'
import { glm4 } from './families/glm4.ts'
import { gptNeox } from './families/gpt-neox.ts'
import { granite, graniteHybrid } from './families/granite.ts'
import { llama } from './families/llama.ts'
import { ministral3, mistral } from './families/mistral.ts'
import { mixtral, olmoe, qwen3Moe } from './families/mixtures.ts'
import { olmo2, olmo3 } from './families/olmo2.ts'
import { opt } from './families/opt.ts'
import { phi3 } from './families/phi3.ts'
import { qwen2 } from './families/qwen2.ts'
import { qwen3 } from './families/qwen3.ts'
import { smollm3 } from './families/smollm3.ts'
import { nearestFamily } from './nearest.ts'
import { checkRecipe } from './recipe.ts'

const FAMILIES: Readonly<Record<string, (config: Config) => Family>> = {
  llama,
  mistral,
  opt,
  gpt_neox: gptNeox,
  phi3,
  granite,
  granitemoehybrid: graniteHybrid,
  ministral3,
  glm4,
  qwen2,
  qwen3,
  qwen3_moe: qwen3Moe,
  mixtral,
  olmoe,
  smollm3,
  gemma3_text: gemma3,
  olmo2,
  olmo3,
  exaone4,
}

export interface Model {
  readonly checkpoint: Checkpoint
  readonly architecture: Architecture
}

/**
 * Reads the architecture from the config and checks the tensors against it, without reading any weight.
 * @throws UnsupportedModelError for an unknown `model_type` or sizes that do not fit together
 * @throws FormatError for a missing tensor or one of another shape, and for a `fasp.json` of other weights
 */
export function describeModel(checkpoint: Checkpoint): Model {
  const { config, name, tensors } = checkpoint
  const architecture = architectureOf(name, config, tensors)
  const [least, all] = [ffnCount(architecture), tensors.tensors.size]
  if (least > all)
    throw new FormatError(
      name,
      `config.json calls for ${least} layers, or experts in layers, but there are ${all} tensors in all.`,
    )
  const shapes = tensorShapes(architecture)
  for (const [tensor, shape] of shapes) {
    const info = tensors.tensors.get(tensor)
    if (!info) throw new FormatError(name, `the tensor ${tensor} [${shape}] that config.json calls for is missing.`)
    if (info.shape.length !== shape.length || info.shape.some((n, i) => n !== shape[i]))
      throw new FormatError(name, `${tensor} has shape [${info.shape}]; config.json calls for [${shape}].`)
    if (isDType(info.dtype) && !isFloat(info.dtype))
      throw new FormatError(
        name,
        `${tensor} is of type ${info.dtype}; weights are floating-point or a quantisation of GGUF.`,
      )
  }
  const prefix = `${architecture.names.layers}.`
  const foreign = [...tensors.tensors.keys()].find(tensor => tensor.startsWith(prefix) && !shapes.has(tensor))
  if (foreign)
    throw new UnsupportedModelError(
      `${name}: ${foreign} is no part of a ${architecture.modelType} layer as config.json describes it. ` +
        'Is model_type right?',
    )
  checkRecipe(architecture, checkpoint)
  return { checkpoint, architecture }
}

const read = (modelType: string, fields: Config): Architecture => ({ ...FAMILIES[modelType](fields), modelType })

/** What `config.json` says. @param tensors for the message of a refusal @throws UnsupportedModelError */
export function architectureOf(
  name: string,
  config: Checkpoint['config'],
  tensors?: Checkpoint['tensors'],
): Architecture {
  const fields = new Config(`${name}, config.json`, config)
  const type = config.model_type
  const isCompact = typeof type === 'string' && type.startsWith(COMPACT_PREFIX)
  const family = isCompact ? type.slice(COMPACT_PREFIX.length) : type
  if (typeof family !== 'string' || !Object.hasOwn(FAMILIES, family)) {
    const all = Object.keys(FAMILIES)
    const nearest = tensors ? nearestFamily(all, read, fields, tensors) : ''
    throw new UnsupportedModelError(
      `${name}: model_type ${describeValue(type)} is not supported; supported are ${all.join(', ')}.${nearest} ${PAGE}`,
    )
  }
  if (config.quantization_config)
    throw new UnsupportedModelError(
      `${name}: config.json has a quantization_config; quantised folders cannot be pruned. ` +
        'Fetch the model that was not quantised, or a .gguf.',
    )
  const architecture = read(family, fields)
  return isCompact ? compact(architecture, fields) : architecture
}

/** Tensors of the checkpoint that the architecture does not use. */
export function unusedTensors({ architecture, checkpoint }: Model): string[] {
  const known = tensorShapes(architecture)
  return [...checkpoint.tensors.tensors.keys()].filter(name => !known.has(name))
}

/**
 * Reads one tensor as float32.
 * @throws NumericError where a value is NaN or infinite
 */
export const readWeights = async (model: Model, tensor: string): Promise<Float32Array<ArrayBuffer>> =>
  (await fetchWeights(model, tensor))()

/** Reads a tensor as stored, where it is dense. The result gives float32 values, and throws as `readWeights`. */
export async function fetchWeights(model: Model, tensor: string): Promise<() => Float32Array<ArrayBuffer>> {
  const { tensors } = model.checkpoint
  const { dtype } = tensors.tensors.get(tensor)!
  if (!isDType(dtype)) {
    const values = await tensors.float32(tensor)
    checkFinite(model, tensor, values, 'F32')
    return () => values
  }
  const stored = await tensors.bytes(tensor)
  return () => {
    checkFinite(model, tensor, stored, dtype)
    return toFloat32(stored, dtype)
  }
}

/** Reads the rows `ids` (ascending) of a matrix as float32. @throws as `readWeights` */
export async function readRows(model: Model, tensor: string, ids: Int32Array): Promise<Float32Array<ArrayBuffer>> {
  const values = await model.checkpoint.tensors.rows(tensor, ids)
  const width = values.length / ids.length
  checkFinite(model, tensor, values, 'F32', i => ids[Math.floor(i / width)] * width + (i % width))
  return values
}

/**
 * Reads one tensor as it is stored.
 * @throws NumericError where a value is NaN or infinite
 * @throws UsageError for a block-quantised tensor
 */
export async function readStored(model: Model, tensor: string): Promise<Uint8Array<ArrayBuffer>> {
  const { tensors } = model.checkpoint
  const bytes = await tensors.bytes(tensor)
  checkFinite(model, tensor, bytes, tensors.tensors.get(tensor)!.dtype as DType)
  return bytes
}

/** @param place of an element of `stored` among those of the tensor. @default the same */
function checkFinite(
  { checkpoint }: Model,
  tensor: string,
  stored: Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
  dtype: DType,
  place = (i: number) => i,
): void {
  const bad = firstNotFinite(stored, dtype)
  if (bad < 0) return
  const value = stored instanceof Uint8Array ? toFloat32(stored, dtype)[bad] : stored[bad]
  throw new NumericError(
    `${checkpoint.name}: ${tensor} holds ${value} at element ${place(bad)}. The checkpoint is damaged; fetch it again.`,
  )
}
