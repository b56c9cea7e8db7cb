// What llama.cpp's graphs of dense decoders of LLaMA's kind take, by `general.architecture`. Source: llama.cpp,
// src/models/*.cpp by these names, and src/llama-model.cpp (`llama_model_rope_type`).
import type { GgufArchitecture } from './checkpoint.ts'
import {
  AFTER_LAYER,
  GEMMA3_LAYER,
  type GgufNames,
  GLM4_LAYER,
  LLAMA_LAYER,
  LLAMA_NAMES,
  MIXTRAL_LAYER,
  MIXTURE_LAYER,
  NEOX_LAYER,
  NEOX_NAMES,
  PHI3_LAYER,
  QWEN3_LAYER,
} from './gguf-names.ts'

export interface GgufGraph extends GgufNames {
  /** Rotates pairs of neighbours, so rows of Q and K are permuted; else the two halves of a head, as transformers. */
  readonly permuted: boolean
  /** Each layer has an FFN width of its own. */
  readonly perLayer: boolean
  /** It takes heads that fill the embedding alone. */
  readonly plain: boolean
  /** Frequency divisors that it takes: one set (Llama 3), or a set for short and one for long texts (LongRoPE). */
  readonly divisors: 'any' | 'long' | 'none'
  /** It can turn the first channels of a head alone. */
  readonly partial?: boolean
  /** Of so many layers the last turns nothing. */
  readonly withoutRope?: number
  /** With windows, and layers that turn nothing, it runs models of so many layers alone, and no such models without. */
  readonly hybridLayers?: number
  /** Q and K are normed as one vector of all heads; else each head by itself. */
  readonly wholeNorms: boolean
  /** It takes tied heads. */
  readonly tied: boolean
  /** Layers with windows have a base of the frequencies of their own. */
  readonly localTheta: boolean
  /** It has sliding windows: of so many layers all but the last, where the file does not say. */
  readonly windows?: number
  /** The file says what window the model has, which the graph does not. */
  readonly tellsWindow?: boolean
  /** It multiplies embeddings, scores, updates and logits by numbers in the file. */
  readonly multipliers?: boolean
  /** No other graph runs its models. */
  readonly own: boolean
  /** Biases of a graph of its own: of q, k and v where they are there, or always of all linear layers. @default none */
  readonly biases?: 'qkv' | 'all'
  /** FFNs without a gate, LayerNorms, and rows of q, k and v head by head in transformers (GPT-NeoX). */
  readonly neox?: boolean
  /** What norms multiply by is stored, 1 + γ, and not γ; else 0. */
  readonly normOffset: number
  /** Of FFNs. */
  readonly activations: readonly string[]
  /** Of mixtures. */
  readonly experts?: {
    /** It divides the gates of a token by their sum. */
    readonly normalised: boolean
    /** The key of their width. @default feed_forward_length */
    readonly width?: 'expert_feed_forward_length'
  }
  /** It takes as many KV heads as query heads alone. */
  readonly ungrouped?: boolean
  /** `general.architecture`. @default its name here */
  readonly architecture?: string
}

const LLAMA: GgufGraph = {
  permuted: true,
  perLayer: false,
  plain: false,
  divisors: 'any',
  wholeNorms: false,
  tied: true,
  localTheta: false,
  own: false,
  ...LLAMA_NAMES,
  names: LLAMA_LAYER,
  normOffset: 0,
  activations: ['silu'],
}

export const GRAPHS = {
  /** LLaMA and Mistral. */
  llama: LLAMA,
  /** NVIDIA's Nemotron. */
  deci: { ...LLAMA, perLayer: true },
  qwen2: { ...LLAMA, permuted: false, plain: true, divisors: 'none' },
  qwen3: { ...LLAMA, permuted: false, divisors: 'none', own: true, names: QWEN3_LAYER },
  smollm3: { ...LLAMA, divisors: 'none', own: true, withoutRope: 4 },
  gemma3: {
    ...LLAMA,
    permuted: false,
    divisors: 'none',
    own: true,
    names: GEMMA3_LAYER,
    windows: 6,
    localTheta: true,
    normOffset: 1,
    activations: ['gelu_tanh'],
  },
  exaone4: {
    ...LLAMA,
    permuted: false,
    plain: true,
    own: true,
    names: AFTER_LAYER,
    windows: 4,
    withoutRope: 4,
    hybridLayers: 64,
  },
  /** OLMo 2 and 3. */
  olmo2: {
    ...LLAMA,
    permuted: false,
    plain: true,
    divisors: 'none',
    own: true,
    tied: false,
    names: AFTER_LAYER,
    wholeNorms: true,
    windows: 4,
  },
  phi3: {
    ...LLAMA,
    permuted: false,
    plain: true,
    divisors: 'long',
    partial: true,
    own: true,
    names: PHI3_LAYER,
    tellsWindow: true,
  },
  /** Mixtral: the same graph with experts. */
  mixtral: { ...LLAMA, own: true, architecture: 'llama', names: MIXTRAL_LAYER, experts: { normalised: true } },
  qwen3moe: {
    ...LLAMA,
    permuted: false,
    divisors: 'none',
    own: true,
    names: MIXTURE_LAYER,
    experts: { normalised: true, width: 'expert_feed_forward_length' },
  },
  olmoe: {
    ...LLAMA,
    permuted: false,
    plain: true,
    divisors: 'none',
    own: true,
    tied: false,
    wholeNorms: true,
    ungrouped: true,
    names: MIXTURE_LAYER,
    experts: { normalised: false },
  },
  /** Ministral 3. */
  mistral3: { ...LLAMA, own: true },
  glm4: {
    ...LLAMA,
    permuted: false,
    divisors: 'none',
    partial: true,
    biases: 'qkv',
    own: true,
    names: GLM4_LAYER,
  },
  granite: { ...LLAMA, own: true, multipliers: true },
  /** llama.cpp computes either GELU by tanh. */
  gptneox: {
    ...LLAMA,
    permuted: false,
    plain: true,
    divisors: 'none',
    partial: true,
    biases: 'all',
    own: true,
    tied: false,
    ungrouped: true,
    neox: true,
    ...NEOX_NAMES,
    names: NEOX_LAYER,
    activations: ['gelu', 'gelu_tanh'],
  },
} as const satisfies Record<GgufArchitecture, GgufGraph>

/** Gemma 3's graph divides scores by the root of this. Source: src/models/gemma3.cpp, `f_attention_scale`. */
export const gemma3ScoreSize = (layers: number, hidden: number, heads: number, headSize: number): number =>
  layers === 62 ? hidden / heads : headSize
