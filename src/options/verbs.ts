// Who has which options of the specification (spec.ts): the verbs of the library by their names, with the command of
// the same job, and commands that are no verb.
import { DEVICES } from '../engine/device.ts'
import { optionName } from '../method/method.ts'
import { DEFAULTS, HEAL_DEFAULTS } from './defaults.ts'
import type { Option, Platform } from './option.ts'
import { ALL_WINDOWS, type ARGUMENTS, CALLS, CONTEXT, OPTIONS, type OptionName } from './spec.ts'

/** A verb or a command. */
export interface Verb {
  readonly arguments?: readonly (keyof typeof ARGUMENTS)[]
  /** Options of the verb. The command has those that have a place on the command line. */
  readonly takes?: readonly OptionName[]
  readonly node?: readonly OptionName[]
  readonly web?: readonly OptionName[]
  /** Options without a default. */
  readonly needs?: readonly OptionName[]
  /** What the command has besides. */
  readonly command?: readonly OptionName[]
  /** What is not as the specification says. */
  readonly own?: { readonly [K in OptionName]?: Partial<Option> }
}

const AMOUNT = ['sparsity', 'size', 'parameters', 'maxLoss'] as const
const PRUNING = [...AMOUNT, 'method', 'products', 'dtype', 'windows', 'seqLen', 'heldOut', 'seed', 'memory'] as const
const PLANNING = ['output', 'overwrite', 'to', 'vocabulary', 'text', 'heal', 'recipe'] as const
const CALIBRATED = ['calibration', 'signal'] as const
const HEALING = ['tokens', 'lr', 'train', 'rank', 'top', 'batch', 'every'] as const
const RESUMED = ['resume', 'saveEvery'] as const
const ENGINE = ['engine', 'signal'] as const
const TASKS = ['tasks', 'tasksData', 'limit'] as const
const DEVICE = ['device', 'threads', 'deviceMemory', 'provider'] as const
const RANKS = ['mpi', 'read', 'mpiTimeout'] as const
const REPORT = ['report', 'prompts'] as const
const PRINTED = ['json', 'quiet'] as const
const OPENING = { arguments: ['model'], takes: ['signal'], web: ['fetch'] } as const

const PRUNE = {
  arguments: ['model'],
  takes: [...PRUNING, ...CALIBRATED, 'engine', 'output'],
  node: [...PLANNING, ...RESUMED, 'textWindows', 'keepStatistics', 'common', 'group'],
  web: ['fetch', 'openScratch', 'saved'],
  needs: ['output'],
  command: ['lr', 'vocabularySize', 'seconds', 'dryRun', ...REPORT, ...DEVICE, 'blas', ...RANKS, ...PRINTED],
  own: {
    output: { call: ['string', 'object'], web: 'object' },
    lr: { rare: true, help: 'of --heal: largest rate of learning' },
  },
} as const satisfies Verb

