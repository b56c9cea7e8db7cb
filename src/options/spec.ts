// The specification of options: each option once, with its type, range, default, help and group. The command line, help
// and docs/cli.md, the checks of calls, the keys of a recipe and the settings of the page come from here. TypeScript
// checks the types of options against the specification where a verb is bound (`checkedOn` in call-check.ts), and
// spec.test.ts checks what `@default` says. verbs.ts says who has which options.
import { DEVICES } from '../engine/device.ts'
import { PRECISIONS } from '../engine/engine.ts'
import { MAX_SPARSITY } from '../method/least-sparsity.ts'
import { SAVE_EVERY } from '../output/state.ts'
import { DEFAULT_METHOD, DEFAULTS, HEAL_DEFAULTS, SELF_WINDOWS, SHORT_WINDOWS, TEXT_WINDOWS } from './defaults.ts'
import { callOnly, flag, integer, number, type Option, text } from './option.ts'
import { TRAINS } from './options.ts'

/** Stands for a device until a command has chosen one. */
export const AUTO = 'auto'

const COUNT = [1, 1e9] as const
/** The model says how long its context is, which is checked when the model is open. */
const LENGTH = [2, Number.POSITIVE_INFINITY] as const
const { rates } = HEAL_DEFAULTS

/** Defaults in words. */
export const CONTEXT = `${TEXT_WINDOWS.seqLen}, or the context`
export const ALL_WINDOWS = `${TEXT_WINDOWS.windows}, self-written ${SELF_WINDOWS.windows}`

