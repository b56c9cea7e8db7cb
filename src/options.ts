// Options of `prune`: one documented type, one table of defaults, one `resolve`.
import { defaultMultiple } from './allocate/uniform.ts'
import { PRECISIONS, type Precision } from './engine/engine.ts'
import { UsageError } from './errors.ts'
import type { FloatDType } from './formats/dtype.ts'
import { LAYOUTS, type Layout, METHODS, type MethodName, methodNamed, type Parts, takesOption } from './methods.ts'
import { type Architecture, isPreNorm } from './model/architecture.ts'
import type { CalibrationInput } from './text/calibration.ts'

export type ValueSelection = (typeof VALUE_SELECTIONS)[number]
const VALUE_SELECTIONS = ['ragged', 'per-head', 'rotate'] as const

export interface PruneOptions {
  /** Fraction of the decoder linears to remove, 0 to 0.9. */
  readonly sparsity: number
  /**
   * What decides which parts go and repairs the rest. All but `fasp` are baselines that bring their own parts (docs/methods.md), have no
   * presets, and write layout `padded`, or, where whole layers go, `stock`. @default 'fasp'
   */
  readonly method?: MethodName
  /**
   * `paper`: what FASP publishes: scope `ffn+vo`, ragged, multiple 1, damp 0.01, no centring, layout `padded`.
   * `best`: the least loss at a size: scope `ffn+vo`, rotated, widths by sensitivity, elimination, dense target, layout `compact`.
   * `stock`: the best that loads wherever the model loaded: scope `ffn`, elimination, dense target, layout `stock`.
   * Other options win over it.
   */
  readonly preset?: keyof typeof PRESETS
  /**
   * FFN neurons only; value channels (V rows, O columns) too; or whole heads too, of which a KV head goes with its query heads.
   * @default 'ffn'; of the methods that remove heads 'ffn+heads'
   */
  readonly scope?: 'ffn' | 'ffn+vo' | 'ffn+heads'
  /**
   * With scope `ffn+vo`, value channels: the best of the layer; the best, as many in every KV head; or as many in every KV head after a
   * change of basis that makes them the best directions. @default 'ragged'
   */
  readonly vo?: ValueSelection
  /**
   * `stock` stores narrow FFNs, removed value channels are zeros; `padded` keeps all shapes and zeros what is removed; `compact` stores
   * only what is left, under a `model_type` of its own. @default 'stock'; of the methods that remove heads 'padded'
   */
  readonly layout?: Layout
  /**
   * Widths: the same for all layers, or by what each half-block's cut would cost the whole model, measured on a small probe.
   * @default 'uniform'
   */
  readonly allocate?: 'uniform' | 'sensitivity'
  /** With `allocate: 'sensitivity'` and method sleb: calibration tokens of the probe. @default 1024; preset best 512 */
  readonly probeTokens?: number
  /** Which columns go: those with the least column score at once, or backward elimination, round by round. @default 'column' */
  readonly score?: 'column' | 'eliminate'
  /**
   * What each half-block is restored towards: its own output on the pruned stream, or a part of the way (`alpha`) from there to the dense
   * model's stream, which then runs beside the pruned one. @default 'pruned'
   */
  readonly target?: 'pruned' | 'dense'
  /** With `target: 'dense'`: how much of what the pruned stream lacks is made up for, 0 to 1. @default 0.5 */
  readonly alpha?: number
  /**
   * With `target: 'dense'`: input layers stay as they are, but for what is cut, or are turned the same part of the way towards what the dense
   * model's get to see. @default 'kept'
   */
  readonly inputs?: 'kept' | 'aligned'
  /**
   * How the calibration text is multiplied by weights: as they are, or both rounded to bfloat16, as in attention and Gram matrices, too.
   * Faster on CPUs that have such products, and only there. @default 'float32'
   */
  readonly products?: Precision
  /** FFN widths are rounded to a multiple of this. @default 256, less for small models; padded: 1 */
  readonly multiple?: number
  /** Damping of the least squares, as a part of the mean of the Gram matrix's diagonal. @default 0.01 */
  readonly damp?: number
  /** Centre activations and repair biases, where there are biases (OPT). @default false */
  readonly center?: boolean
  /** Repair the kept columns by least squares. False takes back a preset's elimination, dense target and sensitivity. @default true */
  readonly restore?: boolean
  /** Element type of all weights written. @default that of the source; BF16 from a quantised GGUF */
  readonly dtype?: FloatDType
  /** Calibration windows. @default 32; presets best and stock as many as make 65,536 tokens; where the model writes its own text 64 */
  readonly samples?: number
  /** Tokens per window. @default 1024, or the model's context; presets best and stock 512; where the model writes its own text 256 */
  readonly seqLen?: number
  /**
   * Windows of each calibration text that are not calibrated on but measured on, beside as many that are: the gap is overfitting.
   * @default 2; presets best and stock as many as make 2048 tokens; preset paper 0
   */
  readonly heldOut?: number
  /** Seed of the text that the model writes for itself, and of the method random. @default 0 */
  readonly seed?: number
  /** GiB of memory for activations; what does not fit goes to a scratch file beside the output. @default 1 */
  readonly memory?: number
}

