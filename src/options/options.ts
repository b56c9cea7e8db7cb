// Options of `prune`: one documented type, one table of defaults, one `resolve`.
import { UsageError } from '../base/errors.ts'
import type { Precision } from '../engine/engine.ts'
import { type FloatDType, isFloat } from '../formats/dtype.ts'
import { defaultMultiple } from '../method/allocate/uniform.ts'
import { type Method, type OptionsOf, type Parts, partsOf, specOf } from '../method/method.ts'
import { methodOf } from '../method/method-text.ts'
import { type Architecture, attentionHalves, expertsOf, ffnHalves } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { CalibrationInput, CalibrationSource } from '../text/calibration.ts'
import { DEFAULT_METHOD, DEFAULTS, SELF_WINDOWS, SHORT_WINDOWS, TEXT_WINDOWS } from './defaults.ts'

/**
 * Healing trains the linear layers of all half-blocks (`all`) or of FFNs (`ffn`), or low-rank updates of all linear
 * layers (`lora`). Embedding, norms, head and routers stay: a trained router sends tokens to experts untrained on them.
 */
export const TRAINS = ['all', 'ffn', 'lora'] as const
export type Trains = (typeof TRAINS)[number]

/** How much to remove: exactly one of these. */
export interface Amount {
  /** Fraction of the decoder linears to remove, 0 to 0.9. */
  readonly sparsity?: number
  /** Bytes of the result at most: of the weights of a folder, or of the `.gguf` where that is the output. */
  readonly size?: number
  /** Parameters of the whole model at most; zeros that a layout keeps in the place of removed ones do not count. */
  readonly parameters?: number
  /** Nats a token that pruning may cost on held-out windows; trial runs find the sparsity. */
  readonly maxLoss?: number
}

export interface PruneOptions extends Amount {
  /**
   * What decides which parts go and repairs the rest: `best({ alpha: 0.25 })`, or as in a command `best:alpha=0.25`.
   * @default 'stock'
   */
  readonly method?: Method | string
  /**
   * How calibration text and weights are multiplied: as they are, or rounded, in attention and Gram matrices, too: to
   * `bf16` on Intel's CPUs that have it, to `tf32` on NVIDIA's GPUs by `device: 'cuda'`. Faster. @default 'float32'
   */
  readonly products?: Precision
  /** Element type of all weights written; from a quantised GGUF BF16. @default as the source */
  readonly dtype?: FloatDType
  /**
   * Calibration windows; of own text best and stock take at most 48 tokens for each neuron of an FFN.
   * @default stock, best 65536 tokens; else 32, self-written 64
   */
  readonly windows?: number
  /** Tokens per window. @default 1024, or the context; stock, best 512; self-written 256 */
  readonly seqLen?: number
  /**
   * Windows of each calibration text that are measured on and not calibrated on, beside as many that are: the gap is
   * overfitting. @default 2; stock, best 2048 tokens; paper 0
   */
  readonly heldOut?: number
  /** Seed of the text that the model writes for itself, and of the method random. @default 0 */
  readonly seed?: number
  /** GiB of memory for activations; what does not fit goes to a scratch file beside the output. @default 1 */
  readonly memory?: number
}

export const AMOUNTS = ['sparsity', 'size', 'parameters', 'maxLoss'] as const satisfies readonly (keyof Amount)[]

/** All of it, the method as its parts; plain data, which results record. */
export interface ResolvedOptions
  extends Required<Omit<PruneOptions, 'method' | 'dtype' | keyof Amount>>,
    Required<Parts>,
    Amount {
  /** As asked for, or the least that reaches what is asked for instead. */
  readonly sparsity: number
  /** As the command line takes it. */
  readonly method: string
  readonly dtype?: FloatDType
}

/** Of an FFN. Small models need no more (docs/results.md), and what they write themselves takes time. */
const TOKENS_PER_NEURON = 48

/**
 * Fills in the method's parts and defaults. Called by `run.ts`, and where it is asked whether a model takes a method.
 * @param a undefined before there is a model: then as on one that sets no limits
 * @throws UsageError for a value outside its range
 */
