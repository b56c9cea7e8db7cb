/**
 * The library in Node: verbs over folders, files and names on the Hub, and what they are made of. Each verb is a
 * promise, whose options take `onEvent`, and a generator of the same events, which returns what the promise gives.
 * @module fasp
 */
import { promised } from './base/events.ts'
import { compare as compareModels } from './compare/compare.node.ts'
import { openEngine as open } from './engine/engine.node.ts'
import type { Engine, EngineOptions } from './engine/engine.ts'
import { fetchModel as fetchNamed } from './hub/fetch.node.ts'
import { type PushOptions, push as pushFolder } from './hub/push.node.ts'
import { checkedOn, checkGiven } from './options/call-check.ts'
import { takenBy } from './options/verbs.ts'
import { outputTarget, removeStates as removeStatesOf } from './output/place.node.ts'
import { windowsWithinEvents as windowsWithinPath } from './verbs/budget.node.ts'
import { evaluateEvents as evaluateModel } from './verbs/evaluate.node.ts'
import { exportModelEvents as exportPath } from './verbs/export.node.ts'
import { healEvents as healPath } from './verbs/heal.node.ts'
import { nodeVerbs } from './verbs/platform.node.ts'
import {
  planPruneEvents as planPath,
  prepareEvents as preparePath,
  pruneEvents as prunePath,
} from './verbs/prune.node.ts'
import { verifyEvents as verifyPath } from './verbs/verify.node.ts'

const checked = checkedOn('node')

const pruneEvents = checked('prune', prunePath)
const prepareEvents = checked('prepare', preparePath)
const planPruneEvents = checked('planPrune', planPath)
const openModelEvents = checked('openModel', nodeVerbs.openModel)
const evaluateEvents = checked('evaluate', evaluateModel)
const perplexityEvents = checked('perplexity', nodeVerbs.perplexity)
const generateEvents = checked('generate', nodeVerbs.generate)
const inspectEvents = checked('inspect', nodeVerbs.inspect)
const exportModelEvents = checked('exportModel', exportPath)
const healEvents = checked('heal', healPath)
const compareEvents = checked('compare', compareModels)
const fetchModelEvents = checked('fetchModel', fetchNamed)
const windowsWithinEvents = checked('windowsWithin', windowsWithinPath)
const verifyEvents = checked('verify', verifyPath)
const pushEvents = checked('push', (folder: string, id: string, options?: PushOptions) =>
  pushFolder(folder, id, options),
)

/**
 * Prunes a model into the folder `output`, and exports it; or into a `.gguf` file without a folder; or into a sink.
 * @param source folder, `.gguf` file, name on the Hub (`org/name`), or a model that is open
 * @example
 * const { sizes } = await prune('my-model', { sparsity: 0.2, output: 'smaller', calibration: ['wiki.txt'] })
 * console.log(sizes.parameters.before, sizes.parameters.effective)
 * @example
 * await prune('org/name', { sparsity: 0.3, output: 'smaller.gguf', onEvent: event => console.error(event) })
 * @example
 * await prune('other-model', { recipe: 'smaller/fasp.json', output: 'other-smaller' })
 * @throws FaspError
 */
export const prune = promised(pruneEvents)

/**
 * All of `prune` before a weight is read: checks options, machine, output and texts, fetches the model if need be,
 * opens it, and decides how it is pruned.
 * @example
 * await using run = await prepare('my-model', { sparsity: 0.2, output: 'smaller' })
 * console.log(run.plan.sizes, run.notices)
 * const { sizes } = await run.prune()
 * @throws FaspError
 */
export const prepare = promised(prepareEvents)

/**
 * What `prune` would do: widths, parameters, bytes, memory. Reads no weights, and needs no output.
 * @example
 * const { sizes, widths } = await planPrune('my-model', { sparsity: 0.2 })
 * @throws FaspError
 */
export const planPrune = promised(planPruneEvents)

