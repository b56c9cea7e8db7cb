// Mixtral: Mistral with a mixture of experts. Source: transformers `models/mixtral/modeling_mixtral.py` and `configuration_mixtral.py`.
import type { Architecture } from '../architecture.ts'
import { Config } from '../config.ts'
import { mixture } from './experts.ts'
import { llamaLike } from './llama.ts'

export function mixtral(given: Config): Architecture {
  const config = given.or({
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    rope_theta: 1e6,
    rms_norm_eps: 1e-5,
    sliding_window: null,
  })
  const window = config.sizeOrNull('sliding_window')
  const always = new Config(config.where, { ...config.json, norm_topk_prob: true }) // whatever it says
  return llamaLike(config, {
    modelType: 'mixtral',
    classes: 'Mixtral',
    bias: { qkv: false, o: false, ffn: false },
    window: () => window,
    ...mixture(always, ['block_sparse_moe', 'w1', 'w3', 'w2'], ['num_local_experts'], {
      count: 8,
      active: 2,
      normalised: true,
    }),
  })
}
