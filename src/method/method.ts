// A method is one value of each part: what may go (`scope`), how much of each half-block (`allocate`), which (`score`),
// and the repair. Written `best:alpha=0.25` on the command line, `best({ alpha: 0.25 })` in a program. Parts take only
// values that suit their method. Nothing after `resolveOptions` asks for a method by its name. docs/methods.md has the
// sources of each part.
import { didYouMean, UsageError } from '../base/errors.ts'
import type { AllocateOptions } from './allocate/allocate.ts'
import type { Allocate } from './allocate/custom.ts'
import { BASELINES } from './baselines/methods.ts'
import type { RestoreOptions } from './restore/least-squares.ts'
import type { Score } from './score/custom.ts'
import type { SelectOptions } from './select/selection.ts'

export type Layout = 'stock' | 'padded' | 'compact'

/** Options of methods. Each method has some options, with some values; the first in `METHODS` is the default. */
export interface MethodOptions {
  /**
   * FFN neurons only; value channels (V rows, O columns) too: the best of the layer (`ragged`), the best of each KV
   * head, as many in all (`per-head`), or the best directions of each KV head after a change of basis (`rotate`); whole
   * heads too; whole experts of a mixture; or whole layers.
   */
  readonly scope: keyof typeof SCOPES
  /** Which columns go: those with the least score at once, or by backward elimination in rounds. */
  readonly score: SelectOptions['score']
  /**
   * The repair of what stays. `pruned` and `dense`: least squares towards the half-block's output on the pruned stream,
   * or part of the way (`alpha`) from there to the dense model's stream; `aligned`: input layers are turned as far,
   * too; `bias`: the mean of what went.
   */
  readonly repair: keyof typeof REPAIRS
  /** With `repair` dense and aligned: how much of the difference to the dense stream is made up for, 0 to 1. */
  readonly alpha: number
  /** Damping of the least squares, as a part of the mean diagonal of the Gram matrix. */
  readonly damp: number
  /** Centre activations and repair biases, where there are biases (OPT). */
  readonly center: boolean
  /** FFN widths are rounded to a multiple of this. @default 256, less for small models; layout padded: 1 */
  readonly multiple: number
  /**
   * `stock` stores narrow FFNs, and zeros for removed value channels; `padded` keeps all shapes, with zeros for what is
   * removed; `compact` stores only what is left, under a `model_type` of its own.
   */
  readonly layout: Layout
  /** Calibration tokens to measure half-blocks or layers on. */
  readonly probeTokens: number
}

/** Types of options in texts, and help. */
export const METHOD_OPTIONS = {
  scope: { type: 'text', help: 'neurons; value channels too: any, per head, or rotated; or heads; or experts' },
  score: { type: 'text', help: 'which go: by column, at once, or in rounds by what the rest cannot make up for' },
  repair: { type: 'text', help: 'of what stays: towards the pruned or the dense stream, with inputs aligned, or none' },
  alpha: {
    type: 'number',
    help:
      'how far towards the dense stream, 0 to 1; on several texts stock and best take up to 0.5; with repair dense ' +
      'and aligned',
  },
  damp: { type: 'number', help: 'damping of the least squares' },
  center: { type: 'flag', help: 'centre activations and repair biases (OPT)' },
  multiple: { type: 'integer', help: 'FFN widths are rounded to it; up to 256 by the width, in layout padded 1' },
  layout: { type: 'text', help: 'narrow FFNs alone, zeros for what went, or only what is left' },
  probeTokens: { type: 'integer', help: 'tokens that half-blocks or layers are measured on' },
} as const satisfies Record<keyof MethodOptions, { type: 'text' | 'number' | 'integer' | 'flag'; help: string }>

/** The parts of `scope=`. */
export const SCOPES = {
  ffn: { scope: 'ffn', vo: 'ragged' },
  'ffn+ragged': { scope: 'ffn+vo', vo: 'ragged' },
  'ffn+per-head': { scope: 'ffn+vo', vo: 'per-head' },
  'ffn+rotate': { scope: 'ffn+vo', vo: 'rotate' },
  'ffn+heads': { scope: 'ffn+heads', vo: 'ragged' },
  experts: { scope: 'experts', vo: 'ragged' },
  layers: { scope: 'layers', vo: 'ragged' },
} as const

