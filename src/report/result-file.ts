// result.json: everything about a run of `prune`, `eval` or `compare`. All output, on a terminal and in HTML, is a pure function of it.
// Versioned: `schema` rises when a reader of the old one would misread the new. Documented in docs/result.md.
import type { DivergenceResult, PerplexityResult, PruneResult, TaskResult, WordPerplexityResult } from '../result.ts'

export type { DivergenceResult, Estimate, TaskResult, WordPerplexityResult } from '../result.ts'

export interface ResultFile {
  readonly schema: 1
  readonly command: 'prune' | 'eval' | 'compare'
  /** Version of fasp. */
  readonly fasp: string
  readonly machine: Machine
  readonly model: {
    readonly name: string
    readonly modelType: string
    readonly layers: number
    /** Tied weights count once. */
    readonly parameters: number
    readonly decoderLinears: number
  }
  /** The dense model first, where it was measured. */
  readonly runs: readonly Run[]
}

export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryBytes: number
  readonly platform: string
  readonly node: string
  readonly onnxruntime: string
  readonly device: string
  readonly threads: number
}

/** One model, dense or pruned, with what was measured of it. */
export interface Run {
  /** `dense`, or the method with what distinguishes it: `fasp`, `flap`, `preset best`. */
  readonly name: string
  /** Fraction of the decoder linears asked for; 0 for the dense model. */
  readonly sparsity: number
  /** How it was pruned: sizes, widths, errors, allocation, seconds. Absent for the dense model. */
  readonly prune?: PruneResult
  readonly perplexity: readonly PerplexityResult[]
  /** Against the dense model on the same windows; absent for the dense model. */
  readonly divergence?: readonly DivergenceResult[]
  readonly tasks: readonly TaskResult[]
  readonly wordPerplexity?: WordPerplexityResult
  /** Greedy continuations. */
  readonly samples: readonly { readonly prompt: string; readonly text: string }[]
  /** Wall-clock seconds per phase, pruning included. */
  readonly seconds: Readonly<Record<string, number>>
  readonly peakMemoryBytes?: number
}
