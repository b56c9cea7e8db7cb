// The compact layout: a `model_type` of its own, such as `fasp_llama`, with the stock config and one more field,
// `layer_widths`: a list of `{ "ffn": neurons, "values": [channels of each KV head] }`. What was removed is not stored.
//   v_proj [Σ values, d]: the rows of KV head 0, then those of head 1, …
//   o_proj [d, Σ values · h / k]: the columns of query head 0, as many as its KV head has channels, then of head 1, …
// transformers loads it with code that `auto_map` names (src/write/huggingface/python).
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import { type Architecture, attentionHalves, layersOf, withLayerWidths } from './architecture.ts'
import type { Config } from './config.ts'
import { type LayerWidths, withBiases } from './half-block.ts'

export const COMPACT_PREFIX = 'fasp_'
const FIELD = 'layer_widths'
/** Beside it: whether all linear layers of the decoder have a bias, where the family's own fields cannot say so. */
export const ADDED_BIASES = 'added_biases'

/** @throws UnsupportedModelError where the widths do not fit the architecture */
export function compact(a: Architecture, config: Config): Architecture {
  const list = config.json[FIELD]
  const layers = layersOf(a)
  if (!Array.isArray(list) || list.length !== layers)
    throw config.error(FIELD, Array.isArray(list) ? `${list.length} long` : list, `a list of ${layers} layers`)
  const attentions = attentionHalves(a)
  const widths = list.map((entry: unknown, i): LayerWidths => {
    const { kvHeads, headSize } = attentions[i]
    const { ffn, values } = (entry ?? {}) as Partial<LayerWidths>
    const within = (n: unknown, low: number, high: number) =>
      Number.isInteger(n) && Number(n) >= low && Number(n) <= high
    if (!within(ffn, 1, a.ffnWidth))
      throw config.error(`${FIELD}[${i}].ffn`, ffn, `an integer from 1 to ${a.ffnWidth} (${a.ffnWidthKey})`)
    if (!Array.isArray(values) || values.length !== kvHeads || !values.every(n => within(n, 0, headSize)))
      throw config.error(`${FIELD}[${i}].values`, values, `${kvHeads} integers from 0 to ${headSize}`)
    if (values.every(n => n === 0))
      throw config.error(`${FIELD}[${i}].values`, values, 'above 0 in at least one KV head')
    return { ffn: ffn as number, values }
  })
  const biased = config.flag(ADDED_BIASES, false) ? { ...a, halves: a.halves.map(withBiases) } : a
  return withLayerWidths(biased, widths)
}

/** Our Python files beside the weights. */
const CODE_FILES = ['configuration_fasp.py', 'modeling_fasp.py'] as const

/** How our Python classes begin; those of transformers that they follow come after it. */
const OURS = 'Fasp'

/** The fields of `config.json` that make it compact. `ffnWidth` stays the width of the model before. */
export function compactConfig(
  a: Pick<Architecture, 'classes' | 'headClass' | 'modelType'>,
  layerWidths: readonly LayerWidths[],
): Record<string, unknown> {
  const name = OURS + a.classes
  const withHead = `${OURS}${a.headClass ?? a.classes}ForCausalLM`
  return {
    model_type: `${COMPACT_PREFIX}${a.modelType}`,
    architectures: [withHead],
    auto_map: {
      AutoConfig: `configuration_fasp.${name}Config`,
      AutoModel: `modeling_fasp.${name}Model`,
      AutoModelForCausalLM: `modeling_fasp.${withHead}`,
    },
    [FIELD]: layerWidths,
  }
}

/** The config of the stock model, without what makes it compact. */
export function stockConfig(a: Architecture, config: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { [FIELD]: _, [ADDED_BIASES]: __, auto_map: ___, ...rest } = config
  const classes = Array.isArray(config.architectures) ? config.architectures : []
  return {
    ...rest,
    model_type: a.modelType,
    architectures: classes.map(name => String(name).replace(new RegExp(`^${OURS}`), '')),
  }
}

/** Python files that a compact folder should have and lacks. We read it without them, transformers does not. */
export const missingCode = ({ pythonFiles = [] }: Checkpoint): string[] =>
  CODE_FILES.filter(file => !pythonFiles.includes(file))
