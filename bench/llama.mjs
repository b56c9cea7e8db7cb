// LLaMA checkpoints of real shapes for benchmarks: the config and the tensors of one.

const SIZES = {
  '7b': { d: 4096, f: 11008, vocabulary: 32000, layers: 32, heads: 32, groups: 32 }, // LLaMA 7B
  '30b': { d: 6656, f: 17920, vocabulary: 32000, layers: 60, heads: 52, groups: 52 }, // LLaMA 30B
  '70b': { d: 8192, f: 28672, vocabulary: 128256, layers: 80, heads: 64, groups: 8 }, // Llama 3 70B
  '405b': { d: 16384, f: 53248, vocabulary: 128256, layers: 126, heads: 128, groups: 8 }, // Llama 3 405B
}

/** @param size '7b', '30b', '70b' or '405b' */
export function llama(size) {
  const { d, f, vocabulary, layers, heads, groups } = SIZES[size]
  const config = {
    ...{
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      torch_dtype: 'bfloat16',
      tie_word_embeddings: false,
    },
    ...{ hidden_size: d, intermediate_size: f, num_hidden_layers: layers, vocab_size: vocabulary },
    ...{ num_attention_heads: heads, num_key_value_heads: groups },
  }
  return { config, layers, shapes: llamaShapes(config) }
}

/** The tensors of a config.json. */
export function llamaShapes({ hidden_size: d, intermediate_size: f, vocab_size: vocabulary, ...config }) {
  const { num_attention_heads: heads, num_key_value_heads: groups, num_hidden_layers: layers } = config
  const shapes = { 'model.embed_tokens.weight': [vocabulary, d] }
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`
    for (const name of ['input_layernorm', 'post_attention_layernorm']) shapes[`${at}.${name}.weight`] = [d]
    for (const name of ['q', 'o']) shapes[`${at}.self_attn.${name}_proj.weight`] = [d, d]
    for (const name of ['k', 'v']) shapes[`${at}.self_attn.${name}_proj.weight`] = [(d / heads) * groups, d]
    for (const name of ['gate', 'up']) shapes[`${at}.mlp.${name}_proj.weight`] = [f, d]
    shapes[`${at}.mlp.down_proj.weight`] = [d, f]
  }
  shapes['model.norm.weight'] = [d]
  if (!config.tie_word_embeddings) shapes['lm_head.weight'] = [vocabulary, d]
  return shapes
}

/** Length and header of a safetensors file of these tensors in BF16, and the bytes that are to follow. @param shapes of names */
export function header(shapes) {
  let end = 0
  const tensors = {}
  for (const [name, shape] of Object.entries(shapes)) {
    const bytes = 2 * shape.reduce((n, size) => n * size, 1)
    tensors[name] = { dtype: 'BF16', shape, data_offsets: [end, end + bytes] }
    end += bytes
  }
  const json = Buffer.from(JSON.stringify(tensors))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return { bytes: Buffer.concat([length, json]), follow: end }
}