const REPAIRS = {
  none: { restore: false, target: 'pruned', inputs: 'kept' },
  bias: { restore: 'bias', target: 'pruned', inputs: 'kept' },
  pruned: { restore: true, target: 'pruned', inputs: 'kept' },
  dense: { restore: true, target: 'dense', inputs: 'kept' },
  aligned: { restore: true, target: 'dense', inputs: 'aligned' },
} as const

/** A method as the pipeline reads it and results record it. */
export interface Parts
  extends Omit<MethodOptions, 'scope' | 'repair' | 'multiple'>,
    Pick<SelectOptions, 'scope' | 'vo'>,
    Pick<AllocateOptions, 'allocate'>,
    Pick<RestoreOptions, 'restore'> {
  readonly target: 'pruned' | 'dense'
  readonly inputs: 'kept' | 'aligned'
  /** How far elimination shrinks correlations between columns, 0 to 1. */
  readonly shrinkage: number
  /** @default by layout and model */
  readonly multiple?: number
}

/** Parts that a method does not name. */
const BASE = {
  allocate: 'uniform',
  score: 'column',
  repair: 'none',
  probeTokens: 1024,
  alpha: 0.2,
  damp: 0.01,
  shrinkage: 0,
  center: false,
} as const

interface MethodSpec {
  readonly help: string
  /** For model cards: the name, and the paper. */
  readonly source: readonly [name: string, arxiv?: string]
  /** Values of each part, the default first. Numbers have only a default, or none where the model decides. */
  readonly parts: { readonly [K in keyof MethodOptions]?: readonly MethodOptions[K][] } & {
    readonly allocate?: readonly [Parts['allocate']]
  }
  /** Calibrates on shorter windows, at more places of a text (bench/README.md). */
  readonly shortWindows?: true
  /** Held-out windows. @default as for other methods */
  readonly heldOut?: number
}

const FASP = ['FASP', '2501.09412'] as const
const SQUARES = { repair: ['pruned'], damp: [0.01], center: [false], multiple: [] } as const
const LEAST_LOSS = {
  ...SQUARES,
  score: ['eliminate', 'column'],
  repair: ['aligned', 'dense', 'pruned'],
  alpha: [0.2],
} as const
export const METHODS = {
  stock: {
    help: 'the least loss that loads wherever the model loaded: FFNs of one width',
    source: FASP,
    parts: { scope: ['ffn', 'experts'], ...LEAST_LOSS, layout: ['stock'] },
    shortWindows: true,
  },
  best: {
    help: 'the least loss at a size: widths by sensitivity, value channels rotated',
    source: FASP,
    parts: {
      scope: ['ffn+rotate', 'ffn+ragged', 'ffn+per-head', 'ffn'],
      allocate: ['sensitivity'],
      ...LEAST_LOSS,
      layout: ['compact', 'padded'], // not stock, which has one width for all layers
      probeTokens: [512],
    },
    shortWindows: true,
  },
  paper: {
    help: 'FASP as published',
    source: FASP,
    parts: {
      ...SQUARES,
      scope: ['ffn+ragged', 'ffn+per-head', 'ffn'],
      multiple: [1],
      layout: ['padded', 'stock', 'compact'],
    },
    heldOut: 0,
  },
  plain: {
    help: 'the base of these, with uniform widths',
    source: FASP,
    parts: {
      ...LEAST_LOSS,
      scope: ['ffn', 'ffn+ragged', 'ffn+per-head', 'ffn+rotate', 'experts'],
      score: ['column', 'eliminate'],
      repair: ['pruned', 'dense', 'aligned', 'none'],
      layout: ['stock', 'padded', 'compact'],
    },
  },
  ...BASELINES,
} as const satisfies Record<string, MethodSpec>

export type MethodName = keyof typeof METHODS
export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[]

/** Functions of the user. Results name them `custom`. */
export interface Own {
  readonly score?: Score
  readonly allocate?: Allocate
}

export interface Method {
  readonly name: MethodName
  /** Name and options, as on the command line. */
  readonly text: string
  readonly options: Readonly<Record<string, unknown>>
  readonly own: Own
}

type PartsOf<N extends MethodName> = (typeof METHODS)[N]['parts']
/** The options of a method: parts that have a choice. */
export type OptionsOf<N extends MethodName> = {
  readonly [K in keyof PartsOf<N> & keyof MethodOptions as PartsOf<N>[K] extends readonly [string]
    ? never
    : K]?: MethodOptions[K] extends string ? (PartsOf<N>[K] extends readonly (infer V)[] ? V : never) : MethodOptions[K]
}

