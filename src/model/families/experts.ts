// What families of experts have in common: a router and FFNs of their own in each layer, in the place of one FFN. For `llamaLike`.
// Source: transformers `models/mixtral/modeling_mixtral.py`; tensors as `save_pretrained` of transformers 4 and 5 writes them.
import type { Config } from '../config.ts'
import type { LlamaFacts } from './llama.ts'

/** Published mixtures have up to 512. A list of them is made before any tensor is looked at. */
const MAX_EXPERTS = 2 ** 10

/**
 * @param module of the layer that holds them, and the modules of each: gate, up and down
 * @param keys of their number; the first that is there counts
 */
export function mixture(
  config: Config,
  [module, ...parts]: readonly [string, string, string, string],
  keys: readonly string[],
  usual: { readonly count: number; readonly active: number; readonly normalised: boolean },
): Pick<LlamaFacts, 'expertsKeys' | 'ffn' | 'experts'> {
  const key = keys.find(key => config.json[key] !== undefined) ?? keys[0]
  const count = config.size(key, usual.count, MAX_EXPERTS)
  const [gate, up, down] = parts.map(part => `${module}.experts.0.${part}`)
  return {
    expertsKeys: keys,
    ffn: [gate, up, down],
    experts: {
      router: `${module}.gate`,
      count,
      active: config.size('num_experts_per_tok', usual.active, count),
      normalised: config.flag('norm_topk_prob', usual.normalised),
    },
  }
}