export type ResolvedOptions = Required<Omit<PruneOptions, 'preset' | 'dtype' | keyof Parts>> &
  Pick<PruneOptions, 'preset' | 'dtype'> &
  Parts

const DEFAULTS = {
  method: 'fasp',
  vo: 'ragged',
  allocate: 'uniform',
  probeTokens: 1024,
  score: 'column',
  target: 'pruned',
  alpha: 0.5,
  inputs: 'kept',
  products: 'float32',
  damp: 0.01,
  center: false,
  restore: true,
  heldOut: 2,
  seed: 0,
  memory: 1,
} as const

export const PRESETS = {
  paper: {
    ...{ scope: 'ffn+vo', vo: 'ragged', layout: 'padded', multiple: 1, damp: 0.01, center: false },
    ...{ allocate: 'uniform', score: 'column', target: 'pruned', inputs: 'kept', heldOut: 0 },
  },
  best: {
    ...{ scope: 'ffn+vo', vo: 'rotate', layout: 'compact' },
    ...{ allocate: 'sensitivity', probeTokens: 512, score: 'eliminate', target: 'dense', inputs: 'aligned' },
  },
  stock: {
    ...{ scope: 'ffn', layout: 'stock', allocate: 'uniform' },
    ...{ score: 'eliminate', target: 'dense', inputs: 'aligned' },
  },
} as const

/** Instead of a preset's dense target, where there is none to aim at. */
const PRUNED_TARGET = { target: DEFAULTS.target, inputs: DEFAULTS.inputs }
/** Instead of what a preset has only for the repair, where there is none. */
const UNREPAIRED = { ...PRUNED_TARGET, score: DEFAULTS.score, allocate: DEFAULTS.allocate }

/** Windows where the user gives text: what the goldens use; and where the model writes its own: short, so that it is quick. */
export const TEXT_WINDOWS = { samples: 32, seqLen: 1024 }
const SELF_WINDOWS = { samples: 64, seqLen: 256 }
/** Presets best and stock: so many tokens, in windows that are shorter and see more places of a text (bench/README.md). */
const SHORT_WINDOWS = { tokens: 65536, heldOutTokens: 2048, seqLen: 512 }

export const MAX_SPARSITY = 0.9

/**
 * Fills in presets and defaults. Called by `run.ts` alone.
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
  const method = methodNamed(given.method ?? DEFAULTS.method)
  if (!method)
    throw new UsageError(`method "${given.method}" is unknown; there is: ${Object.keys(METHODS).join(', ')}.`)
  for (const option of Object.keys(given))
    if (!takesOption(method, option)) throw new UsageError(notTaken(given.method!, option))
  const preset = given.preset === undefined ? {} : PRESETS[given.preset]
  if (!preset)
    throw new UsageError(`preset "${given.preset}" is unknown; there is: ${Object.keys(PRESETS).join(', ')}.`)
  const size = windowSize(given, a?.maxPositions, calibration)
  const o = {
    ...DEFAULTS,
    scope: method.scopes[0],
    layout: method.layouts[0],
    ...size,
    ...preset,
    ...((a && !isPreNorm(a)) || given.target === 'pruned' ? PRUNED_TARGET : {}),
    ...(given.restore === false ? UNREPAIRED : {}),
    ...given,
    ...method.parts,
    ...(calibration.windows && size), // ready-made windows have the size they have
  }
  const resolved = {
    ...o,
    multiple: o.multiple ?? (o.layout === 'padded' ? 1 : defaultMultiple(a?.ffnWidth ?? Infinity)),
  }
  check(resolved, a)
  checkUses(given, resolved)
  return resolved
}

/** Calibration windows and tokens of each, where the user does not say. */
function windowSize({ preset, seqLen }: PruneOptions, maxPositions = Infinity, { windows, texts }: CalibrationInput) {
  if (windows) return { samples: windows.windows.length, seqLen: windows.seqLen }
  const atMost = (size: typeof TEXT_WINDOWS) => ({ ...size, seqLen: Math.min(size.seqLen, maxPositions) })
  if (!texts) return atMost(SELF_WINDOWS)
  if (preset !== 'best' && preset !== 'stock') return atMost(TEXT_WINDOWS)
  const length = seqLen ?? Math.min(SHORT_WINDOWS.seqLen, maxPositions)
  const count = (tokens: number) => Math.ceil(tokens / length)
  return { samples: count(SHORT_WINDOWS.tokens), heldOut: count(SHORT_WINDOWS.heldOutTokens), seqLen: length }
}

/** @throws UsageError where `value` is not in the range, or not whole but should be */
export function checkRange(name: string, value: number, low: number, high: number, whole: boolean): void {
  if (typeof value !== 'number' || !(value >= low && value <= high) || (whole && !Number.isInteger(value)))
    throw new UsageError(`${name} is ${value}; it must be ${whole ? 'an integer' : 'a number'} from ${low} to ${high}.`)
}

