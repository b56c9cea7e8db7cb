// Public API that runs everywhere. `node.ts` adds the verbs over paths, `web.ts` those over what a page has.
import { type Progress, promised } from './base/events.ts'
import type { Engine } from './engine/engine.ts'
import { continuations as continuationsIn } from './evaluate/continuations.ts'
import { logits as logitsIn } from './evaluate/logits.ts'
import { distanceOn } from './evaluate/measure.ts'
import { memoryContext } from './forward/context.ts'
import type { Model } from './model/model.ts'
import type { Scratch } from './output/activations.ts'
import type { Continuation, DivergenceResult } from './result/measured.ts'
import type { Windows } from './text/windows.ts'
import { cutVocabularyEvents } from './vocabulary/cut-vocabulary.ts'
import { exportGguf as exportGgufEvents } from './write/gguf/export.ts'
import { exportOnnx as exportOnnxEvents } from './write/onnx/export.ts'

/**
 * The model with a smaller vocabulary: the tokens of some texts, all bytes, special and added tokens, and those of the
 * chat template. These texts have the same ids, renumbered, and the same logits. It is open as long as `model`.
 * @example
 * const smaller = await cutVocabulary(model, { keep: [{ name: 'notes', text: async () => notes }], size: 16000 })
 * console.log(smaller.checkpoint.vocabulary) // tokens before and after, and on each text tokens per word
 * await exportModel(smaller, { output: 'smaller.gguf' })
 * @throws TextError, UsageError, UnsupportedModelError
 */
export const cutVocabulary = /* @__PURE__ */ promised(cutVocabularyEvents)

/**
 * Writes a model for transformers.js into a sink: `onnx/model.onnx` and files beside it, each read back.
 * @example
 * const sink = new MemorySink()
 * await exportOnnx(model, sink, { engine, dtypes: ['q8'] })
 * sink.files.get('onnx/model_quantized.onnx')
 * @throws UsageError, NumericError, OutputError
 */
export const exportOnnx = /* @__PURE__ */ promised(exportOnnxEvents)

/**
 * Writes a model for llama.cpp into a sink: `model.gguf`, read back.
 * @example
 * const sink = new MemorySink()
 * await exportGguf(model, sink, { engine, dtype: 'q8_0' })
 * sink.files.get('model.gguf')
 * @throws UsageError, UnsupportedModelError, OutputError
 */
export const exportGguf = /* @__PURE__ */ promised(exportGgufEvents)

/**
 * Logits of every position of one sequence.
 * @returns [ids.length, vocabulary] row-major
 * @example
 * const rows = await logits(model, engine, loadTokenizer(model.checkpoint).encode('It was'))
 */
export const logits = (model: Model, engine: Engine, ids: ArrayLike<number>) =>
  logitsIn(memoryContext(engine), model, ids)

interface On {
  readonly engine: Engine
  readonly signal?: AbortSignal
}

async function* distanceEvents(
  model: Model,
  windows: Windows,
  { dense, openRows, engine, signal }: On & { readonly dense: Model; openRows(): Promise<Scratch> },
): Progress<DivergenceResult> {
  const of = { model: dense, openRows }
  return (yield* distanceOn(memoryContext(engine, signal), model, windows, of)).compared.divergence
}

/**
 * How far a model is from the dense one on windows of tokens: KL in nats a token, and agreement on the next token.
 * @param options `openRows` opens a file for the hidden states of the dense model
 * @example
 * const { kl, topAgreement } = await distance(pruned, windows, { dense, engine, openRows })
 * @throws UsageError where their vocabularies differ; NumericError
 */
export const distance = /* @__PURE__ */ promised(distanceEvents)

export const continuationsEvents = (
  model: Model,
  { engine, signal, prompts }: On & { readonly prompts?: readonly string[] },
): Progress<Continuation[]> => continuationsIn(memoryContext(engine, signal), model, prompts)

