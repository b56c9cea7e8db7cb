// What `fasp bench` can run: shapes of models as data, and how many tokens to prune them on. Sizes are those of the published
// config.json of each model; weights are random (random-checkpoint.ts), so that nothing has to be downloaded.
import { notOneOf } from '../errors.ts'
import type { JsonObject } from '../formats/json.ts'

export interface Workload {
  readonly name: string
  /** `config.json` of the model. */
  readonly config: JsonObject
  readonly windows: number
  /** Tokens per window. */
  readonly seqLen: number
  /** Layers of the whole model, where this one has fewer: the result says what they would take. */
  readonly wholeLayers?: number
}

const llama = (sizes: JsonObject): JsonObject => ({
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  hidden_act: 'silu',
  rms_norm_eps: 1e-5,
  rope_theta: 10000,
  bos_token_id: 1,
  eos_token_id: 2,
  torch_dtype: 'bfloat16',
  ...sizes,
})

/** HuggingFaceTB/SmolLM2-135M */
const smollm2 = (layers: number) =>
  llama({
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: layers,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49152,
    max_position_embeddings: 8192,
    tie_word_embeddings: true,
    rope_theta: 100000,
  })

/** huggyllama/llama-7b, which has 32 layers */
const llama7b = (layers: number) =>
  llama({
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: layers,
    num_attention_heads: 32,
    num_key_value_heads: 32,
    vocab_size: 32000,
    max_position_embeddings: 2048,
    tie_word_embeddings: false,
  })

/** facebook/opt-125m */
const opt125m: JsonObject = {
  architectures: ['OPTForCausalLM'],
  model_type: 'opt',
  activation_function: 'relu',
  do_layer_norm_before: true,
  hidden_size: 768,
  word_embed_proj_dim: 768,
  ffn_dim: 3072,
  num_hidden_layers: 12,
  num_attention_heads: 12,
  vocab_size: 50272,
  max_position_embeddings: 2048,
  bos_token_id: 2,
  eos_token_id: 2,
  pad_token_id: 1,
  torch_dtype: 'bfloat16',
}

const tiny = llama({
  hidden_size: 64,
  intermediate_size: 192,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: 256,
  max_position_embeddings: 64,
  tie_word_embeddings: true,
})

export const WORKLOADS: readonly Workload[] = [
  { name: 'quick', config: smollm2(4), windows: 8, seqLen: 1024, wholeLayers: 30 },
  { name: 'smollm2', config: smollm2(30), windows: 64, seqLen: 1024 },
  { name: 'opt-125m', config: opt125m, windows: 32, seqLen: 2048 },
  { name: 'llama-7b-1', config: llama7b(1), windows: 4, seqLen: 512, wholeLayers: 32 },
  { name: 'llama-7b-4', config: llama7b(4), windows: 4, seqLen: 512, wholeLayers: 32 },
  { name: 'llama-7b-8', config: llama7b(8), windows: 4, seqLen: 512, wholeLayers: 32 },
]

/** For tests: done in a second, and no measure of anything. */
export const TINY: Workload = { name: 'tiny', config: tiny, windows: 2, seqLen: 32, wholeLayers: 4 }

/** @throws UsageError for a name that there is not */
export function findWorkload(name: string): Workload {
  const found = [...WORKLOADS, TINY].find(workload => workload.name === name)
  if (found) return found
  throw notOneOf(
    'workload',
    name,
    WORKLOADS.map(w => w.name),
  )
}
