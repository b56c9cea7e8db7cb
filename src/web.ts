/**
 * The library in pages and their workers: the verbs of `fasp` over picked files, Blobs and addresses, and what else
 * `fasp` has that needs no paths: methods, exports, tokenizers, errors, types.
 * @module fasp/web
 */
import { promised } from './base/events.ts'
import { checkedOn } from './options/call-check.ts'
import { webVerbs } from './verbs/platform.web.ts'
import { prepareEvents as prepareInPage, pruneEvents as pruneInPage } from './verbs/prune.web.ts'

const checked = checkedOn('web')

const pruneEvents = checked('prune', pruneInPage)
const prepareEvents = checked('prepare', prepareInPage)
const openModelEvents = checked('openModel', webVerbs.openModel)
const evaluateEvents = checked('evaluate', webVerbs.evaluate)
const perplexityEvents = checked('perplexity', webVerbs.perplexity)
const generateEvents = checked('generate', webVerbs.generate)
const inspectEvents = checked('inspect', webVerbs.inspect)

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
export const prune = promised(pruneEvents)

/**
 * All of `prune` that comes before a weight is read: checks options, opens the model, and decides how it is pruned.
 * @example
 * await using run = await prepare('/models/tiny', { sparsity: 0.2, output, engine })
 * console.log(run.plan.sizes, run.notices)
 * const { sizes } = await run.prune()
 * @throws FaspError
 */
export const prepare = promised(prepareEvents)

/**
 * Opens a model for several verbs, which leave it open.
 * @param source the files of a model folder, the `Blob` of a `.gguf` file, or the URL of either, with range requests
 * @example
 * const model = await openModel(new URL('https://huggingface.co/org/name/resolve/main/model.gguf'))
 * @throws FormatError, UnsupportedModelError
 */
export const openModel = promised(openModelEvents)

/**
 * Perplexity on texts.
 * @example
 * const { perplexity } = await evaluate(model, { text: [file], engine })
 * @throws FaspError
 */
export const evaluate = promised(evaluateEvents)

/**
 * Perplexity on one text.
 * @example
 * const { perplexity: value } = await perplexity(model, file, { engine, windows: 4 })
 * @throws FaspError
 */
export const perplexity = promised(perplexityEvents)

/**
 * Continues a text. Events of type `text` are what is written as it is written.
 * @example
 * const { text } = await generate(model, 'Once upon a time', { engine, onEvent: event => show(event) })
 * @throws FaspError
 */
export const generate = promised(generateEvents)

/** What a model is: architecture, tensors, parameters, bytes. Reads no weights. @throws FormatError */
export const inspect = promised(inspectEvents)

export type { WebSource } from './checkpoint/open.web.ts'
export type { FetchOptions } from './formats/source.web.ts'
export * from './index.ts'
export type { StateFile, StateFolder } from './output/state-folder.ts'
export type { WebOptions } from './verbs/platform.web.ts'
export type { PruneInPageOptions, SavedInPage } from './verbs/prune.web.ts'
export { evaluateEvents, generateEvents, inspectEvents, openModelEvents, perplexityEvents, prepareEvents, pruneEvents }
