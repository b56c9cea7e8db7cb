// How many calibration windows a run has time for. The first layers are pruned on few windows and more, into nowhere:
// the time for a window, and besides, is like that of all layers. Branches of sensitivity grow with their square.
import { total } from '../base/clock.ts'
import { duration } from '../base/display.ts'
import { TextError, UsageError } from '../base/errors.ts'
import { finish, notice, type Progress } from '../base/events.ts'
import { memoryContext } from '../forward/context.ts'
import { type Architecture, fullWidths, layersOf, narrowed } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { ResolvedOptions } from '../options/options.ts'
import { NOWHERE } from '../output/sink.ts'
import { headFlops, passFlops } from '../prune/flops.ts'
import { prune } from '../prune/prune.ts'
import { type PreparedRun, prepare } from '../prune/run.ts'
import { calibration, textsOrWindows, writesText } from '../text/calibration.ts'
import { equalShares, type Windows } from '../text/windows.ts'
import { choose, type EngineChoice, nodeVerbs, openTexts } from './platform.node.ts'
import { type PlanOptions, planPruneEvents } from './prune.node.ts'

export interface BudgetOptions extends PlanOptions, EngineChoice {
  /** That pruning may take; what is tried here counts, too. */
  readonly seconds: number
}

export interface Budgeted {
  /** Calibration windows that there is time for; as many as make 4,096 tokens where there is not. */
  readonly windows: number
  /** That a run on so many should take. */
  readonly seconds: number
}

/** Layers that are tried, and calibration tokens. */
const TRIED = { layers: 2, few: 2048, more: 10_240 }
/** Calibration tokens to choose from. Nobody has found a gain beyond. */
const TOKENS = { least: 4096, most: 2 ** 19 }

/** What the first layers took, in seconds. */
export interface Trial {
  readonly windows: number
  readonly seconds: number
  /** A part of it. @default 0 */
  readonly allocation?: number
}

/** @throws UsageError where there is nothing to choose; TextError for texts that are too short to choose from */
export async function* windowsWithinEvents(
  source: string | Model,
  { seconds, engine, ...options }: BudgetOptions,
): Progress<Budgeted> {
  const started = performance.now()
  const { windows: asked, maxLoss, recipe } = options
  const others = Object.entries({ windows: asked, 'max-loss': maxLoss, recipe })
  const [other] = others.find(([, value]) => value !== undefined) ?? []
  if (other) throw new UsageError(`budget chooses how many windows one run takes. Leave out budget, or ${other}.`)
  const { options: resolved, sparsity } = yield* planPruneEvents(source, options)
  const { method, scope, seqLen } = resolved
  if (scope === 'layers')
    throw new UsageError(`budget tries the first layers, and method ${method} removes layers. Give windows.`)
  const { signal } = options
  const given = textsOrWindows(options.calibration)
  const texts = given.texts && (yield* openTexts(given.texts, 'calibration', { signal }))
  if (given.windows || writesText({ texts }))
    throw new UsageError('budget chooses how much of texts is read. Give them: calibration, without self.')
  await using model = yield* nodeVerbs.openModel(source, { signal })
  await using chosen = choose({ engine })
  const on = { engine: chosen.engine, signal }
  const count = (tokens: number) => Math.ceil(tokens / seqLen)
  const few = Math.max(count(TRIED.few), texts!.length)
  const more = Math.max(count(TRIED.more), few + texts!.length)
  const read = { ...resolved, windows: more }
  const text = yield* calibration(memoryContext(chosen.engine, signal), model, { texts }, read)
  if (text.windows.length <= few)
    throw new TextError(
      `the texts have ${text.windows.length} windows of ${seqLen} tokens, too few to choose from. Leave budget out.`,
    )
  const { architecture: a } = model
  const first = { ...model, architecture: firstLayers(a) }
  async function tried(windows: number): Promise<Trial> {
    const { products, heldOut, seed, memory } = resolved
    const settings = { method: options.method, sparsity, products, seqLen, heldOut, seed, memory }
    const run = prepare(first, settings, { windows: firstWindows(text, windows) })
    const { seconds } = await finish(prune(asOnMany(run), { ...on, sink: NOWHERE }))
    return { windows: run.options.windows, seconds: total(seconds), allocation: seconds.allocate }
  }
  await tried(few) // graphs are compiled
  const trials = [await tried(few), await tried(more)] as const
  const heldOut = 2 * (text.heldOut?.length ?? 0) // and as many that are calibrated on
  const { fixed, window } = expectation(a, { ...resolved, heldOut }, trials)
  const left = seconds - (performance.now() - started) / 1000
  const [least, most] = [count(TOKENS.least), count(TOKENS.most)]
  const windows = Math.max(least, Math.min(most, Math.floor((left - fixed) / window)))
  const expected = fixed + windows * window
  yield notice(
    `${windows} calibration windows (--windows ${windows}): about ${duration(expected)}, by ${TRIED.layers} layers ` +
      `that were tried.${expected > left ? ' That is more than there is; fewer are of no use.' : ''}`,
  )
  return { windows, seconds: expected }
}

