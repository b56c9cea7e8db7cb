/**
 * The library in pages and their workers: the verbs of `fasp` over picked files, Blobs and addresses, and what else
 * `fasp` has that needs no paths: methods, exports, tokenizers, errors, types.
 * @module fasp/web
 */
import { promised } from './base/events.ts'
import { pushEvents } from './hub/push.web.ts'
import { checkedOn } from './options/call-check.ts'
import { webOpening, webVerbs } from './verbs/platform.web.ts'
import {
  planPruneEvents as planInPage,
  prepareEvents as prepareInPage,
  pruneEvents as pruneInPage,
} from './verbs/prune.web.ts'

// The verbs are marked as pure calls, so that a bundle has only those that it uses.
const checked = /* @__PURE__ */ checkedOn('web')

const pruneEvents = /* @__PURE__ */ checked('prune', pruneInPage)
const prepareEvents = /* @__PURE__ */ checked('prepare', prepareInPage)
const planPruneEvents = /* @__PURE__ */ checked('planPrune', planInPage)
const openModelEvents = /* @__PURE__ */ checked('openModel', webOpening.openModel)
const evaluateEvents = /* @__PURE__ */ checked('evaluate', webVerbs.evaluate)
const perplexityEvents = /* @__PURE__ */ checked('perplexity', webVerbs.perplexity)
const generateEvents = /* @__PURE__ */ checked('generate', webVerbs.generate)
const inspectEvents = /* @__PURE__ */ checked('inspect', webOpening.inspect)

/**
 * Prunes a model into a sink.
 * @param source the files of a model folder, the `Blob` of a `.gguf` file, the URL of either, or an open model
 * @example
 * import * as ort from 'onnxruntime-web'
 * await using engine = createEngine(ort)
 * const output = new MemorySink()
 * await prune(input.files, { sparsity: 0.2, output, engine }) // <input type="file" webkitdirectory>
 * output.files.get('model.safetensors')
 * @throws FaspError
 */
export const prune = /* @__PURE__ */ promised(pruneEvents)

/**
 * All of `prune` that comes before a weight is read: checks options, opens the model, and decides how it is pruned.
 * @example
 * await using run = await prepare('/models/tiny', { sparsity: 0.2, output, engine })
 * console.log(run.plan.sizes, run.notices)
 * const { sizes } = await run.prune()
 * @throws FaspError
 */
export const prepare = /* @__PURE__ */ promised(prepareEvents)

/**
 * What `prune` would do: widths, parameters, bytes, memory. Reads no weights, needs neither output nor engine.
 * @example
 * const { sizes, widths, notices } = await planPrune(model, { sparsity: 0.2 })
 * @throws FaspError
 */
export const planPrune = /* @__PURE__ */ promised(planPruneEvents)

/**
 * Opens a model for several verbs, which leave it open.
 * @param source the files of a model folder, the `Blob` of a `.gguf` file, or the URL of either, with range requests
 * @example
 * const model = await openModel(new URL('https://huggingface.co/org/name/resolve/main/model.gguf'))
 * @throws FormatError, UnsupportedModelError
 */
export const openModel = /* @__PURE__ */ promised(openModelEvents)

/**
 * Perplexity on texts.
 * @example
 * const { perplexity } = await evaluate(model, { text: [file], engine })
 * @throws FaspError
 */
export const evaluate = /* @__PURE__ */ promised(evaluateEvents)

/**
 * Perplexity on one text.
 * @example
 * const { perplexity: value } = await perplexity(model, file, { engine, windows: 4 })
 * @throws FaspError
 */
export const perplexity = /* @__PURE__ */ promised(perplexityEvents)

/**
 * Continues a text. Events of type `text` are what is written as it is written.
 * @example
 * const { text } = await generate(model, 'Once upon a time', { engine, onEvent: event => show(event) })
 * @throws FaspError
 */
export const generate = /* @__PURE__ */ promised(generateEvents)

/** What a model is: architecture, tensors, parameters, bytes. Reads no weights. @throws FormatError */
export const inspect = /* @__PURE__ */ promised(inspectEvents)

/**
 * Sends files to a model repository on the Hub, which is made if it is missing, as one commit.
 * @param files by their paths in the repository
 * @example
 * const files = new Map([...output.files].map(([path, bytes]) => [path, new Blob([bytes])]))
 * const { url } = await push(files, 'me/smaller', { token, private: true })
 * @throws UsageError, OutputError, HubError
 */
export const push = /* @__PURE__ */ promised(pushEvents)

export { type WebSource, withPath } from './checkpoint/open.web.ts'
export type { FetchOptions } from './formats/source.web.ts'
export {
  type Checksum,
  fetchPart,
  type HubFileOptions,
  type HubOptions,
  lookUpModel,
  searchModels,
} from './hub/models.web.ts'
export type { PushInPageOptions } from './hub/push.web.ts'
export * from './index.ts'
export type { StateFile, StateFolder } from './output/state-folder.ts'
export type { WebOptions } from './verbs/platform.web.ts'
export type { PlanInPage, PlanInPageOptions, PruneInPageOptions, SavedInPage } from './verbs/prune.web.ts'
export {
  evaluateEvents,
  generateEvents,
  inspectEvents,
  openModelEvents,
  perplexityEvents,
  planPruneEvents,
  prepareEvents,
  pruneEvents,
  pushEvents,
}
