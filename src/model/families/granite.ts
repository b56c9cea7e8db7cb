// Dense Granite 3 and 4: LLaMA with multipliers; Granite 4 has gate and up in one tensor.
// Source: transformers `modeling_….py` and `configuration_….py` of `models/granite` and `granitemoehybrid`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { attentionBiases, biasesOfAll, llamaLike } from './llama.ts'

export const granite = (config: Config): Family =>
  llamaLike(config, { classes: 'Granite', gguf: 'granite', ...biasesOfAll(config), ...multipliers(config) })

/** Without experts beside that FFN, and with attention in all layers, which transformers 4 and 5 call differently. */
export function graniteHybrid(given: Config): Family {
  const config = given.or({ shared_intermediate_size: 1024, num_local_experts: 8 })
  const { num_local_experts: experts } = config.json
  if (experts !== 0) throw config.error('num_local_experts', experts, '0: of Granite 4 dense models are supported')
  config.layerTypes(['attention', 'full_attention'], true) // without the list all are Mamba
  const turned = config.oneOf('position_embedding_type', 'nope', { rope: true, nope: false })
  return llamaLike(config, {
    classes: 'GraniteMoeHybrid',
    gguf: 'granite',
    layerType: 'attention',
    bias: attentionBiases(config),
    ...multipliers(config),
    ...(!turned && { rope: () => undefined }),
    ffnWidthKey: 'shared_intermediate_size',
    ffn: ['shared_mlp.input_linear', 'shared_mlp.input_linear', 'shared_mlp.output_linear'],
  })
}

const multipliers = (config: Config) => ({
  scale: config.number('attention_multiplier', 1),
  each: { updateScale: config.number('residual_multiplier', 1) },
  embeddingScale: config.number('embedding_multiplier', 1),
  logitScale: 1 / config.number('logits_scaling', 1),
})
