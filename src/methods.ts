// The methods, each as the parts that it is made of: what may go, how much of each layer (`allocate`), which (`score`), and the repair.
// Nothing after `resolveOptions` asks for a method by its name. docs/methods.md says what each part follows, and where it departs.
import type { AllocateOptions } from './allocate/allocate.ts'
import type { Scope } from './model/architecture.ts'
import type { RestoreOptions } from './restore/least-squares.ts'
import type { SelectOptions } from './select/kept.ts'

export type Layout = (typeof LAYOUTS)[number]
export const LAYOUTS = ['stock', 'padded', 'compact'] as const

/** Options that only some methods take. */
const OWN = [
  ...(['preset', 'scope', 'vo', 'allocate', 'probeTokens', 'score', 'target', 'alpha', 'inputs'] as const),
  ...(['multiple', 'damp', 'center', 'restore'] as const),
] as const

export interface Parts {
  readonly scope: Scope
  /** What tells the units of a half-block that go from those that stay. Whole layers have none: `allocate` decides. */
  readonly score: SelectOptions['score']
  /** How much goes where: by one rule for all layers, measured, or as whole layers. */
  readonly allocate: AllocateOptions['allocate']
  /** Least squares on the kept columns, the mean of what went in the bias, or nothing. */
  readonly restore: RestoreOptions['restore']
}

interface Method {
  /** Parts that make the method; it has no options for them. */
  readonly parts: Partial<Parts>
  /** Scopes that may be asked for; the first is the default. */
  readonly scopes: readonly Scope[]
  /** Layouts that hold the result; the first is the default. */
  readonly layouts: readonly Layout[]
  /** Why no others. */
  readonly because?: string
  readonly options: 'all' | readonly (typeof OWN)[number][]
  /** What a model card says: the name, and the paper. */
  readonly source: readonly [name: string, arxiv?: string]
}

const HEADS = {
  scopes: ['ffn+heads', 'ffn'],
  layouts: ['padded', 'stock'],
  because: 'query and key rows of removed heads have no place of their own in other layouts',
} as const

const LAYERS = {
  scopes: ['layers'],
  layouts: ['stock'],
  because: 'the layers that stay are as they were, so that a stock model with fewer layers holds them',
} as const

export const METHODS = {
  fasp: {
    parts: {},
    scopes: ['ffn', 'ffn+vo'],
    layouts: ['stock', 'padded', 'compact'],
    options: 'all',
    source: ['FASP', '2501.09412'],
  },
  flap: {
    scopes: ['ffn+heads', 'ffn'],
    layouts: ['padded'],
    because: 'each layer has widths of its own, and may lose all its heads or neurons',
    parts: { score: 'fluctuation', allocate: 'standardized', restore: 'bias' },
    options: ['scope'],
    source: ['FLAP', '2312.11983'],
  },
  'wanda-sp': {
    ...HEADS,
    parts: { score: 'column', allocate: 'uniform', restore: false },
    options: ['scope', 'multiple'],
    source: ['Wanda-sp', '2312.11983'],
  },
  magnitude: {
    ...HEADS,
    parts: { score: 'magnitude', allocate: 'uniform', restore: false },
    options: ['scope', 'multiple'],
    source: ['mag-sp', '2312.11983'],
  },
  random: {
    ...HEADS,
    parts: { score: 'random', allocate: 'uniform', restore: false },
    options: ['scope', 'multiple'],
    source: ['a random choice'],
  },
  osscar: {
    ...HEADS,
    parts: { score: 'eliminate', allocate: 'uniform', restore: true },
    options: ['scope', 'multiple', 'damp'],
    source: ['OSSCAR', '2403.12983'],
  },
  shortgpt: {
    ...LAYERS,
    parts: { allocate: 'influence', restore: false },
    options: [],
    source: ['ShortGPT', '2403.03853'],
  },
  sleb: {
    ...LAYERS,
    parts: { allocate: 'perplexity', restore: false },
    options: ['probeTokens'],
    source: ['SLEB', '2402.09025'],
  },
} as const satisfies Record<string, Method>

export type MethodName = keyof typeof METHODS

export const methodNamed = (name: string): Method | undefined =>
  Object.hasOwn(METHODS, name) ? METHODS[name as MethodName] : undefined

export const takesOption = ({ options }: Method, option: string): boolean =>
  options === 'all' || !OWN.some(name => name === option) || options.some(name => name === option)

export const METHOD_NAMES = Object.keys(METHODS) as readonly MethodName[]
