// result.json: everything about a run of `prune`, `eval`, `compare` or `heal`. All output, on a terminal and in HTML, is
// a pure function of it. `schema` rises when a reader of the old one would misread the new. Documented in docs/result.md.
import { baseName } from '../base/display.ts'
import { VERSION } from '../base/version.ts'
import { elements } from '../formats/tensors.ts'
import { type Architecture, layersOf, linearWeights, tensorShapes } from '../model/architecture.ts'
import { CONTINUATION, type Continuation, MEASURES } from '../result/measured.ts'
import type { PruneResult } from '../result/result.ts'
import { list, number, object, oneOf, optional, partOf, record, type Shaped, text, unchecked } from '../result/shape.ts'
import type { ExportResult } from '../write/export-result.ts'
import { HEALED, pruneResult } from './prune-shape.ts'

export type { DivergenceResult, Estimate, TaskResult, WordPerplexityResult } from '../result/measured.ts'

/** The schema that this version writes and reads. */
export const RESULT_SCHEMA = 1

export const RESULT_COMMANDS = ['prune', 'eval', 'compare', 'heal'] as const

/** Beside what an engine says (engine/facts.ts). */
const MACHINE = object({
  /** Absent, as `memoryBytes` may be, where a browser does not tell. */
  cpu: optional(text),
  /** As the operating system counts them. */
  cores: number,
  memoryBytes: optional(number),
  platform: text,
  /** One of both: the version of Node, or what the browser says that it is. */
  node: optional(text),
  browser: optional(text),
  ...{ onnxruntime: text, device: text, graphs: optional(text), blas: optional(text), openvino: optional(text) },
  ...{ threads: optional(number), deviceMemory: optional(number) },
})
export interface Machine extends Shaped<typeof MACHINE> {}

const MADE = {
  /** Version of fasp. */
  fasp: text,
  /** When, ISO 8601 in UTC. */
  created: text,
  machine: MACHINE,
}
const MADE_BY = object(MADE)

/** By what, when and where something was made. */
export interface Made extends Shaped<typeof MADE_BY> {}

const MODEL = object({
  /** Last part of its path, or its name on the Hub. */
  name: text,
  modelType: text,
  layers: number,
  /** Tied weights count once. */
  parameters: number,
  decoderLinears: number,
})
export interface ModelFacts extends Shaped<typeof MODEL> {}

const HASH = object({ file: text, sha256: text })

/** A text, or a task. */
export interface ContentHash extends Shaped<typeof HASH> {}

/** What was measured on. */
const MEASURED_ON = {
  text: list<ContentHash>(HASH),
  /** With hashes of the items. */
  tasks: list<ContentHash>(HASH),
  /** Items of each task; absent: all. */
  limit: optional(number),
}

const PROTOCOL = object({
  /** SHA-256 of the model's files. */
  model: text,
  ...MEASURED_ON,
  seqLen: number,
  /** Of each text; absent: all. */
  maxWindows: optional(list(number)),
  /** None where the model writes its own. */
  calibration: list<ContentHash>(HASH),
  samples: number,
  calibrationSeqLen: number,
  seed: number,
  /** Absent: float32. */
  products: optional(text),
  prompts: list(text),
  device: text,
})

/** What runs must have in common to be compared. */
export interface Protocol extends Shaped<typeof PROTOCOL> {}

/** `dense`: the model that divergences are from, as the user named it. */
const EVALUATION = object({ dense: optional(text), ...MEASURED_ON })

const RUN = object({
  /** `dense`, or the method with its options: `flap`, `best:alpha=0.25`. */
  name: text,
  /** Fraction of the decoder linears asked for; 0 for the dense model. */
  sparsity: number,
  /** Tokens that it was healed on after it was pruned. @default it was not */
  healed: optional(number),
  /** Of the model, where `prune` does not say; tied weights count once. @default those of the file's `model` */
  parameters: optional(number),
  /** How it was pruned: sizes, widths, errors, allocation, seconds. Absent for the dense model. */
  prune: optional<PruneResult>(pruneResult),
  /** Of `heal`: how it was healed, which `prune` has where that healed it. */
  heal: optional(HEALED),
  ...MEASURES,
  /** Of a short prompt through all layers, on the machine that pruned. */
  tokensPerSecond: optional(number),
  /** Greedy continuations. */
  samples: list<Continuation>(CONTINUATION),
  /** Wall-clock seconds per phase, pruning included. */
  seconds: record(number),
  /** Of the process, up to the end of pruning; of the dense model, up to the end of measuring. */
  peakMemoryBytes: optional(number),
  /** What the user was told of measuring; of pruning, `prune` has it. */
  notices: optional(list(text)),
  /** With `prune --to`. */
  exports: optional(list(partOf<ExportResult>({ to: text, dtype: text, folder: text, bytes: number }))),
  /** With `compare`: why there are no measures. */
  failed: optional(text),
  /** With `compare`: the options asked for, by which the run is known again. */
  asked: optional(record(unchecked<unknown>())),
  /** With `compare`, whose runs may be made on several days and machines. Absent: as the file. */
  made: optional<Made>(MADE_BY),
})

/** One model, dense or pruned, with what was measured of it. */
export interface Run extends Shaped<typeof RUN> {}

export const RESULT = object({
  schema: oneOf([RESULT_SCHEMA]),
  command: oneOf(RESULT_COMMANDS),
  ...MADE,
  /** The dense model; for `eval` the model that was measured. */
  model: MODEL,
  /** With `compare`: what all runs have in common. */
  protocol: optional<Protocol>(PROTOCOL),
  /** With `eval`: on what the model was measured. */
  evaluation: optional(EVALUATION),
  /** The dense model first, where it was measured. */
  runs: list<Run>(RUN),
})

/** With `compare`, what was made last; each run says its own. */
export interface ResultFile extends Shaped<typeof RESULT> {}

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
