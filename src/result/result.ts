// What a run gives: plain data, written to `fasp.json` and printed by `--json`. All reports are functions of it.
import type { VocabularyCut } from '../checkpoint/checkpoint.ts'
import type { Moved, Precision } from '../engine/engine.ts'
import type { Allocation } from '../method/allocate/sensitivity.ts'
import type { RemovedLayer } from '../method/baselines/influence.ts'
import type { Widths } from '../model/half-block.ts'
import type { ResolvedOptions, Trains } from '../options/options.ts'
import type { Sizes } from '../options/plan.ts'
import type { CalibrationSource } from '../text/calibration.ts'
import type { TextShare } from '../text/windows.ts'

/**
 * One half-block after pruning. Errors are squared output errors over the squared output, on the calibration
 * activations. A half-block that keeps all has a drift: how far it is from a target that makes up for earlier cuts.
 */
export interface HalfResult {
  /** Neurons, value rows (KV head · head size + channel), or of a mixture experts, that stay; ascending. */
  readonly kept: readonly number[]
  readonly errorBefore: number
  readonly errorAfter: number
  /** `errorAfter` on windows that are held out; absent where there are none. */
  readonly heldOutError?: number
  /** The largest damping that a factorisation took: of elimination, of aligned inputs, of the restoration. */
  readonly damp: number
}

export interface LayerResult {
  readonly attention?: HalfResult
  readonly ffn?: HalfResult
}

/** Mean negative log-likelihood in nats a token over some windows, dense and pruned. */
export interface WindowLoss {
  readonly windows: number
  readonly dense: number
  readonly pruned: number
}

/** What pruning cost on windows calibrated on, and on others of the same text. The gap between them is overfitting. */
export interface TextLoss {
  readonly calibratedOn: WindowLoss
  readonly heldOut: WindowLoss
}

/** What pruning to a sparsity cost, in nats a token on held-out windows. */
export interface Trial {
  readonly sparsity: number
  readonly cost: number
}

/** The part of a result that is the same in every run with the same input, options and version: `fasp.json`. */
export interface Recipe {
  readonly schema: 1
  readonly fasp: string
  /** `hubId`: its name on the Hub, where that is known. */
  readonly source: Readonly<{ name: string; hubId?: string; format: string; modelType: string }>
  /** Where it was cut, before all else. */
  readonly vocabulary?: VocabularyCut
  readonly options: ResolvedOptions
  /** Before pruning, and after it in each layer. */
  readonly widths: { readonly before: Widths; readonly after: readonly Widths[] }
  readonly sizes: Sizes
  /** Runs that looked for the sparsity, where `maxLoss` was asked for. */
  readonly trials?: readonly Trial[]
  /** With allocation by sensitivity: what was measured, and chosen. */
  readonly allocation?: Allocation
  /** Whole layers of the source that went, in this order. `layers` and `widths` are of those that stay. */
  readonly removedLayers?: readonly RemovedLayer[]
  readonly calibration: {
    readonly source: CalibrationSource
    readonly seqLen: number
    readonly texts: readonly (TextShare & { readonly loss?: TextLoss })[]
  }
  /** Of each layer that stays. */
  readonly layers: readonly LayerResult[]
  readonly notices: readonly string[]
  /** Where it was healed. */
  readonly healed?: HealRecord
}

/** Mean KL(dense ‖ model) on the held-out windows after a step, in nats a token. */
export interface Point {
  readonly step: number
  readonly kl: number
}

/** How a model was healed, as `fasp.json` says it. */
export interface HealRecord {
  /** Tokens trained on until the step that is kept. */
  readonly tokens: number
  /** The step that is kept, and all that were done. */
  readonly step: number
  readonly steps: number
  readonly batch: number
  /** The largest that led to this step. */
  readonly lr: number
  readonly train: Trains
  /** Of low-rank updates, where `train` is 'lora'. */
  readonly rank?: number
  /** Of half-blocks, where they were not in float32. */
  readonly products?: Precision
  /** Most likely tokens of the dense model that it went by; 0: all. */
  readonly top: number
  readonly seed: number
  /** Name of the dense model. */
  readonly dense: string
  /** Mean KL(dense ‖ model) of the next-token probabilities on held-out windows, in nats. */
  readonly kl: { readonly before: number; readonly after: number }
  /** The same after steps, from step 0 on. */
  readonly curve: readonly Point[]
  readonly calibration: {
    readonly source: CalibrationSource
    readonly seqLen: number
    readonly texts: readonly TextShare[]
    /** Other texts, of which all windows that were held out are. @default they are of those */
    readonly measuredOn?: readonly TextShare[]
  }
}

export interface PruneResult extends Recipe {
  /** Wall-clock seconds per phase. */
  readonly seconds: Readonly<Record<string, number>>
  /** Those of them that the engine ran, per kind of graph. */
  readonly engineSeconds: Readonly<Record<string, number>>
  /** Those in which it ran nothing, per stage (prune-half.ts), before `write`; `scratch`: for activations on disk. */
  readonly outsideSeconds: Readonly<Record<string, number>>
  /** Bytes that went over to a device with a memory of its own, and came back: in all, and in each layer. */
  readonly moved?: Moved & { readonly layers: readonly Moved[] }
}
