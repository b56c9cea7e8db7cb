// LLaMA: RMSNorm, rotary positions, gated FFN, grouped queries. Source: transformers `models/llama/modeling_llama.py`.
// Families that differ in a few facts begin with `llamaLike`.
import { ACTIVATIONS } from '../activations.ts'
import type { Family } from '../architecture.ts'
import type { Config } from '../config.ts'
import type { Activation, AttentionHalf, Experts, Norm, NormRole, Rope } from '../half-block.ts'
import { type RopeTurns, readRope } from '../rope.ts'

/** Names of a layer's norms by their roles. */
interface LayerNorms {
  readonly attention: Readonly<Partial<Record<NormRole, string>>>
  readonly ffn: Readonly<Partial<Record<NormRole, string>>>
}

export const LLAMA_NORMS = {
  attention: { before: 'input_layernorm' },
  ffn: { before: 'post_attention_layernorm' },
} as const satisfies LayerNorms

/** Norms of each query and key head. */
export const HEAD_NORMS = { query: 'self_attn.q_norm', key: 'self_attn.k_norm' } as const

/** Norms of queries and keys, and after each branch, none before. */
export const AFTER_NORMS = {
  attention: { ...HEAD_NORMS, after: 'post_attention_layernorm' },
  ffn: { after: 'post_feedforward_layernorm' },
} as const satisfies LayerNorms

/** What tells a family from LLaMA. */
export interface LlamaFacts extends Partial<Family> {
  readonly classes: string
  /** Linear layers that have one. @default none */
  readonly bias?: { readonly qkv?: boolean; readonly o?: boolean; readonly ffn?: boolean }
  /** Tokens that a token of this layer sees. @default all */
  readonly window?: (layer: number) => number | undefined
  /** What part of a head is turned, and how. @default all of it, in halves */
  readonly turns?: RopeTurns
  /** @default that of `readRope` */
  readonly rope?: (layer: number) => Rope | undefined
  /** @default `LLAMA_NORMS` */
  readonly norms?: LayerNorms
  /** @default RMS norms with weights, and `rms_norm_eps` */
  readonly norm?: Partial<Norm>
  /** Queries and keys are normed as one vector of all heads. @default each head by itself */
  readonly wholeNorms?: boolean
  /** Of each half-block. */
  readonly each?: Pick<AttentionHalf, 'updateScale' | 'parallel' | 'headwise'>
  /** Of the scores. @default headSize to the power −½ */
  readonly scale?: number
  /** @default by `hidden_act` */
  readonly activation?: Activation
  /** Modules of attention, the output layer last: those of one name are one. @default `LLAMA_ATTENTION` */
  readonly attention?: readonly string[]
  /** Modules of the FFN, the output layer last; of the first expert where it is a mixture. @default `LLAMA_FFN` */
  readonly ffn?: readonly string[]
  readonly experts?: Omit<Experts, 'router'> & { readonly router: string; readonly count: number }
}

const LLAMA_NAMES = { layers: 'model.layers', embedding: 'model.embed_tokens', head: 'lm_head' }
const LLAMA_ATTENTION = ['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj'] as const
const LLAMA_FFN = ['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'] as const

export const llama = (config: Config): Family =>
  llamaLike(config, { classes: 'Llama', gguf: 'llama', ...biasesOfAll(config) })

/** Those of attention, all or none. */
export function attentionBiases(config: Config) {
  const attention = config.flag('attention_bias', false)
  return { qkv: attention, o: attention }
}

/** Those of attention and of FFNs. */
export const biasesOfAll = (config: Config) =>
  ({
    bias: { ...attentionBiases(config), ffn: config.flag('mlp_bias', false) },
    biasFields: { attention_bias: true, mlp_bias: true },
  }) as const

export function llamaLike(config: Config, given: LlamaFacts): Family {
  const {
    bias = {},
    window,
    norms = LLAMA_NORMS,
    norm: ofNorms,
    wholeNorms,
    turns,
    rope,
    scale,
    each,
    attention = LLAMA_ATTENTION,
    ffn = LLAMA_FFN,
    experts: mixture,
    ...others
  } = given
  const { ffnWidthKey = 'intermediate_size', names = LLAMA_NAMES } = given
  const { activation = config.oneOf('hidden_act', 'silu', ACTIVATIONS), ...facts } = others
  const d = config.size('hidden_size')
  const { heads, kvHeads, headSize } = config.heads(d)
  const values = new Array<number>(kvHeads).fill(headSize)
  const oneRope = rope ? undefined : readRope(config, headSize, turns)
  const ffnWidth = config.size(ffnWidthKey)
  const epsilon = config.number('rms_norm_eps', 1e-6)
  const rows = [heads, kvHeads, kvHeads].map(count => count * headSize) // of q, k and v
  const [query, key] = wholeNorms ? rows : [headSize, headSize]
  const normed: Readonly<Record<string, number>> = { query, key }
  const norm = (name: string, size = d): Norm => ({ name, type: 'rms', size, epsilon, affine: true, ...ofNorms })
  return {
    hiddenSize: d,
    halves: config.layers(layer => {
      const at = (name: string) => `${names.layers}.${layer}.${name}`
      const linear = (name: string, out: number, input: number, bias = false) => ({
        name: at(name),
        out,
        in: input,
        bias,
      })
      const normsAt = (names: LayerNorms['ffn']) =>
        Object.fromEntries(Object.entries(names).map(([role, name]) => [role, norm(at(name), normed[role] ?? d)]))
      return [
        {
          kind: 'attention',
          layer,
          heads,
          kvHeads,
          headSize,
          values,
          scale: scale ?? 1 / Math.sqrt(headSize),
          rope: rope ? rope(layer) : oneRope,
          window: window?.(layer),
          norms: normsAt(norms.attention),
          inputs: rows.map((out, i) => linear(attention[i], out, d, bias.qkv)),
          output: linear(attention[3], d, rows[0], bias.o),
          coupled: [2],
          ...each,
        },
        {
          kind: 'ffn',
          layer,
          activation,
          norms: normsAt(norms.ffn),
          inputs: ffn.slice(0, -1).map(name => linear(name, ffnWidth, d, bias.ffn)),
          output: linear(ffn.at(-1)!, d, ffnWidth, bias.ffn),
          coupled: [...ffn.keys()].slice(0, -1),
          ...each,
          experts: mixture && {
            active: mixture.active,
            normalised: mixture.normalised,
            router: linear(mixture.router, mixture.count, d),
          },
        },
      ]
    }),
    compact: false,
    ffnWidth,
    ffnWidthKey,
    vocabularySize: config.size('vocab_size'),
    maxPositions: config.size('max_position_embeddings', 2048),
    tied: config.flag('tie_word_embeddings', false),
    finalNorm: norm('model.norm'),
    names,
    positionOffset: 0,
    embeddingSize: d,
    ...facts,
  }
}
