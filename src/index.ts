// Public API that runs everywhere. Files, paths and the CPU engine of Node are added in `node.ts`.

export type { Checkpoint, SideFile } from './checkpoint/checkpoint.ts'
export type { GenerateOptions } from './decode/generate.ts'
export { DEVICES, type Device } from './engine/device.ts'
export { createEngine, type Engine, type EngineOptions } from './engine/engine.ts'
export * from './errors.ts'
export type { Continuation } from './evaluate/continuations.ts'
export { type Inspection, inspect } from './evaluate/inspect.ts'
export type { Measures } from './evaluate/measure.ts'
export * from './evaluate/public.ts'
export { TASK_NAMES, type TaskName } from './evaluate/tasks/definitions.ts'
export type { Task } from './evaluate/tasks/evaluate.ts'
export type { TaskItem } from './evaluate/tasks/item.ts'
export type { Phase, ProgressEvent } from './events.ts'
export { exportOnnx, type OnnxOptions, onnxBytes } from './export/onnx.ts'
export type { DType, TensorInfo, TensorSource } from './formats/tensors.ts'
export { ActivationPool } from './forward/activations.ts'
export { METHOD_NAMES, type MethodName } from './methods.ts'
export { type Architecture, decoderLinears, tensorShapes } from './model/architecture.ts'
export { describeModel, type Model } from './model/model.ts'
export type { PruneOptions, ResolvedOptions } from './options.ts'
export type { Plan } from './plan.ts'
export { type PruneInput, prune } from './prune.ts'
export { mergeResults } from './report/merge-results.ts'
export { parseResult } from './report/parse-result.ts'
export * from './report/result-file.ts'
export type {
  DivergenceResult,
  Estimate,
  HalfResult,
  LayerResult,
  PerplexityResult,
  PruneResult,
  Recipe,
  Sizes,
  TaskResult,
  WordPerplexityResult,
} from './result.ts'
export { checkOptions, type PreparedRun, prepare } from './run.ts'
export { type DenseStatistics, denseStatistics } from './statistics/dense.ts'
export type { Moments } from './statistics/moments.ts'
export { loadTokenizer } from './text/tokenizer.ts'
export { evaluationWindows, type Windows } from './text/windows.ts'
export { VERSION } from './version.ts'
export { ONNX_DTYPES, type OnnxDtype } from './write/onnx/dtypes.ts'
export type { OnnxFileResult } from './write/onnx/folder.ts'
export { MemorySink, type Sink, type SinkFile } from './write/sink.ts'