/** Seconds of a run besides its windows, and for each window. @param heldOut windows @param trials of first layers */
export function expectation(
  a: Architecture,
  { seqLen, heldOut, probeTokens, allocate }: Pick<ResolvedOptions, 'seqLen' | 'heldOut' | 'probeTokens' | 'allocate'>,
  [few, more]: readonly [Trial, Trial],
): { readonly fixed: number; readonly window: number } {
  const tried = layersOf(firstLayers(a))
  const { gram, ...pass } = passFlops(a, seqLen, seqLen)
  const ofLayer = (flops: number) => flops / layersOf(a)
  const rest = ({ seconds, allocation = 0 }: Trial) => seconds - allocation
  const gained = rest(more) - rest(few)
  // Where other work made the few as slow, all of the time is taken for theirs.
  const slope = (gained > 0 ? gained / (more.windows - few.windows) : rest(more) / more.windows) / tried // of a layer
  const rate = ofLayer(2 * total(pass) + gram) / slope // FLOPs a second; a dense and a pruned stream
  const logits = (tokens: number) => headFlops(a, tokens) / rate
  const losses = 2 * logits(heldOut * seqLen)
  const fixed = Math.max(0, rest(few) - losses - few.windows * slope * tried) / tried
  /** Branches of the probe leave at each half-block, and go on to the end. */
  const branches = (layers: number) => {
    const halves = (a.halves.length / layersOf(a)) * layers
    return halves * (((layers / 2) * (probeTokens / seqLen) * ofLayer(total(pass))) / rate + logits(probeTokens))
  }
  const isProbed = allocate === 'sensitivity'
  const { allocation = 0 } = more
  const others = Math.max(0, allocation - (isProbed ? branches(tried) : 0)) / tried
  const layers = layersOf(a)
  return { fixed: layers * (fixed + others) + losses + (isProbed ? branches(layers) : 0), window: layers * slope }
}

const firstLayers = (a: Architecture): Architecture => {
  const layers = Array.from({ length: Math.min(TRIED.layers, layersOf(a)) }, (_, layer) => layer)
  return {
    ...narrowed(
      a,
      layers,
      layers.map(() => fullWidths(a)),
    ),
    compact: a.compact,
  }
}

/** As many windows, in equal shares. */
function firstWindows(text: Windows, count: number): Windows {
  const taken = equalShares(count, text.texts.length).map((share, i) => Math.min(share, text.texts[i].used))
  let from = 0
  const windows = text.texts.flatMap(({ used }, i) => {
    from += used
    return text.windows.slice(from - used, from - used + taken[i])
  })
  return { ...text, windows, texts: text.texts.map((one, i) => ({ ...one, used: taken[i] })) }
}

/** With what is chosen on many tokens, and not what is better on few. */
const asOnMany = (run: PreparedRun): PreparedRun => {
  const { method, options } = run
  return { ...run, method: { ...method, options: { ...method.options, score: options.score } } }
}