const NEEDED = {
  sparsity: number('part of the decoder linears to remove, 0 to 0.9; several: 0.2,0.3', {
    range: [0, MAX_SPARSITY],
    short: 's',
    list: true,
    units: { '%': 0.01 },
    call: 'number',
    recipe: 'always',
    page: true,
  }),
  size: number('or: of the .gguf, or the weights of the folder', {
    range: [1, Number.MAX_SAFE_INTEGER],
    units: { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 },
    value: '85MB',
    recipe: 'always',
    page: true,
  }),
  parameters: number('or: parameters of the whole model', {
    range: [1, Number.MAX_SAFE_INTEGER],
    flag: 'params',
    units: { k: 1e3, M: 1e6, B: 1e9 },
    value: '100M',
    rare: true,
    recipe: 'always',
  }),
  maxLoss: number('or: cost a token on held-out text; some trial runs', {
    range: [1e-6, 100],
    value: 'nats',
    recipe: 'always',
  }),
  methods: text('methods of fasp prune; --help-all lists them', {
    default: 'plain,stock,best',
    list: true,
    value: 'list',
    call: 'strings',
  }),
  output: text('where the result goes: a folder, or a .gguf file', { short: 'o', value: 'path' }),
  recipe: text('do again what this fasp.json says, but for what is given here', { value: 'path', rare: true }),
  method: text('stock, best, paper, …: see --help-all', {
    default: DEFAULT_METHOD,
    value: 'name',
    call: ['string', 'object'],
    recipe: 'always',
    page: true,
  }),
  dense: text('the model that it was pruned from', { value: 'model', call: ['string', 'object'], web: 'object' }),
  prompt: text('the text to continue; without it, or -: from stdin', { needed: true, short: 'p', value: 'text' }),
  chat: flag('the text is a message: answer by the chat template of the model'),
  system: text('system message, with --chat', { value: 'text' }),
  maxTokens: integer('tokens to write', { range: [1, 1e6], default: 64 }),
  temperature: number('0 is greedy, 1 the model as it is', { range: [0, 100], default: 0 }),
  topK: integer('only the k most likely tokens', { range: COUNT, default: 'all' }),
  topP: number('only the most likely tokens that reach p together', { range: [1e-6, 1], default: 1 }),
  heal: integer(`heal the result by gradients, on so many tokens (${HEAL_DEFAULTS.tokens})`, {
    range: [1, 1e12],
    bare: String(HEAL_DEFAULTS.tokens),
    value: 'tokens',
    call: ['number', 'boolean', 'object'],
    recipe: 'always',
  }),
  tokens: integer('to heal on', { range: [1, 1e12], default: HEAL_DEFAULTS.tokens }),
  lr: number('largest rate of healing', {
    range: [0, 1],
    default: `${rates.all}, lora ${rates.lora}, or less if that harms`,
    value: 'rate',
  }),
  train: text('all weights, of FFNs, or low-rank updates', { choices: TRAINS, default: 'all; above 1 B weights lora' }),
  rank: integer('of low-rank updates', { range: [1, 4096], default: HEAL_DEFAULTS.rank, rare: true }),
  top: integer('likely tokens of the dense model to go by, 0: all', {
    range: [0, 2 ** 24],
    default: HEAL_DEFAULTS.top,
    rare: true,
  }),
  batch: integer('windows of a step', {
    range: [1, 1e4],
    default: `as many as make ${HEAL_DEFAULTS.stepTokens} tokens`,
    rare: true,
  }),
  every: integer('steps between measurements', { range: COUNT, default: 'an eighth of all', rare: true }),
  resume: flag('go on from what a run that was stopped had done'),
  saveEvery: number('at least between savings of what --resume needs', {
    range: [0, 1e9],
    default: SAVE_EVERY,
    value: 'seconds',
    rare: true,
  }),
  keepStatistics: flag('keep what a later export in a quantised type rounds with', { rare: true, recipe: 'folder' }),
  seconds: number('or: as many windows as pruning has time for, by trying two layers', {
    range: COUNT,
    flag: 'budget',
    units: { s: 1, m: 60, h: 3600 },
    value: '10m',
    rare: true,
  }),
  tasks: text('zero-shot tasks: arc_easy,piqa,… (docs/tasks.md)', {
    default: 'none',
    list: true,
    value: 'list',
    call: 'strings',
    web: 'objects',
  }),
  tasksData: text('folders with the items of tasks; repeatable', {
    default: 'from the Hub',
    many: true,
    value: 'folder',
    call: 'strings',
    rare: true,
  }),
  limit: integer('the first n items of each task', { range: COUNT, default: 'all', rare: true }),
  tensors: flag('list every tensor'),
  devices: flag('not of a model: what this machine computes with'),
  verify: flag('run in llama.cpp or transformers.js too, if there'),
  port: integer('of 127.0.0.1', { range: [1, 65535], default: 'a free one' }),
  runs: integer('turns of each model', { range: [1, 1000], default: 3 }),
  private: flag('make a new repository private'),
  revision: text('branch to push to; made if missing', { default: 'main', value: 'branch' }),
  message: text('first line of the commit message', { value: 'text' }),
  createPullRequest: flag('open a pull request', { flag: 'create-pr' }),
  chart: text('which chart an .svg shows', {
    choices: ['perplexity', 'tokens', 'accuracy', 'healing', 'layers'],
    default: 'perplexity',
  }),
  mpi: text('library of the processes that mpirun or srun started: auto, off, path', {
    default: 'auto',
    rare: true,
    value: 'library',
  }),
  read: text('models: by each process, or by the root, which sends them', {
    choices: ['each', 'root'],
    default: 'each',
    rare: true,
  }),
  mpiTimeout: number('for a rank without a sign of life, then all end; 0: no limit', {
    range: [0, 1e6],
    default: '1h',
    units: { s: 1, m: 60, h: 3600 },
    value: '10m',
    rare: true,
  }),
} as const satisfies Record<string, Option>

const TEXTS = {
  calibration: text('file, wikitext2, c4, hf:org/name:split; repeatable', {
    default: 'self, which the model writes',
    many: true,
    value: 'file',
    call: ['texts', 'object'],
    web: ['objects', 'object'],
    recipe: 'always',
  }),
  measureOn: text('another text to measure on, as --calibration; repeatable', {
    many: true,
    value: 'file',
    rare: true,
    call: 'texts',
  }),
  text: text('to measure on: file, wikitext2, c4, hf:org/name:split; repeatable', {
    many: true,
    value: 'file',
    call: 'texts',
    web: 'objects',
    recipe: 'folder',
  }),
  vocabulary: text('keep only the tokens of this text; repeatable', {
    many: true,
    value: 'file',
    call: 'object',
    recipe: 'always',
  }),
  vocabularySize: integer('tokens at most, the most frequent', { default: 'all of it', rare: true }),
  windows: integer('to calibrate on', {
    range: [1, 1e6],
    default: `stock, best ${SHORT_WINDOWS.tokens} tokens; else ${ALL_WINDOWS}`,
    recipe: 'always',
    page: true,
  }),
  seqLen: integer('tokens per window', {
    range: LENGTH,
    default: `${CONTEXT}; stock, best ${SHORT_WINDOWS.seqLen}; self-written ${SELF_WINDOWS.seqLen}`,
    rare: true,
    recipe: 'always',
    page: true,
  }),
  calibrationSeqLen: integer('tokens per calibration window', {
    range: LENGTH,
    default: 'as seq-len, if given',
    rare: true,
  }),
  heldOut: integer('windows of each text to measure on', {
    range: [0, 1000],
    default: `${DEFAULTS.heldOut}; stock, best ${SHORT_WINDOWS.heldOutTokens} tokens; paper 0`,
    rare: true,
    recipe: 'always',
  }),
  textWindows: integer('measure on the first n windows of each text', {
    range: COUNT,
    default: 'all',
    rare: true,
    recipe: 'folder',
  }),
  seed: integer('of what is random: self-written text, method random, order of windows, sampling', {
    range: [0, 2 ** 32 - 1],
    default: DEFAULTS.seed,
    rare: true,
    recipe: 'always',
    page: true,
  }),
} as const satisfies Record<string, Option>

