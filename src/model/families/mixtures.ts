// Families whose layers have a mixture of experts in place of the FFN. Source: transformers `modeling_….py` and
// `configuration_….py` of `models/mixtral`, `qwen3_moe` and `olmoe`; tensors as versions 4 and 5 write them.
import { MAX_EXPERTS } from '../../checkpoint/checkpoint.ts'
import type { Family } from '../architecture.ts'
import { Config } from '../config.ts'
import { attentionBiases, HEAD_NORMS, LLAMA_NORMS, type LlamaFacts, llamaLike } from './llama.ts'

const NORMED = { ...LLAMA_NORMS, attention: { ...LLAMA_NORMS.attention, ...HEAD_NORMS } }
const MLP = ['mlp', 'gate_proj', 'up_proj', 'down_proj'] as const

/** Mistral with experts. */
export function mixtral(given: Config): Family {
  const usual = { num_key_value_heads: 8, max_position_embeddings: 131072, rms_norm_eps: 1e-5, rope_theta: 1e6 }
  const config = given.or({ ...usual, sliding_window: null, num_local_experts: 8, num_experts_per_tok: 2 })
  const always = new Config(config.where, { ...config.json, norm_topk_prob: true }) // whatever it says
  const experts = mixture(always, ['block_sparse_moe', 'w1', 'w3', 'w2'], ['num_local_experts'])
  const window = () => config.sizeOrNull('sliding_window')
  return llamaLike(config, { classes: 'Mixtral', gguf: 'mixtral', window, ...experts })
}

/** Qwen3 with experts. Version 5 writes their number as `num_local_experts`. */
export function qwen3Moe(given: Config): Family {
  const usual = { num_key_value_heads: 4, max_position_embeddings: 32768, sliding_window: 4096, num_experts_per_tok: 8 }
  const config = given.or({ ...usual, ...(given.json.num_local_experts === undefined && { num_experts: 128 }) })
  const { decoder_sparse_step: step = 1, mlp_only_layers: dense } = config.json
  const all = 'no published Qwen3 has layers without experts'
  if (step !== 1) throw config.error('decoder_sparse_step', step, `1: ${all}`)
  if (Array.isArray(dense) && dense.length > 0) throw config.error('mlp_only_layers', dense, `empty: ${all}`)
  const window = config.flag('use_sliding_window', false) ? config.sizeOrNull('sliding_window') : undefined
  return llamaLike(config, {
    ...{ classes: 'Qwen3Moe', gguf: 'qwen3moe' as const, norms: NORMED, window: () => window },
    bias: attentionBiases(config),
    ffnWidthKey: 'moe_intermediate_size',
    ...mixture(config, MLP, ['num_experts', 'num_local_experts']),
  })
}

/** Queries and keys are normed as one vector of all heads. */
export function olmoe(given: Config): Family {
  const config = given.or({
    rms_norm_eps: 1e-5,
    max_position_embeddings: 4096,
    num_experts: 64,
    num_experts_per_tok: 8,
  })
  const { clip_qkv: clip = null } = config.json
  if (clip !== null) throw config.error('clip_qkv', clip, 'null: no published OLMoE clips')
  return llamaLike(config, {
    ...{ classes: 'Olmoe', gguf: 'olmoe' as const, norms: NORMED, wholeNorms: true },
    bias: attentionBiases(config),
    ...mixture(config, MLP, ['num_experts']),
  })
}

/**
 * @param module of a layer that holds the experts, and the modules of each: gate, up and down
 * @param keys of their number; the first that is there counts
 */
function mixture(
  config: Config,
  [module, ...parts]: readonly [string, string, string, string],
  keys: readonly string[],
) {
  const count = config.size(keys.find(key => config.json[key] !== undefined)!, undefined, MAX_EXPERTS)
  const [gate, up, down] = parts.map(part => `${module}.experts.0.${part}`)
  const active = config.size('num_experts_per_tok', undefined, count)
  const experts = { router: `${module}.gate`, count, active, normalised: config.flag('norm_topk_prob', false) }
  return { expertsKeys: keys, ffn: [gate, up, down], experts } satisfies Partial<LlamaFacts>
}