export function resolveOptions(
  options: PruneOptions,
  a: Architecture | undefined,
  calibration: CalibrationInput,
): ResolvedOptions {
  const given = Object.fromEntries(
    Object.entries(options).filter(([, value]) => value !== undefined),
  ) as unknown as PruneOptions
  const method = methodOf(given.method ?? DEFAULT_METHOD)
  const parts = { ...partsOf(method), ...layoutFor(method, a) }
  const size = windowSize(method.name, given.seqLen, a, calibration)
  const byUnit = parts.layout === 'padded' || parts.allocate === 'standardized'
  const multiple = byUnit ? 1 : defaultMultiple(a?.ffnWidth ?? Infinity)
  const amounts = AMOUNTS.filter(amount => given[amount] !== undefined)
  if (amounts.length !== 1) {
    const said = amounts.length === 0 ? 'no sparsity' : `${amounts.join(' and ')} are given`
    throw new UsageError(
      `${said}. Say how much to remove, in one way: sparsity (-s 0.2), size (--size 85MB), parameters ` +
        '(--params 100M) or maxLoss (--max-loss 0.1).',
    )
  }
  const resolved = {
    ...DEFAULTS,
    sparsity: 0,
    ...size,
    ...given,
    ...(calibration.windows && size), // ready-made windows have the size they have
    ...parts,
    multiple: parts.multiple ?? multiple,
    method: method.text,
  }
  check(resolved, a)
  return resolved
}

/** Layout compact where the user names none, and it is the only one that has a place for the biases of a method. */
function layoutFor(method: Method, a: Architecture | undefined): Partial<Pick<Parts, 'layout'>> {
  const { restore } = partsOf(method)
  const only = restore === 'bias' && a && !a.biasFields && expertsOf(a) === 0 && !('layout' in method.options)
  return only ? { layout: 'compact' } : {}
}

/** Calibration windows and tokens of each, where the user does not say. */
function windowSize(method: string, seqLen: number | undefined, a: Architecture | undefined, of: CalibrationInput) {
  const { shortWindows, heldOut } = specOf(method)
  const { windows: made, texts } = of
  const held = heldOut === undefined ? {} : { heldOut }
  if (made) return { ...held, windows: made.windows.length, seqLen: made.seqLen }
  const usual = texts ? TEXT_WINDOWS : SELF_WINDOWS
  const atMost = (length: number) => Math.min(length, a?.maxPositions ?? Infinity)
  if (!shortWindows) return { ...held, ...usual, seqLen: atMost(usual.seqLen) }
  const length = seqLen ?? atMost(Math.min(SHORT_WINDOWS.seqLen, usual.seqLen))
  const count = (tokens: number) => Math.ceil(tokens / length)
  const windows = count(texts ? SHORT_WINDOWS.tokens : enoughTokens(a))
  return { windows, heldOut: count(SHORT_WINDOWS.heldOutTokens), seqLen: length }
}

/** Below this part of enough tokens columns go by their own scores, and repair is damped more (bench/decisions.md). */
const FEW = 1 / 4
/** By how much less correlations between columns count in elimination, however many tokens of one text there are. */
const LEAST_SHRINKAGE = 0.5
/** How far towards the dense stream the repair goes on enough tokens of several texts. */
const BROAD_ALPHA = 0.5

/** What calibration tokens are for. */
interface Calibrated {
  readonly options: ResolvedOptions
  readonly method: Method
  readonly model: Model
  readonly source: CalibrationSource
  readonly calibration: CalibrationInput
}

/**
 * The options for so many calibration tokens. Correlations between columns are in part of this text, and from few
 * tokens in part chance, which least squares and elimination would trust: methods best and stock hold back where the
 * user does not say, of several texts as far as tokens lack. Own text has correlations that others lack: there `stock`
 * goes by each column's own score.
 */
export function optionsOn(tokens: number, run: Calibrated): ResolvedOptions {
  const { options: o, method, model, source, calibration } = run
  if (!specOf(method.name).shortWindows) return o
  const share = Math.min(1, tokens / enoughTokens(model.architecture))
  const { texts = [] } = calibration.windows ?? calibration
  const isBroad = texts.length > 1
  const asked = method.options as OptionsOf<'stock'>
  const { damp = share < FEW ? o.damp / share : o.damp } = asked
  const { alpha = Math.max(o.alpha, isBroad ? BROAD_ALPHA * share : 0) } = asked
  const apart = share < FEW || (source === 'self' && method.name === 'stock')
  const score = asked.score ?? (apart ? 'column' : o.score)
  const shrinkage = asked.score ? 0 : Math.max(isBroad ? 0 : LEAST_SHRINKAGE, 1 - share)
  return { ...o, damp, alpha, score, shrinkage }
}

