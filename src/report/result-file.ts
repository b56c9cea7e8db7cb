// result.json: everything about a run of `prune`, `eval`, `compare` or `heal`. All output, on a terminal and in HTML, is a pure function of it.
// Versioned: `schema` rises when a reader of the old one would misread the new. Documented in docs/result.md, read by parse-result.ts.

import { baseName } from '../base/display.ts'
import { VERSION } from '../base/version.ts'
import type { EngineFacts } from '../engine/facts.ts'
import type { Continuation } from '../evaluate/continuations.ts'
import { elements } from '../formats/tensors.ts'
import { type Architecture, layersOf, linearWeights, tensorShapes } from '../model/architecture.ts'
import type {
  DivergenceResult,
  HealRecord,
  PerplexityResult,
  PruneResult,
  TaskResult,
  WordPerplexityResult,
} from '../result/result.ts'
import type { ExportResult } from '../write/export-result.ts'

export type { DivergenceResult, Estimate, TaskResult, WordPerplexityResult } from '../result/result.ts'

/** The schema that this version writes and reads. */
export const RESULT_SCHEMA = 1

export const RESULT_COMMANDS = ['prune', 'eval', 'compare', 'heal'] as const

/** By what, when and where something was made. */
export interface Made {
  /** Version of fasp. */
  readonly fasp: string
  /** When, ISO 8601 in UTC. */
  readonly created: string
  readonly machine: Machine
}

/** With `compare`, what was made last; each run says its own. */
export interface ResultFile extends Made {
  readonly schema: typeof RESULT_SCHEMA
  readonly command: (typeof RESULT_COMMANDS)[number]
  /** The dense model; for `eval` the model that was measured. */
  readonly model: ModelFacts
  /** With `compare`: what all runs have in common. */
  readonly protocol?: Protocol
  /** With `eval`: on what the model was measured. */
  readonly evaluation?: Evaluation
  /** The dense model first, where it was measured. */
  readonly runs: readonly Run[]
}

/** What runs must have in common to be compared. */
export interface Protocol {
  /** SHA-256 of the model's files. */
  readonly model: string
  readonly text: readonly ContentHash[]
  readonly seqLen: number
  /** Of each text; absent: all. */
  readonly maxWindows?: readonly number[]
  /** With hashes of the items. */
  readonly tasks: readonly ContentHash[]
  /** Items of each task; absent: all. */
  readonly limit?: number
  /** None where the model writes its own. */
  readonly calibration: readonly ContentHash[]
  readonly samples: number
  readonly calibrationSeqLen: number
  readonly seed: number
  /** Absent: float32. */
  readonly products?: string
  readonly prompts: readonly string[]
  readonly device: string
}

/** What `fasp eval` read beside the model. */
export interface Evaluation {
  /** The model that divergences are from, as the user named it. */
  readonly dense?: string
  readonly text: readonly ContentHash[]
  /** With hashes of the items. */
  readonly tasks: readonly ContentHash[]
  /** Items of each task; absent: all. */
  readonly limit?: number
}

/** A text, or a task. */
export interface ContentHash {
  readonly file: string
  readonly sha256: string
}

export interface ModelFacts {
  /** Last part of its path, or its name on the Hub. */
  readonly name: string
  readonly modelType: string
  readonly layers: number
  /** Tied weights count once. */
  readonly parameters: number
  readonly decoderLinears: number
}

export interface Machine extends EngineFacts {
  /** Absent, as `memoryBytes` may be, where a browser does not tell. */
  readonly cpu?: string
  /** As the operating system counts them. */
  readonly cores: number
  readonly memoryBytes?: number
  readonly platform: string
  /** One of both: the version of Node, or what the browser says that it is. */
  readonly node?: string
  readonly browser?: string
}

/** One model, dense or pruned, with what was measured of it. */
export interface Run {
  /** `dense`, or the method with its options: `flap`, `best:alpha=0.25`. */
  readonly name: string
  /** Fraction of the decoder linears asked for; 0 for the dense model. */
  readonly sparsity: number
  /** Tokens that it was healed on after it was pruned. @default it was not */
  readonly healed?: number
  /** Of the model, where `prune` does not say; tied weights count once. @default those of the file's `model` */
  readonly parameters?: number
  /** How it was pruned: sizes, widths, errors, allocation, seconds. Absent for the dense model. */
  readonly prune?: PruneResult
  /** Of `heal`: how it was healed, which `prune` has where that healed it. */
  readonly heal?: Pick<HealRecord, 'tokens' | 'step' | 'steps' | 'dense' | 'kl' | 'curve'>
  readonly perplexity: readonly PerplexityResult[]
  /** Against the dense model on the same windows; absent for the dense model. */
  readonly divergence?: readonly DivergenceResult[]
  readonly tasks: readonly TaskResult[]
  readonly wordPerplexity?: WordPerplexityResult
  /** Of a short prompt through all layers, on the machine that pruned. */
  readonly tokensPerSecond?: number
  /** Greedy continuations. */
  readonly samples: readonly Continuation[]
  /** Wall-clock seconds per phase, pruning included. */
  readonly seconds: Readonly<Record<string, number>>
  /** Of the process, up to the end of pruning; of the dense model, up to the end of measuring. */
  readonly peakMemoryBytes?: number
  /** What the user was told of measuring; of pruning, `prune` has it. */
  readonly notices?: readonly string[]
  /** With `prune --to`. */
  readonly exports?: readonly ExportResult[]
  /** With `compare`: why there are no measures. */
  readonly failed?: string
  /** With `compare`: the options asked for, by which the run is known again. */
  readonly asked?: Readonly<Record<string, unknown>>
  /** With `compare`, whose runs may be made on several days and machines. Absent: as the file. */
  readonly made?: Made
}

/** A run that pruned. */
export type PrunedRun = Run & { readonly prune: PruneResult }

export const prunedRuns = ({ runs }: Pick<ResultFile, 'runs'>): PrunedRun[] =>
  runs.filter((run): run is PrunedRun => run.prune !== undefined)

export const isDense = (run: Run): boolean => run.prune === undefined && run.sparsity === 0

export const healingOf = (run: Run): Run['heal'] => run.prune?.healed ?? run.heal

/** The facts of a model that go into a result. @param path of the model, of which the last part is its name */
export function modelFacts(path: string, a: Architecture): ModelFacts {
  return {
    name: baseName(path),
    modelType: a.modelType,
    layers: layersOf(a),
    parameters: [...tensorShapes(a).values()].reduce((n, shape) => n + elements(shape), 0),
    decoderLinears: linearWeights(a),
  }
}

export const madeNow = (machine: Machine): Made => ({ fasp: VERSION, created: new Date().toISOString(), machine })

/** What made a run of this result. */
export const madeOf = (run: Run, { fasp, created, machine }: Made): Made => run.made ?? { fasp, created, machine }

/** A result of this version, made now. */
export const resultFile = (
  of: Pick<ResultFile, 'command' | 'machine' | 'model' | 'protocol' | 'evaluation' | 'runs'>,
): ResultFile => ({
  schema: RESULT_SCHEMA,
  ...madeNow(of.machine),
  ...of,
})

/** How a run is called: its method, with its options; a preset of earlier versions. */
export const runName = ({
  options: { preset, method },
}: {
  readonly options: { readonly preset?: unknown; readonly method?: unknown }
}): string => (preset ? `preset ${preset}` : String(method ?? 'plain'))

/** The contents of a result file. JSON has no NaN and no infinity: `null` stands for them, and is read as NaN. */
export const serializeResult = (result: ResultFile): string => `${JSON.stringify(result)}\n`
