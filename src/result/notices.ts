// What the user should know of a run that goes well: said on the way, and kept in the result.
import { specOf } from '../method/method.ts'
import { type Model, unusedTensors } from '../model/model.ts'
import type { ResolvedOptions } from '../options/options.ts'
import type { Plan } from '../options/plan.ts'
import type { CalibrationSource } from '../text/calibration.ts'
import { SELF_TEXT } from '../text/sample.ts'
import type { HalfResult, LayerResult, Recipe } from './result.ts'

/** Known before any weight is read. */
export function planNotices(
  model: Model,
  { method, scope, layout, windows, seqLen, sparsity }: ResolvedOptions,
  source: CalibrationSource,
  { sizes, widths, layers }: Plan,
): string[] {
  const notices: string[] = []
  if (layout === 'padded' && !method.includes(':layout='))
    notices.push(
      `Method ${method} writes layout padded: all shapes stay, removed parts are zeros. The file does not shrink.`,
    )
  else if (layout === 'compact' && specOf(method).parts.layout?.[0] !== layout && !method.includes(':layout='))
    notices.push(
      `Method ${method} writes layout compact: config.json of ${model.architecture.modelType} models has no fields for the biases that it adds. transformers loads it with the Python code beside it.`,
    )
  if (source === 'self')
    notices.push(`No calibration text given: calibrating on ${windows} windows of ${seqLen} tokens of ${SELF_TEXT}.`)
  if (sparsity > 0 && sizes.parameters.effective === sizes.parameters.before)
    notices.push(
      scope === 'layers'
        ? `Nothing is removed: sparsity ${sparsity} is less than half of one of ${layers.before} layers.`
        : `Nothing is removed: the width rounds back to ${widths.before.ffn}. Use a smaller multiple, for example --method stock:multiple=1.`,
    )
  const { modelType, tied, names } = model.architecture
  const unused = unusedTensors(model).filter(name => !(tied && name === `${names.head}.weight`))
  if (unused.length > 0) {
    const shown = unused.slice(0, 5).join(', ')
    const more = unused.length > 5 ? ` and ${unused.length - 5} more` : ''
    notices.push(`Not copied, as ${modelType} models have no use for them: ${shown}${more}.`)
  }
  return notices
}

/** @param o options as they are on so many tokens @param asked as they were @param enough tokens that would be */
export const fewTokensNotices = (
  tokens: number,
  o: ResolvedOptions,
  asked: ResolvedOptions,
  enough: number,
): string[] =>
  tokens < enough && (o.shrinkage > 0 || o.damp > asked.damp) ? [fewTokens(tokens, o.seqLen, enough)] : []

const fewTokens = (tokens: number, seqLen: number, enough: number) =>
  `${tokens} calibration tokens are few for the width of the FFNs: the choice of neurons and the repair are held back, so that they do not fit this text alone. ${enough} are enough (--windows ${Math.ceil(enough / seqLen)}); another kind of text helps, too, or what the model writes itself.`

/** What `--text` says before a text that flatters the model. */
export const corpusNotice = (text: string, calibratedOn: string): string =>
  `${text}: the model was calibrated on ${calibratedOn}, which looks like a part of the same corpus, so this perplexity flatters it. Measure on another text, too.`

/** Pruning may cost this much more on windows that are held out, as a factor and in nats a token, before it is worth a word. */
const OVERFIT = { factor: 1.5, nats: 0.05 }

/** From so many nats a token on held-out windows on, what models write breaks: facts are gone, sentences go round (bench/decisions.md). */
const BREAKS = 0.1

/** What pruning cost on held-out windows, in nats a token; undefined where there are none. */
export function heldOutCost(texts: Recipe['calibration']['texts']): number | undefined {
  const held = texts.flatMap(({ loss }) => loss?.heldOut ?? [])
  const windows = held.reduce((n, side) => n + side.windows, 0)
  return windows > 0
    ? held.reduce((sum, side) => sum + side.windows * (side.pruned - side.dense), 0) / windows
    : undefined
}

/** What the user should know of a result. @param heals what pruning cost is not the end of it */
export const resultNotices = (
  layers: readonly LayerResult[],
  texts: Recipe['calibration']['texts'],
  options: ResolvedOptions,
  heals = false,
): string[] => [
  ...dampingNotices(layers, options.damp),
  ...overfitNotices(texts),
  ...(heals ? [] : lossNotices(texts, options)),
]

/** A loss with which the model is of little use as it is. */
export function lossNotices(
  texts: Recipe['calibration']['texts'],
  { method, sparsity }: Pick<ResolvedOptions, 'method' | 'sparsity'>,
): string[] {
  const cost = heldOutCost(texts)
  if (cost === undefined || cost < BREAKS) return []
  const other = method.startsWith('best') ? '' : ' method best,'
  return [
    `Pruning cost ${cost.toFixed(2)} nats a token on held-out text: what this model writes is likely to break. More calibration text, another kind of text,${other} healing (fasp heal), or a smaller sparsity, for example ${Number((sparsity / 2).toFixed(2))}, will help.`,
  ]
}

/** Texts whose calibration windows the pruned model fits better than the rest of the text. */
export function overfitNotices(texts: Recipe['calibration']['texts']): string[] {
  return texts.flatMap(({ name, loss }) => {
    if (!loss) return []
    const [on, held] = [loss.calibratedOn, loss.heldOut].map(side => side.pruned - side.dense)
    if (held < on * OVERFIT.factor || held - on < OVERFIT.nats) return []
    return [
      `${name}: pruning cost ${on.toFixed(2)} nats a token on windows that it was calibrated on, and ${held.toFixed(2)} on others. More windows (--windows), or another kind of text, will help.`,
    ]
  })
}

/** Half-blocks that took more damping than asked for. */
export function dampingNotices(layers: readonly LayerResult[], asked: number): string[] {
  return layers.flatMap((layer, i) =>
    Object.entries(layer).flatMap(([half, result]: [string, HalfResult | undefined]) =>
      result && result.damp !== asked
        ? [`Layer ${i}, ${half}: the Gram matrix could not be factored with damping ${asked}; ${result.damp} was used.`]
        : [],
    ),
  )
}
