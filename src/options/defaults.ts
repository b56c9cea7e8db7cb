// Default numbers of options: what the library takes, and the specification (spec.ts) says in help and documents.

export const DEFAULTS = { products: 'float32', heldOut: 2, seed: 0, memory: 1 } as const

/** A method that loads wherever the model loaded. */
export const DEFAULT_METHOD = 'stock'

/** Windows of texts that the user gives: the windows of the goldens. */
export const TEXT_WINDOWS = { windows: 32, seqLen: 1024 }
/** Windows that the model writes, token by token: fewer tokens. */
export const SELF_WINDOWS = { windows: 64, seqLen: 256 }
/** Methods best and stock: as many tokens, in windows that are shorter and see more places of a text. */
export const SHORT_WINDOWS = { tokens: 65536, heldOutTokens: 2048, seqLen: 512 }

export const HEAL_DEFAULTS = {
  tokens: 65536,
  seqLen: 512,
  heldOutTokens: 4096,
  stepTokens: 2048,
  memory: 4,
  rank: 16,
  /** Likely tokens of the dense model. */
  top: 1024,
  /** Largest rates of learning, by what is trained. */
  rates: { all: 1e-4, ffn: 1e-4, lora: 1e-3 },
  /** Measurements of a run. */
  measurements: 8,
} as const
