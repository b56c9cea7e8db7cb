// The small files of an output folder: config.json with only the width changed, tokenizer files, model card, fasp.json.
import { jsonFile, type SideFile } from '../checkpoint/checkpoint.ts'
import type { Architecture, LayerWidths } from '../model/architecture.ts'
import { compactConfig } from '../model/compact.ts'
import type { Model } from '../model/model.ts'
import type { Plan } from '../plan.ts'
import type { Recipe } from '../result.ts'
import { modelCard } from './card.ts'

/** Names of element types in `config.json`. */
const TORCH_DTYPES: Readonly<Record<string, string>> = {
  F64: 'float64',
  F32: 'float32',
  F16: 'float16',
  BF16: 'bfloat16',
}

export function folderFiles(model: Model, plan: Plan, recipe: Recipe): SideFile[] {
  return [
    jsonFile('config.json', outputConfig(model, plan, recipe)),
    ...model.checkpoint.sideFiles,
    { name: 'README.md', bytes: new TextEncoder().encode(modelCard(model, recipe)) },
    jsonFile('fasp.json', recipe),
  ]
}

function outputConfig({ checkpoint, architecture: a }: Model, plan: Plan, recipe: Recipe): Record<string, unknown> {
  const { config } = checkpoint
  return {
    ...config,
    ...(recipe.options.layout === 'compact'
      ? compactConfig(a, layerWidths(a, recipe.layers))
      : { [a.ffnWidthKey]: plan.stored[0].ffn }),
    tie_word_embeddings: a.tied, // explicit: transformers 4 and 5 differ in the default
    ...dtypeFields(
      config,
      plan.tensors.map(({ dtype }) => dtype),
    ),
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

/** What each layer keeps. */
const layerWidths = (a: Architecture, layers: Recipe['layers']): LayerWidths[] =>
  layers.map(({ attention, ffn }) => ({
    ffn: ffn?.kept.length ?? a.ffnWidth,
    values: Array.from({ length: a.kvHeads }, (_, head) =>
      attention ? attention.kept.filter(row => Math.floor(row / a.headSize) === head).length : a.headSize,
    ),
  }))
