// What the graphs of llama.cpp that run a dense decoder of LLaMA's kind take, by `general.architecture`: read by `gguf.ts`, and by the writer.
// Source: llama.cpp, src/models/llama.cpp, deci.cpp and qwen2.cpp; src/llama-model.cpp (`llama_model_rope_type`).

interface Graph {
  /** It turns pairs of neighbours, for which the rows of Q and K are permuted; or else the two halves of a head, as transformers does. */
  readonly permuted: boolean
  /** Each layer has an FFN width of its own. */
  readonly perLayer: boolean
  /** It takes heads that fill the embedding alone, and no divisors of the frequencies. */
  readonly plain: boolean
}

export const GRAPHS = {
  /** LLaMA and Mistral. */
  llama: { permuted: true, perLayer: false, plain: false },
  /** NVIDIA's Nemotron. */
  deci: { permuted: true, perLayer: true, plain: false },
  qwen2: { permuted: false, perLayer: false, plain: true },
} as const satisfies Record<string, Graph>

export type GgufArchitecture = keyof typeof GRAPHS
