// Tensors of a GGUF file and of the Hugging Face checkpoint that it stands for: names, and the order of the rows of Q and K. Where llama.cpp
// turns pairs of neighbours and transformers the two halves of a head, its converter permutes these rows:
// row (head, i, half) in the file is row (head, half, i) of the Hugging Face tensor.
// Source: llama.cpp, gguf-py/gguf/tensor_mapping.py and conversion/llama.py (`permute`).

/** Name in the file, and in transformers. */
export const OUTSIDE_LAYERS = {
  token_embd: 'model.embed_tokens',
  output_norm: 'model.norm',
  output: 'lm_head',
} as const

/** Name in the file, and in transformers after `model.layers.0.`. */
export type LayerNames = Readonly<Record<string, string>>

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

/** Experts in the place of the FFN: stacked in the file, in transformers one tensor each, of which the first is named here. */
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

/** `model.layers.3.mlp.up_proj.weight` → `blk.3.ffn_up.weight`; undefined for a tensor that these models do not have. */
export function storedName(name: string, inLayer: LayerNames): string | undefined {
  const [, layer, module, kind] = /^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$/.exec(name) ?? []
  const names = Object.entries(layer === undefined ? OUTSIDE_LAYERS : inLayer)
  const first = module?.replace(/\.experts\.\d+\./, '.experts.0.')
  const stored = names.find(([, own]) => own === first)?.[0]
  return stored && `${layer === undefined ? '' : `blk.${layer}.`}${stored}.${kind}`
}

/** Rows from the order of llama.cpp, [heads, headSize / 2, 2], to that of transformers, [heads, 2, headSize / 2]. A fresh copy. */
export const fromStoredRows = (bytes: Uint8Array, rows: number, heads: number): Uint8Array<ArrayBuffer> =>
  moveRows(bytes, rows, rows / heads, (row, headSize) => (row % 2) * (headSize / 2) + Math.floor(row / 2))

/** The inverse of `fromStoredRows`. */
export const toStoredRows = (bytes: Uint8Array, rows: number, heads: number): Uint8Array<ArrayBuffer> =>
  moveRows(bytes, rows, rows / heads, (row, headSize) => 2 * (row % (headSize / 2)) + Math.floor((2 * row) / headSize))

/** @param target where a row of a head goes in it */
function moveRows(
  bytes: Uint8Array,
  rows: number,
  headSize: number,
  target: (row: number, headSize: number) => number,
): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(bytes.length)
  const rowBytes = bytes.length / rows
  for (let row = 0; row < rows; row++) {
    const inHead = row % headSize
    const to = row - inHead + target(inHead, headSize)
    out.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), to * rowBytes)
  }
  return out
}