/** Options as the command line has them. */
const optionName = (option: string): string =>
  option === 'restore' ? 'no-restore' : option.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)

const notTaken = (method: string, option: string): string =>
  option === 'preset'
    ? `presets are of method fasp; method ${method} has none. Leave one of them out.`
    : `${optionName(option)} is no option of method ${method}. Leave one of them out.`

function check(o: ResolvedOptions, a: Architecture | undefined): void {
  const oneOf = (name: string, value: string, allowed: readonly string[]) => {
    if (!allowed.includes(value))
      throw new UsageError(`${name} is "${value}"; it must be one of ${allowed.join(', ')}.`)
  }
  checkRange('sparsity', o.sparsity, 0, MAX_SPARSITY, false)
  const { scopes, layouts, because, options } = methodNamed(o.method)!
  if (!scopes.includes(o.scope))
    throw new UsageError(`scope is "${o.scope}"; with method ${o.method} it must be one of ${scopes.join(', ')}.`)
  oneOf('vo', o.vo, VALUE_SELECTIONS)
  oneOf('layout', o.layout, LAYOUTS)
  if (!layouts.includes(o.layout))
    throw new UsageError(`method ${o.method} cannot write layout ${o.layout}: ${because}. Use ${layouts.join(' or ')}.`)
  if (options === 'all') {
    oneOf('allocate', o.allocate, ['uniform', 'sensitivity'])
    oneOf('score', o.score, ['column', 'eliminate'])
  }
  checkRange('probe-tokens', o.probeTokens, 1, 1e6, true)
  oneOf('target', o.target, ['pruned', 'dense'])
  checkRange('alpha', o.alpha, 0, 1, false)
  oneOf('inputs', o.inputs, ['kept', 'aligned'])
  oneOf('products', o.products, PRECISIONS)
  checkRange('multiple', o.multiple, 1, a?.ffnWidth ?? Infinity, true)
  checkRange('damp', o.damp, 0, 1e6, false)
  if (o.dtype !== undefined) oneOf('dtype', o.dtype, ['F64', 'F32', 'F16', 'BF16'])
  checkRange('seq-len', o.seqLen, 2, a?.maxPositions ?? Infinity, true)
  checkRange('samples', o.samples, 1, 1e6, true)
  checkRange('held-out', o.heldOut, 0, 1000, true)
  checkRange('seed', o.seed, 0, 2 ** 32 - 1, true)
  checkRange('memory', o.memory, 0, 1e6, false)
  if (o.center && !o.restore)
    throw new UsageError('center is a part of the restoration, and no-restore leaves that out. Leave one of them out.')
  if (o.allocate === 'sensitivity' && o.layout === 'stock')
    throw new UsageError(
      'layout stock has one FFN width for all layers, and allocate sensitivity gives each its own. Use layout compact or padded.',
    )
  if (!o.restore && (o.score === 'eliminate' || o.allocate === 'sensitivity'))
    throw new UsageError(
      `${o.score === 'eliminate' ? 'score eliminate' : 'allocate sensitivity'} goes by what the restoration makes up for, and no-restore leaves that out. Leave one of them out.`,
    )
  if (o.target === 'dense' && !o.restore)
    throw new UsageError(
      'target dense is what the restoration aims at, and no-restore leaves that out. Leave one of them out.',
    )
  if (o.inputs === 'aligned' && o.target !== 'dense')
    throw new UsageError(
      'inputs aligned goes towards the dense stream, which runs with target dense. Add that, or use inputs kept.',
    )
  if (o.target === 'dense' && a && !isPreNorm(a))
    throw new UsageError(
      'target dense needs a model that normalises before each half-block; this one does it after. Use target pruned.',
    )
  if (o.restore === 'bias' && a && !a.biasFields)
    throw new UsageError(
      `method ${o.method} repairs with biases, and ${a.modelType} models have none there. Use another method.`,
    )
  if (o.center && a && !a.halves.some(({ output }) => output.bias))
    throw new UsageError('center repairs biases, and this model has none. Leave the option out.')
}

/** Options that do nothing beside the others. A preset's may: then what wins over the preset took their use away. */
function checkUses(given: PruneOptions, o: ResolvedOptions): void {
  if (given.alpha !== undefined && o.target !== 'dense')
    throw new UsageError(
      'alpha is how far to go towards the dense stream, which runs with target dense. Add that, or leave alpha out.',
    )
  if (given.inputs === 'aligned' && o.alpha === 0)
    throw new UsageError(
      'inputs aligned turns the part alpha of the way, and alpha is 0. Use a larger one, or inputs kept.',
    )
  if (given.vo !== undefined && o.scope === 'ffn')
    throw new UsageError(
      'vo says which value channels go, and scope ffn leaves all of them. Use scope ffn+vo, or leave vo out.',
    )
  if (given.probeTokens !== undefined && o.allocate === 'uniform')
    throw new UsageError(
      'probe-tokens is the size of the probe of allocate sensitivity. Add that, or leave probe-tokens out.',
    )
}
