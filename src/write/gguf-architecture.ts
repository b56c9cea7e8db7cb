// Which graph of llama.cpp runs a model, and what that depends on. Used by `gguf.ts` and `gguf-types.ts`.
import { type GgufArchitecture, GRAPHS } from '../checkpoint/gguf-architectures.ts'
import { type Architecture, attentionHalves } from '../model/architecture.ts'
import type { Rope } from '../model/half-block.ts'

/** The family's own where that takes the model; else `deci`, or `llama` where all layers are alike: both take biases wherever they are. */
export function ggufArchitecture(a: Architecture): GgufArchitecture {
  if (a.compact) return 'deci'
  const [{ heads, headSize }] = attentionHalves(a)
  const isPlain = heads * headSize === a.hiddenSize && ropeDivisors(a).kind === 'one'
  return isPlain || !GRAPHS[a.gguf!].plain ? a.gguf! : 'llama'
}

/** Of all layers. */
export const ropeOf = (a: Architecture): Rope => attentionHalves(a)[0].rope!

/** By what scaling divides the frequencies: all by one factor, or each by its own (Llama 3). */
export function ropeDivisors(a: Architecture): { kind: 'one' | 'any'; divisors: Float32Array<ArrayBuffer> } {
  const { theta, inverseFrequencies: scaled } = ropeOf(a)
  const e = 2 * scaled.length
  const divisors = Float32Array.from(scaled, (frequency, i) => theta ** ((-2 * i) / e) / frequency)
  return { kind: divisors.every(d => Math.abs(d / divisors[0] - 1) < 1e-6) ? 'one' : 'any', divisors }
}