/** Of how many tokens an expert of a mixture sees one. */
function expertShare(a: Architecture): number {
  const [{ experts }] = ffnHalves(a)
  return experts ? experts.router.out / experts.active : 1
}

/** Calibration tokens beyond which methods best and stock gain little. */
export const enoughTokens = (a: Architecture | undefined): number =>
  Math.min(SHORT_WINDOWS.tokens, TOKENS_PER_NEURON * (a ? a.ffnWidth * expertShare(a) : Infinity))

/** @throws UsageError where `value` is not in the range, or not whole but should be */
export function checkRange(name: string, value: number, low: number, high: number, whole: boolean): void {
  if (typeof value !== 'number' || !(value >= low && value <= high) || (whole && !Number.isInteger(value)))
    throw new UsageError(`${name} is ${value}; it must be ${whole ? 'an integer' : 'a number'} from ${low} to ${high}.`)
}

/** Ways to share out that need no figures of one FFN's neurons, or leave widths alone. */
const MIXTURE_WIDTHS: readonly string[] = ['uniform', 'influence', 'perplexity']

/** What the specification leaves to check: ranges of a method's options, and what only the model can tell. */
function check(o: ResolvedOptions, a: Architecture | undefined): void {
  if (o.maxLoss !== undefined && o.heldOut === 0)
    throw new UsageError('max-loss is measured on held-out windows, and held-out is 0. Give more, for example 4.')
  checkRange('probe-tokens', o.probeTokens, 1, 1e6, true)
  checkRange('alpha', o.alpha, 0, 1, false)
  checkRange('multiple', o.multiple, 1, a?.ffnWidth ?? Infinity, true)
  checkRange('damp', o.damp, 0, 1e6, false)
  if (o.dtype !== undefined && !isFloat(o.dtype))
    throw new UsageError(
      `dtype is "${o.dtype}"; weights in a folder are F32, F16, BF16 or F64. Quantised types are those of GGUF: ` +
        'name a .gguf as output, or add an export such as --to gguf:q8_0.',
    )
  checkRange('seq-len', o.seqLen, 2, a?.maxPositions ?? Infinity, true)
  if (o.windows === 0) throw new UsageError('calibration has no windows. Give some, or texts.')
  if (o.restore === 'bias' && a && !a.biasFields && expertsOf(a) === 0 && o.layout !== 'compact')
    throw new UsageError(
      `method ${o.method} repairs with biases, and config.json of ${a.modelType} models has no fields for them. ` +
        'Use layout=compact, which has one.',
    )
  if (o.scope === 'ffn+heads' && a && attentionHalves(a).some(({ norms, headSize: e }) => (norms.query?.size ?? e) > e))
    throw new UsageError(
      `scope ffn+heads removes whole heads, and ${a.modelType} models have one norm over all of them. Use scope=ffn.`,
    )
  if (o.scope === 'experts' && o.layout !== 'stock')
    throw new UsageError(`scope experts is written in layout stock, and layout is ${o.layout}. Leave one of them out.`)
  if (o.scope === 'experts' && a && expertsOf(a) === 0)
    throw new UsageError(`method ${o.method} removes experts, and ${a.modelType} models have none. Use another scope.`)
  const compact = o.layout === 'compact'
  const why = compact ? 'layout compact has no place for them' : 'it gives each layer a width of its own'
  if (a && expertsOf(a) > 0 && (compact || !MIXTURE_WIDTHS.includes(o.allocate)))
    throw new UsageError(
      `method ${o.method} cannot prune a mixture of experts: ${why}. Use stock, reap, or plain with layout stock.`,
    )
  if (o.center && a && !a.halves.some(({ output }) => output.bias))
    throw new UsageError('center repairs biases, and this model has none. Leave the option out.')
}