/**
 * Chooses `windows` of `prune` by the seconds that it may take on this machine, without exports, healing, and measures
 * on `text`: by what the first two layers take.
 * @param source as in `prune`
 * @example
 * const options = { sparsity: 0.3, method: 'best', calibration: ['wiki.txt'] }
 * const { windows } = await windowsWithin('my-model', { ...options, seconds: 600 })
 * await prune('my-model', { ...options, windows, output: 'smaller' })
 * @throws UsageError where there is nothing to choose; TextError for texts that are too short to choose from
 */
export const windowsWithin = promised(windowsWithinEvents)

/**
 * Opens a model for several verbs, which leave it open. Close it after them.
 * @param source folder, `.gguf` file, or name on the Hub (`org/name`), from where it is fetched
 * @example
 * await using model = await openModel('my-model')
 * await using engine = openEngine()
 * const { text } = await generate(model, 'Once upon a time', { engine })
 * @throws FormatError, UnsupportedModelError, HubError
 */
export const openModel = promised(openModelEvents)

/**
 * Perplexity on texts, zero-shot tasks, and the distance to a dense model.
 * @param of folder, `.gguf` file, name on the Hub, or a model that is open
 * @example
 * const { perplexity, divergence } = await evaluate('smaller', { text: ['wiki.test.txt'], dense: 'my-model' })
 * @example
 * const { tasks } = await evaluate('my-model', { tasks: ['arc_easy', 'piqa'], limit: 200 })
 * @throws FaspError
 */
export const evaluate = promised(evaluateEvents)

/**
 * Perplexity on one text: exp of the mean negative log-likelihood over the L − 1 targets of each window of L tokens.
 * @example
 * const { perplexity: value } = await perplexity('my-model', 'wiki.test.txt', { seqLen: 2048, windows: 16 })
 * @throws FaspError
 */
export const perplexity = promised(perplexityEvents)

/**
 * Continues a text, or answers in a chat, by the model's chat template. Events of type `text` have the new text.
 * @example
 * const { text } = await generate('my-model', 'Once upon a time', { maxTokens: 64, temperature: 0.8 })
 * @example
 * const { text } = await generate('my-model', [{ role: 'user', content: 'What is the capital of France?' }])
 * @throws FaspError
 */
export const generate = promised(generateEvents)

/**
 * What a model is: architecture, tensors, parameters, bytes. Reads no weights.
 * @example
 * const { layers, parameters } = await inspect('my-model.gguf')
 * @throws FormatError, UnsupportedModelError, HubError
 */
export const inspect = promised(inspectEvents)

/**
 * Writes a model in other formats, and reads each back to check it.
 * @example
 * const [{ path }] = await exportModel('smaller', { output: 'smaller.gguf', to: [{ to: 'gguf', dtype: 'Q8_0' }] })
 * @throws FaspError
 */
export const exportModel = promised(exportModelEvents)

/**
 * Brings a pruned model nearer to the one that it was pruned from, without labels: its weights go down the gradient of
 * the KL between their next-token probabilities. The step with the least KL on held-out windows is written, in the
 * layout, names and types of the pruned model.
 * @param source the pruned model: folder, `.gguf` file, name on the Hub, or a model that is open
 * @example
 * const { kl, tokens } = await heal('smaller', { dense: 'my-model', output: 'healed', calibration: ['wiki.txt'] })
 * console.log(kl.before, kl.after)
 * @throws NumericError where no step is nearer than the start, and nothing is written; FaspError
 */
export const heal = promised(healEvents)

/**
 * Compares methods at several sparsities under one protocol. A run that fails says so and leaves the others alone.
 * @example
 * const { runs } = await compare('my-model', {
 *   methods: ['paper', 'stock:alpha=0.25'],
 *   sparsity: [0.2, 0.3],
 *   text: ['wiki.test.txt'],
 *   output: 'result.json', // run it again where it was stopped, and it goes on from there
 * })
 * @throws FaspError before any run for nonsense options and files that cannot be read; RunError for the dense model
 */
export const compare = promised(compareEvents)