const named =
  <N extends MethodName>(name: N) =>
  (options: OptionsOf<N> = {}): Method =>
    compose(name, options)

/** The least loss that loads wherever the model loaded: narrower FFNs of one width. */
export const stock = named('stock')
/** The least loss at a size. @example prune(model, { sparsity: 0.3, method: best({ layout: 'padded' }) }) */
export const best = named('best')
/** FASP as published, for comparisons. */
export const paper = named('paper')
/**
 * The base, with all options; `score` and `allocate` may be functions.
 * @example
 * const largest: Score = ({ weight, width }) => {
 *   const scores = new Float64Array(width) // of the columns of weight [d, width]
 *   weight.forEach((w, i) => (scores[i % width] = Math.max(scores[i % width], Math.abs(w))))
 *   return scores
 * }
 * const late: Allocate = ({ layers, full }) =>
 *   Array.from({ length: layers }, (_, i) => ({ ...full, ffn: i < layers / 2 ? full.ffn : full.ffn / 2 }))
 * prune(model, { sparsity: 0.2, method: plain({ score: largest, allocate: late, layout: 'compact' }) })
 */
export const plain = (
  options: Omit<OptionsOf<'plain'> & Own, 'score'> & { score?: OptionsOf<'plain'>['score'] | Score } = {},
): Method => compose('plain', options)
export const flap = named('flap')
export const wandaSp = named('wanda-sp')
export const magnitude = named('magnitude')
export const random = named('random')
export const osscar = named('osscar')
export const reap = named('reap')
export const shortgpt = named('shortgpt')
export const sleb = named('sleb')

export const specOf = (text: string): MethodSpec => METHODS[text.split(':')[0] as MethodName]

/** The name of an option in a text. */
export const optionName = (option: string): string => option.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)

/** Options of a method that have a choice. */
export const optionsOf = (name: MethodName): (keyof MethodOptions)[] =>
  (Object.keys(METHOD_OPTIONS) as (keyof MethodOptions)[]).filter(option => {
    const values = specOf(name).parts[option]
    return values && (values.length > 1 || METHOD_OPTIONS[option].type !== 'text')
  })

/** @throws UsageError for an option or a value that the method does not have */
export function compose(name: MethodName, given: object): Method {
  const spec: Readonly<Record<string, readonly unknown[] | undefined>> = specOf(name).parts
  const [options, own]: Record<string, unknown>[] = [{}, {}]
  for (const [option, value] of Object.entries(given)) {
    if (value === undefined || value === false) continue
    const isOwn = typeof value === 'function' && name === 'plain'
    const values = spec[option]
    if (!values && !isOwn) {
      const all = optionsOf(name).map(optionName)
      throw new UsageError(
        `method ${name} has no option "${optionName(option)}"; it has: ${all.join(', ') || 'none'}.` +
          didYouMean(optionName(option), all),
      )
    }
    if (typeof values?.[0] === 'string' && !values.includes(value) && !isOwn)
      throw new UsageError(
        `${option} is "${value}"; with method ${name} it must be one of ${values.join(', ')}.` +
          didYouMean(`${value}`, values as string[]),
      )
    options[option] = isOwn ? 'custom' : value
    if (isOwn) own[option] = value
  }
  const { target, restore } = partsOf({ name, options })
  const idle = options.alpha !== undefined && target !== 'dense' ? 'alpha' : options.center && !restore && 'center'
  const repair = options.repair ?? spec.repair?.[0]
  if (idle) throw new UsageError(`${idle} does nothing with repair ${repair}. Leave it out, or use another repair.`)
  const written = Object.entries(options).map(([o, value]) => (value === true ? o : `${optionName(o)}=${value}`))
  return { name, text: [name, ...written].join(':'), options, own }
}

export function partsOf({ name, options }: Pick<Method, 'name' | 'options'>): Parts {
  const first = Object.fromEntries(Object.entries(specOf(name).parts).map(([part, values]) => [part, values[0]]))
  const all = { ...BASE, ...first, ...options }
  const { scope, repair, ...rest } = all as unknown as MethodOptions & Pick<Parts, 'allocate' | 'shrinkage'>
  return { ...rest, ...SCOPES[scope], ...REPAIRS[repair] }
}
