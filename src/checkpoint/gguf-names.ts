// Tensor names of a GGUF file and of its Hugging Face checkpoint, and the order of the rows of Q and K. llama.cpp
// rotates pairs of neighbours and transformers the halves of a head, so row (head, i, half) of the file is row
// (head, half, i) of the tensor; for GPT-NeoX row (q k or v, head, i) is row (head, q k or v, i).
// Source: llama.cpp, gguf-py/gguf/tensor_mapping.py, conversion/llama.py (`permute`) and gptneox.py.

/** Name in the file, and in transformers after the name of the layer. */
export type LayerNames = Readonly<Record<string, string>>

export interface GgufNames {
  /** What the names of layers in transformers begin with. */
  readonly layers: string
  /** Name in the file, and in transformers. */
  readonly outside: Readonly<Record<'token_embd' | 'output_norm' | 'output', string>>
  readonly names: LayerNames
}

export const LLAMA_NAMES = {
  layers: 'model.layers',
  outside: { token_embd: 'model.embed_tokens', output_norm: 'model.norm', output: 'lm_head' },
} as const

export const NEOX_NAMES = {
  layers: 'gpt_neox.layers',
  outside: { token_embd: 'gpt_neox.embed_in', output_norm: 'gpt_neox.final_layer_norm', output: 'embed_out' },
} as const

const LINEARS = {
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  ffn_gate: 'mlp.gate_proj',
  ffn_up: 'mlp.up_proj',
  ffn_down: 'mlp.down_proj',
} as const satisfies LayerNames

export const LLAMA_LAYER = {
  ...LINEARS,
  attn_norm: 'input_layernorm',
  ffn_norm: 'post_attention_layernorm',
} as const satisfies LayerNames

const HEAD_NORMS = { attn_q_norm: 'self_attn.q_norm', attn_k_norm: 'self_attn.k_norm' } as const

const NORMS_AFTER = {
  post_attention_norm: 'post_attention_layernorm',
  post_ffw_norm: 'post_feedforward_layernorm',
} as const

export const QWEN3_LAYER = {
  ...LLAMA_LAYER,
  ...HEAD_NORMS,
} as const satisfies LayerNames

export const GEMMA3_LAYER = {
  ...QWEN3_LAYER,
  ...NORMS_AFTER,
  ffn_norm: 'pre_feedforward_layernorm',
} as const satisfies LayerNames

/** OLMo 2 and 3, EXAONE 4: no norm before a branch. */
export const AFTER_LAYER = { ...LINEARS, ...HEAD_NORMS, ...NORMS_AFTER } as const satisfies LayerNames

export const PHI3_LAYER = {
  attn_norm: 'input_layernorm',
  attn_qkv: 'self_attn.qkv_proj',
  attn_output: 'self_attn.o_proj',
  ffn_norm: 'post_attention_layernorm',
  ffn_up: 'mlp.gate_up_proj',
  ffn_down: 'mlp.down_proj',
} as const satisfies LayerNames

/** Experts in place of an FFN: stacked in the file; one tensor each in transformers, named here by the first. */
const experts = (module: string, gate: string, up: string, down: string) => ({
  ffn_gate_inp: `${module}.gate`,
  ffn_gate_exps: `${module}.experts.0.${gate}`,
  ffn_up_exps: `${module}.experts.0.${up}`,
  ffn_down_exps: `${module}.experts.0.${down}`,
})

const { ffn_gate: _, ffn_up: __, ffn_down: ___, ...WITHOUT_FFN } = LLAMA_LAYER

export const MIXTRAL_LAYER = { ...WITHOUT_FFN, ...experts('block_sparse_moe', 'w1', 'w3', 'w2') } as const

/** Qwen3-MoE and OLMoE. */
export const MIXTURE_LAYER = {
  ...WITHOUT_FFN,
  ...HEAD_NORMS,
  ...experts('mlp', 'gate_proj', 'up_proj', 'down_proj'),
} as const

export const GLM4_LAYER = {
  attn_norm: 'input_layernorm',
  attn_q: 'self_attn.q_proj',
  attn_k: 'self_attn.k_proj',
  attn_v: 'self_attn.v_proj',
  attn_output: 'self_attn.o_proj',
  post_attention_norm: 'post_self_attn_layernorm',
  ffn_norm: 'post_attention_layernorm',
  ffn_up: 'mlp.gate_up_proj',
  ffn_down: 'mlp.down_proj',
  post_ffw_norm: 'post_mlp_layernorm',
} as const satisfies LayerNames

export const NEOX_LAYER = {
  attn_norm: 'input_layernorm',
  attn_qkv: 'attention.query_key_value',
  attn_output: 'attention.dense',
  ffn_norm: 'post_attention_layernorm',
  ffn_up: 'mlp.dense_h_to_4h',
  ffn_down: 'mlp.dense_4h_to_h',
} as const satisfies LayerNames

/** `model.layers.3.mlp.up_proj.weight` → `blk.3.ffn_up.weight`; undefined for a tensor that is unknown. */
export function storedName(name: string, { layers, outside, names }: GgufNames): string | undefined {
  const [, layer, module, kind] = new RegExp(`^(?:${layers}\\.(\\d+)\\.)?(.+)\\.(weight|bias)$`).exec(name) ?? []
  const first = module?.replace(/\.experts\.\d+\./, '.experts.0.')
  const stored = Object.entries(layer === undefined ? outside : names).find(([, own]) => own === first)?.[0]
  return stored && `${layer === undefined ? '' : `blk.${layer}.`}${stored}.${kind}`
}

/** Rows [n, a, b, …] of a tensor. */
export type RowOrder = readonly [n: number, a: number, b: number]

/** Rows [n, a, b, …] as [n, b, a, …]. A fresh copy. */
export function swappedRows(bytes: Uint8Array, [n, a, b]: RowOrder): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length)
  const size = bytes.length / (n * a * b)
  for (let from = 0; from < n * a * b; from++) {
    const [i, j, k] = [Math.floor(from / (a * b)), Math.floor(from / b) % a, from % b]
    out.set(bytes.subarray(from * size, (from + 1) * size), ((i * b + k) * a + j) * size)
  }
  return out
}