const SPEED = {
  device: text('where to run; auto: a GPU, if any', { choices: [...DEVICES, AUTO], default: 'cpu' }),
  threads: integer('threads', { default: 'OMP_NUM_THREADS, or one for each physical core', rare: true }),
  deviceMemory: number('of a GPU, for what stays there', { default: 1, value: 'GiB', rare: true }),
  provider: text('of a GPU’s ONNX Runtime provider (docs/devices.md)', { value: 'path', rare: true }),
  blas: text('BLAS for Gram matrices, solves: auto, none, path', {
    value: 'library',
    rare: true,
    call: ['string', 'boolean'],
  }),
  memory: number('for weights and activations, then disk', {
    range: [0, 1e6],
    default: DEFAULTS.memory,
    value: 'GiB',
    rare: true,
    recipe: 'always',
  }),
  products: text('precision of matrix products: docs/devices.md', {
    choices: PRECISIONS,
    default: DEFAULTS.products,
    rare: true,
    recipe: 'always',
  }),
} as const satisfies Record<string, Option>

const OUTPUT = {
  to: text('formats to export to: gguf, gguf:q8_0, onnx, padded, …; repeatable', {
    many: true,
    value: 'target',
    call: 'objects',
    recipe: 'folder',
  }),
  dtype: text('f32, f16, bf16; .gguf: q8_0 …', {
    default: 'as the source',
    value: 'type',
    rare: true,
    recipe: 'always',
  }),
  dryRun: flag('show widths, sizes and memory; read no weights'),
  overwrite: flag('replace what fasp wrote before'),
  report: text('.html, .md, .svg; .json for fasp report; repeatable', { many: true, value: 'file' }),
  prompts: text('what models go on with in the report; repeatable', {
    flag: 'prompt',
    many: true,
    value: 'text',
    call: 'strings',
    rare: true,
  }),
  json: text('print JSON and nothing else; full: kept indices, too', { choices: ['brief', 'full'], bare: 'brief' }),
  quiet: flag('no tables, no progress', { short: 'q' }),
} as const satisfies Record<string, Option>

/** What programs give besides. */
export const CALLS = {
  engine: callOnly('object'),
  fetch: callOnly('function'),
  signal: callOnly('object'),
  group: callOnly('object'),
  common: callOnly('object'),
  openScratch: callOnly('function'),
  saved: callOnly('object'),
  token: callOnly('string'),
  phase: callOnly('string'),
  pages: callOnly('strings'),
} as const satisfies Record<string, Option>

/** Options by what they are about, as help groups them. */
export const GROUPS = {
  'What you need': NEEDED,
  'Texts and calibration': TEXTS,
  'Device and speed': SPEED,
  Output: OUTPUT,
} as const

export const OPTIONS = { ...NEEDED, ...TEXTS, ...SPEED, ...OUTPUT, ...CALLS } as const
export type OptionName = keyof typeof OPTIONS
/** Options of `prune` that the page has a field for. */
export type PageOption = {
  [K in OptionName]: (typeof OPTIONS)[K] extends { readonly page: true } ? K : never
}[OptionName]

/** Arguments of verbs before the options. */
export const ARGUMENTS = {
  model: callOnly(['string', 'object'], { web: ['string', 'object', 'array'] }),
  pruned: callOnly(['string', 'object']),
  text: callOnly(['string', 'object'], { web: 'object' }),
  prompt: callOnly(['string', 'array', 'object']),
  name: callOnly('string'),
  folder: callOnly('string'),
  repository: callOnly('string'),
} as const satisfies Record<string, Option>
