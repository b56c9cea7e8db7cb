// The small files of an output folder: config.json, tokenizer files, fasp.json, and Python code for the compact layout.
import { jsonFile, type SideFile, textFile } from '../../checkpoint/checkpoint.ts'
import { type Architecture, attentionHalves, ffnHalves } from '../../model/architecture.ts'
import { compactConfig } from '../../model/compact.ts'
import type { LayerWidths } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import type { Plan } from '../../options/plan.ts'
import type { Recipe } from '../../result/result.ts'
import { withKept } from '../model.ts'
import { codeFiles } from './code-files.ts'

/** Names of element types in `config.json`. */
const TORCH_DTYPES: Readonly<Record<string, string>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
}

export function folderFiles(model: Model, plan: Plan, recipe: Recipe): SideFile[] {
  return [
    configFile(outputConfig(model, plan, recipe)),
    ...model.checkpoint.sideFiles,
    jsonFile('fasp.json', recipe),
    ...(recipe.options.layout === 'compact' ? codeFiles(model.architecture) : []),
  ]
}

/** Fields that need a decimal point: transformers 4 warns of 8 in place of 8.0, and transformers 5 refuses it. */
const FLOATS = 'rope_theta|rotary_pct|rope_local_base_freq|router_jitter_noise|router_aux_loss_coef|\\w*factor'
const WHOLE = new RegExp(`("(?:${FLOATS})": \\d+|"time_step_limit": \\[\\s*\\d+)(?=,?\\n)`, 'g')

export const configFile = (config: Record<string, unknown>): SideFile =>
  textFile('config.json', `${JSON.stringify(config, null, 2)}\n`.replace(WHOLE, '$1.0'))

function outputConfig({ checkpoint, architecture: a }: Model, plan: Plan, recipe: Recipe): Record<string, unknown> {
  const { config } = checkpoint
  return {
    ...config,
    ...olderRope(config, a),
    ...(recipe.options.layout === 'compact'
      ? compactConfig(a, keptWidths(a, recipe.layers))
      : { [a.ffnWidthKey]: plan.stored[0].ffn, ...layerFields(config, a, plan.layers.after) }),
    ...plan.biasFields,
    ...expertFields(plan.architecture),
    ...olderLayerTypes(plan.architecture),
    tie_word_embeddings: a.tied, // explicit: transformers 4 and 5 differ in the default
    ...dtypeFields(
      config,
      plan.tensors.map(({ dtype }) => dtype),
    ),
  }
}

/** Those that say how many experts a mixture has, as transformers 4 and 5 read them, and how many a token goes to. */
function expertFields(a: Architecture): Record<string, unknown> {
  const [{ experts }] = ffnHalves(a)
  return experts
    ? {
        ...Object.fromEntries(a.expertsKeys!.map(key => [key, experts.router.out])),
        num_experts_per_tok: experts.active,
      }
    : {}
}

/** transformers 5 reads these, too; transformers 4, transformers.js and llama.cpp's converter know no others. */
export const olderLayerTypes = (a: Architecture): Record<string, unknown> =>
  a.layerType ? { layer_types: attentionHalves(a).map(() => a.layerType) } : {}

/** The fields of `config.json` that say something of each layer, for those of the source that stay. */
function layerFields(
  source: Record<string, unknown>,
  a: Architecture,
  layers: readonly number[],
): Record<string, unknown> {
  const { max_window_layers: first } = source
  const types = attentionHalves(a).map(({ window }) => (window ? 'sliding_attention' : 'full_attention'))
  // By their numbers, where they are not listed: those that stay get others.
  const unlisted = !source.layer_types && new Set(types).size > 1 && layers.length < types.length
  const config = unlisted ? { ...source, layer_types: types } : source
  const lists = ['layer_types', 'no_rope_layers'].filter(key => Array.isArray(config[key]))
  return {
    num_hidden_layers: layers.length,
    ...Object.fromEntries(lists.map(key => [key, layers.map(layer => (config[key] as unknown[])[layer])])),
    ...(typeof first === 'number' && { max_window_layers: layers.filter(layer => layer < first).length }),
  }
}

/** The fields of `config.json` that name the type of most tensors. */
export function dtypeFields(config: Readonly<Record<string, unknown>>, dtypes: readonly string[]) {
  const types = new Map<string, number>()
  for (const dtype of dtypes) types.set(dtype, (types.get(dtype) ?? 0) + 1)
  const [common] = [...types].sort((x, y) => y[1] - x[1])[0]
  const keys = ['dtype', 'torch_dtype'].filter(key => key in config) // transformers 5 and 4
  return Object.fromEntries((keys.length > 0 ? keys : ['torch_dtype']).map(key => [key, TORCH_DTYPES[common]]))
}

/** transformers 4 reads these two fields, and takes defaults where only version 5's `rope_parameters` is there. */
function olderRope({ rope_parameters: rope }: Model['checkpoint']['config'], a: Architecture): Record<string, unknown> {
  if (!rope) return {}
  const [theta, part] = a.ropeFields ?? ['rope_theta', 'partial_rotary_factor']
  const { full_attention: full = rope, sliding_attention: local } = rope as Record<string, Record<string, unknown>>
  const { rope_theta, partial_rotary_factor, ...scaling } = full as Record<string, unknown>
  const { rope_type: type = 'default', short_factor, long_factor, factor, attention_factor } = scaling
  const usual = short_factor && !factor && !attention_factor
  const longRope = usual ? { type, short_factor, long_factor } : undefined // transformers 4 allows no other field
  return {
    ...(rope_theta !== undefined && { [theta]: rope_theta }),
    ...(partial_rotary_factor !== undefined && { [part]: partial_rotary_factor }),
    ...(local && { rope_local_base_freq: local.rope_theta }), // Gemma 3
    rope_scaling: type === 'default' ? null : (longRope ?? scaling),
  }
}

/** What each layer keeps. */
const keptWidths = (a: Architecture, layers: Recipe['layers']): LayerWidths[] => {
  const attentions = attentionHalves(a)
  return layers.map(({ attention, ffn }, i) => ({
    ffn: ffn?.kept.length ?? a.ffnWidth,
    values: (attention ? withKept(attentions[i], Int32Array.from(attention.kept)) : attentions[i]).values,
  }))
}