export const VERBS = {
  openModel: OPENING,
  inspect: { ...OPENING, command: ['tensors', 'devices', ...PRINTED] },
  planPrune: { arguments: ['model'], takes: [...PRUNING, ...CALIBRATED], node: PLANNING, web: ['fetch'] },
  windowsWithin: {
    arguments: ['model'],
    takes: [...PRUNING, ...PLANNING, ...CALIBRATED, 'engine', 'seconds'],
    needs: ['seconds'],
  },
  prune: PRUNE,
  prepare: PRUNE,
  evaluate: {
    arguments: ['model'],
    takes: [...ENGINE, 'text', 'seqLen', 'windows', 'dense', 'tasks', 'limit', 'phase'],
    node: ['tasksData'],
    web: ['fetch', 'pages'],
    command: [...REPORT, 'overwrite', ...DEVICE, ...PRINTED],
    own: {
      text: { needed: true },
      seqLen: { list: true, call: ['number', 'array'], value: 'n,…', rare: false, default: CONTEXT },
      windows: { also: 'text-windows', help: 'the first n windows of each text', default: 'all' },
      dense: { help: 'on each text, KL to this model and top-1 agreement' },
    },
  },
  perplexity: { arguments: ['model', 'text'], takes: [...ENGINE, 'windows', 'seqLen'], web: ['fetch'] },
  generate: {
    arguments: ['model', 'prompt'],
    takes: [...ENGINE, 'maxTokens', 'temperature', 'topK', 'topP', 'seed'],
    web: ['fetch'],
    command: ['prompt', 'chat', 'system', ...DEVICE, ...PRINTED],
    own: { seed: { rare: false } },
  },
  exportModel: {
    arguments: ['model'],
    takes: [...ENGINE, 'output', 'to', 'dtype', 'overwrite', 'verify', ...RESUMED],
    needs: ['output'],
    command: ['vocabulary', 'vocabularySize', ...DEVICE, ...PRINTED],
    own: { to: { needed: true }, dtype: { rare: false } },
  },
  heal: {
    arguments: ['pruned'],
    takes: [
      ...[...HEALING, ...ENGINE, ...RESUMED, 'dense', 'output', 'overwrite', 'calibration', 'measureOn', 'windows'],
      ...['seqLen', 'heldOut', 'seed', 'memory', 'products', 'group'],
    ],
    needs: ['dense', 'output'],
    command: [...REPORT, ...DEVICE, ...RANKS, ...PRINTED],
    own: {
      output: { value: 'folder', help: 'where the healed model goes: a folder' },
      windows: { rare: true, help: 'of the texts at most; they come again', default: 'as many as make the tokens' },
      seqLen: { default: `${HEAL_DEFAULTS.seqLen}, or the context` },
      heldOut: { range: [1, 1000], default: `as many as make ${HEAL_DEFAULTS.heldOutTokens} tokens` },
      memory: { default: HEAL_DEFAULTS.memory },
    },
  },
  compare: {
    arguments: ['model'],
    takes: [
      ...[...ENGINE, ...TASKS, 'methods', 'sparsity', 'heal', 'lr', 'text', 'output', 'overwrite', 'calibration'],
      ...['windows', 'calibrationSeqLen', 'seqLen', 'textWindows', 'prompts', 'seed', 'memory', 'products'],
    ],
    needs: ['output', 'methods', 'sparsity'],
    command: ['resume', 'report', ...DEVICE, 'blas', ...PRINTED],
    own: {
      sparsity: { default: '0.1,0.2,0.3', value: 'list', call: 'array' },
      heal: {
        list: true,
        call: ['number', 'boolean', 'array'],
        help: 'each healed by gradients, too, on so many tokens',
      },
      lr: { rare: true, help: 'of --heal: largest rate of learning' },
      text: { call: 'strings' },
      output: { value: 'file', help: 'result file; one that was begun is completed', default: 'compare-<model>.json' },
      overwrite: { help: 'start anew where the file holds a result' },
      resume: { rare: true, help: 'complete what was begun, as without --overwrite' },
      calibration: { call: 'strings' },
      windows: { default: ALL_WINDOWS },
      seqLen: { rare: false, default: CONTEXT },
      memory: { default: `${DEFAULTS.memory}, where models are healed ${HEAL_DEFAULTS.memory}` },
      textWindows: { list: true, call: ['number', 'array'], value: 'list', rare: false },
      prompts: { help: 'a prompt that each model continues; repeatable', rare: false },
    },
  },
  fetchModel: { arguments: ['name'], takes: ['signal'] },
  verify: { arguments: ['model'], takes: ENGINE, command: [...DEVICE, ...PRINTED] },
  push: {
    arguments: ['folder', 'repository'],
    takes: ['signal', 'private', 'revision', 'message', 'createPullRequest', 'overwrite', 'token'],
    command: ['dryRun', ...PRINTED],
    own: {
      dryRun: { help: 'show what would be sent; ask no server' },
      overwrite: { help: 'replace files that fasp did not write' },
    },
  },
  openEngine: { takes: [...DEVICE, 'blas'], own: { device: { choices: DEVICES } } },
  demo: {},
  ui: {
    command: ['port', ...DEVICE, 'blas', 'saveEvery'],
    own: { saveEvery: { help: 'at least between savings of what a job goes on from' } },
  },
  report: {
    command: ['output', 'chart', 'overwrite'],
    own: { output: { value: 'file', help: '.html, .md, .svg, or .json of several' } },
  },
  bench: {
    command: ['runs', 'output', 'overwrite', ...DEVICE, ...PRINTED],
    own: { output: { value: 'file', help: 'write the result there as JSON' } },
  },
} as const satisfies Record<string, Verb>

export type VerbName = keyof typeof VERBS
type Listed<V extends VerbName, List extends keyof Verb> = (typeof VERBS)[V] extends {
  readonly [L in List]: readonly (infer K extends OptionName)[]
}
  ? K
  : never
type Own<V extends VerbName, K> = (typeof VERBS)[V] extends { readonly own: { readonly [N in K & string]: infer O } }
  ? O
  : object

/** Options that a call of the verb takes. */
export type Taken<V extends VerbName, P extends Platform> = Listed<V, 'takes'> | Listed<V, P>
/** Options of the command. */
export type Commanded<V extends VerbName> = Exclude<Taken<V, 'node'>, keyof typeof CALLS> | Listed<V, 'command'>
/** An option as a verb has it. */
export type Entry<V extends VerbName, K extends OptionName> = Omit<(typeof OPTIONS)[K], keyof Own<V, K>> & Own<V, K>

const ofVerb = (verb: VerbName, names: readonly OptionName[]): Readonly<Record<string, Option>> => {
  const { own = {} }: Verb = VERBS[verb]
  const listed = Object.keys(OPTIONS).filter(name => names.includes(name as OptionName)) as OptionName[]
  return Object.fromEntries(listed.map(name => [name, { ...OPTIONS[name], ...own[name] }]))
}

/** The options that a call takes, in the order of the specification. */
export function takenBy(verb: VerbName, platform: Platform): Readonly<Record<string, Option>> {
  const { takes = [], [platform]: more = [] }: Verb = VERBS[verb]
  return ofVerb(verb, [...takes, ...more])
}

/** The options of the command. */
export function commandedBy(verb: VerbName): Readonly<Record<string, Option>> {
  const { takes = [], node = [], command = [] }: Verb = VERBS[verb]
  return ofVerb(
    verb,
    [...takes, ...node, ...command].filter(name => !(name in CALLS)),
  )
}

/** The name of an option on the command line. */
export const flagOf = (name: string, { flag }: Option): string => flag ?? optionName(name)