/**
 * Greedy continuations of short prompts, for people to compare. It takes `continuationBytes(model)` of memory.
 * @example
 * const [{ prompt, text }] = await continuations(model, { engine, prompts: ['Once upon a time'] })
 * @throws UsageError for a prompt that is empty or fills the context
 */
export const continuations = /* @__PURE__ */ promised(continuationsEvents)

export * from './base/errors.ts'
export type { Listener, Phase, Progress, ProgressEvent, PrunedLayer } from './base/events.ts'
export { VERSION } from './base/version.ts'
export type { Checkpoint, SideFile, VocabularyCut } from './checkpoint/checkpoint.ts'
export { DEVICES, type Device } from './engine/device.ts'
export type { Engine, EngineOptions } from './engine/engine.ts'
export { engineText } from './engine/facts.ts'
export { tryEngine } from './engine/tried.ts'
export { continuationBytes } from './evaluate/continuations.ts'
export type { Inspection } from './evaluate/inspect.ts'
export type { Measures } from './evaluate/measure.ts'
export { prefillSpeeds } from './evaluate/prefill.ts'
export { TASK_NAMES, type TaskName } from './evaluate/tasks/definitions.ts'
export type { DType, TensorInfo, TensorSource } from './formats/tensors.ts'
export type { GenerateOptions } from './forward/generate.ts'
export type { RemoteFile } from './hub/listing.ts'
export type { HubModel, HubOrigin, HubPart, HubRepo } from './hub/models.ts'
export type { PushResult } from './hub/push.ts'
export type { Allocate } from './method/allocate/custom.ts'
export {
  best,
  flap,
  type Layout,
  METHOD_NAMES,
  type Method,
  type MethodName,
  type MethodOptions,
  magnitude,
  osscar,
  paper,
  plain,
  random,
  reap,
  shortgpt,
  sleb,
  stock,
  wandaSp,
} from './method/method.ts'
export type { Score, Scored } from './method/score/custom.ts'
export type { Architecture } from './model/architecture.ts'
export { describeModel, type Model } from './model/model.ts'
export type { Amount, PruneOptions, ResolvedOptions } from './options/options.ts'
export type { Plan, Sizes } from './options/plan.ts'
export type { Scratch } from './output/activations.ts'
export { MemorySink, type Sink, type SinkFile } from './output/sink.ts'
export type { WrittenFile } from './output/steps.ts'
export { distanceFlops, runFlops } from './prune/flops.ts'
export { shortRates } from './prune/product-rate.ts'
export { mergeResults } from './report/merge-results.ts'
export { parseResult } from './report/parse-result.ts'
export { type ResultFile, type Run, serializeResult } from './report/result-file.ts'
export type {
  Continuation,
  DivergenceResult,
  Estimate,
  PerplexityResult,
  TaskResult,
  WordPerplexityResult,
} from './result/measured.ts'
export type { HalfResult, HealRecord, LayerResult, PruneResult, Recipe } from './result/result.ts'
export type { NamedText } from './text/calibration.ts'
export { type ChatMessage, chatTemplate, type Prompt } from './text/chat.ts'
export { loadTokenizer } from './text/tokenizer.ts'
export type { Windows } from './text/windows.ts'
export { type SoFar, type Writing, writeSoFar } from './verbs/partial-model.ts'
export { createEngine } from './verbs/runtime.ts'
export type { Generated, OpenedModel, PerplexityOptions, PreparedPrune } from './verbs/verbs.ts'
export type { VocabularyChoice, VocabularyOptions } from './vocabulary/cut-vocabulary.ts'
export type { GgufOptions, GgufResult } from './write/gguf/export.ts'
export { ONNX_DTYPES, type OnnxDtype } from './write/onnx/dtypes.ts'
export { type OnnxOptions, onnxBytes } from './write/onnx/export.ts'
export type { OnnxFileResult } from './write/onnx/folder.ts'
export { cutVocabularyEvents, exportGgufEvents, exportOnnxEvents }