/**
 * Checks that what `prune` or `exportModel` wrote is whole and unchanged: SHA-256 of its files, tensors against the
 * config, kept indices against widths, finite weights, and recorded logits. Of a `.gguf` file what can be.
 * @example
 * const { right, checks } = await verify('smaller')
 * for (const { name, found, text } of checks) console.log(name, found, text)
 * @throws FormatError for what fasp did not write; what is wrong with what it wrote is in the result
 */
export const verify = promised(verifyEvents)

/**
 * What multiplies, for several verbs, which leave it open. Close it after them.
 * @example
 * await using engine = openEngine({ threads: 4 })
 * @throws UsageError, DeviceError
 */
export function openEngine(options: EngineOptions = {}): Engine {
  checkGiven(options, { called: 'openEngine', options: takenBy('openEngine', 'node') })
  return open(options)
}

/**
 * Where a model is on disk: `path` if it exists; or the Hub's model of that name, in its cache, fetched if need be.
 * @example
 * const folder = await fetchModel('org/name')
 * @throws FormatError, HubError, OutputError
 */
export const fetchModel = promised(fetchModelEvents)

/**
 * Uploads a folder to a model repository on the Hub, which is made if it is missing, as one commit.
 * @example
 * const { url } = await push('smaller', 'me/smaller', { private: true })
 * @throws FormatError, UsageError, OutputError, HubError
 */
export const push = promised(pushEvents)

/** Removes what earlier runs into `output` have left, which `resume` goes on from. @throws OutputError */
export const removeStates = async (output: string): Promise<void> => removeStatesOf(output, await outputTarget(output))

export type { CompareOptions } from './compare/options.ts'
export { type OpenOptions, openCheckpoint } from './hub/open.node.ts'
export { type PushPlan, planPush } from './hub/push.node.ts'
export * from './index.ts'
export { hasStates, isTaken, isWritten } from './output/place.node.ts'
export { openScratch } from './output/scratch.node.ts'
export { CommonSteps } from './prune/shared-steps.ts'
export type { Group } from './ranks/group.ts'
export type { MpiOptions } from './ranks/mpi.node.ts'
export { openGroup } from './ranks/open.node.ts'
export type { GroupOptions } from './ranks/transport.ts'
export { describeMachine } from './report/machine.node.ts'
export { type ReportOptions, readResult, writeReport } from './report/report.node.ts'
export type { SpeedResult } from './report/speeds.ts'
export { readText } from './text/text.node.ts'
export type { Budgeted, BudgetOptions } from './verbs/budget.node.ts'
export { chooseDevice, type DeviceChoice, type Devices, inspectDevices } from './verbs/devices.node.ts'
export type { EvaluateOptions, PathMeasures } from './verbs/evaluate.node.ts'
export type { ExportPathOptions } from './verbs/export.node.ts'
export type { HealOptions, HealResult } from './verbs/heal.node.ts'
export { outline } from './verbs/outline.node.ts'
export type { EngineChoice, TextInput } from './verbs/platform.node.ts'
export type { PathPlan, PathRun, PlanOptions, PrunePathOptions, PrunePathResult } from './verbs/prune.node.ts'
export type { HealChoice } from './verbs/prune-heal.node.ts'
export { pendingWeights } from './verbs/prune-heal.node.ts'
export { type SentFiles, sendFiles } from './verbs/send-files.node.ts'
export { type SpeedOptions, speed } from './verbs/speed.node.ts'
export type { Check, Verification } from './verbs/verify.node.ts'
export { openWithVocabulary } from './verbs/vocabulary.node.ts'
export type { PlacedExport } from './write/export.node.ts'
export type { ExportResult, PlannedExport } from './write/export-result.ts'
export { type ExportRequest, TARGETS, type TargetName } from './write/targets.ts'
export {
  compareEvents,
  evaluateEvents,
  exportModelEvents,
  fetchModelEvents,
  generateEvents,
  healEvents,
  inspectEvents,
  openModelEvents,
  type PushOptions,
  perplexityEvents,
  planPruneEvents,
  prepareEvents,
  pruneEvents,
  pushEvents,
  verifyEvents,
  windowsWithinEvents,
}
