// Granite 3, dense, and Granite 4 as GGUF has it: LLaMA with multipliers of embeddings, scores, updates and logits. Source: transformers
// `models/granite/modeling_granite.py` and `configuration_granite.py`.
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import { biasesOfAll, llamaLike } from './llama.ts'

export const granite = (config: Config): Family =>
  llamaLike(config, {
    classes: 'Granite',
    gguf: 'granite',
    ...biasesOfAll(config),
    scale: config.number('attention_multiplier', 1),
    each: { updateScale: config.number('residual_multiplier', 1) },
    embeddingScale: config.number('embedding_multiplier', 1),
    logitScale: 1 / config.number('logits_scaling', 1),
  })
