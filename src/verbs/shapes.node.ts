// Of each verb in Node the types of its options, for `checked`. A new option without a line here does not compile.
import type { CompareOptions } from '../compare/options.ts'
import type { EngineOptions } from '../engine/options.ts'
import type { OpenOptions } from '../hub/open.node.ts'
import type { PushOptions } from '../hub/push.node.ts'
import type { Shape, Takes } from '../options/call-check.ts'
import type { EvaluateOptions } from './evaluate.node.ts'
import type { ExportPathOptions } from './export.node.ts'
import type { HealOptions } from './heal.node.ts'
import type { EngineChoice } from './platform.node.ts'
import type { PlanOptions, PrunePathOptions } from './prune.node.ts'
import { GENERATING, LENGTH, MEASURING, OF_METHODS, PERPLEXITY, PROMPT, PRUNING } from './shapes.ts'

const OPEN: Shape<OpenOptions> = { signal: 'object' }
const ENGINE: Shape<EngineChoice> = { ...OPEN, engine: 'object' }

const PLAN: Shape<PlanOptions> = {
  ...{ ...PRUNING, ...OPEN, output: 'string', to: 'objects', calibration: ['texts', 'object'], text: 'texts' },
  ...{ vocabulary: 'object', recipe: 'string', overwrite: 'boolean', heal: ['number', 'boolean', 'object'] },
}
const PRUNE: Shape<PrunePathOptions> = {
  ...{ ...PLAN, ...ENGINE, output: ['string', 'object'], overwrite: 'boolean', text: 'texts', textWindows: 'number' },
  ...{ keepStatistics: 'boolean', resume: 'boolean', saveEvery: 'number', common: 'object' },
  group: 'object',
}
const EVALUATE: Shape<EvaluateOptions> = {
  ...{ ...ENGINE, ...MEASURING, text: 'texts', dense: ['string', 'object'], tasks: 'strings', tasksData: 'strings' },
}
const EXPORT: Shape<ExportPathOptions> = {
  ...{ ...ENGINE, output: 'string', to: 'objects', dtype: 'string', overwrite: 'boolean', verify: 'boolean' },
  ...{ resume: 'boolean', saveEvery: 'number' },
}
const HEAL: Shape<HealOptions> = {
  ...{ ...ENGINE, dense: ['string', 'object'], output: 'string', overwrite: 'boolean', tokens: 'number' },
  ...{ calibration: ['texts', 'object'], windows: 'number', seqLen: 'number', heldOut: 'number', batch: 'number' },
  ...{ lr: 'number', train: 'string', rank: 'number', every: 'number', seed: 'number', memory: 'number' },
  ...{ products: 'string', top: 'number', measureOn: 'texts', resume: 'boolean', saveEvery: 'number', group: 'object' },
}
const COMPARE: Shape<CompareOptions> = {
  ...{ ...ENGINE, output: 'string', methods: 'strings', sparsity: 'array', text: 'strings', seqLen: 'number' },
  ...{ textWindows: LENGTH, tasks: 'strings', tasksData: 'strings', limit: 'number', calibration: 'strings' },
  ...{ windows: 'number', calibrationSeqLen: 'number', seed: 'number', products: 'string', memory: 'number' },
  ...{ prompts: 'strings', overwrite: 'boolean', heal: ['number', 'boolean', 'array'], lr: 'number' },
}
const PUSH: Shape<PushOptions> = {
  ...{ ...OPEN, private: 'boolean', revision: 'string', message: 'string', createPullRequest: 'boolean' },
  overwrite: 'boolean',
}

const ENGINE_OPTIONS: Shape<EngineOptions> = {
  ...{ device: 'string', deviceMemory: 'number', provider: 'string', threads: 'number', blas: ['string', 'boolean'] },
}

const MODEL = { model: ['string', 'object'] } as const

/** Of each verb. */
export const TAKES = {
  openModel: { arguments: MODEL, options: OPEN },
  inspect: { arguments: MODEL, options: OPEN },
  planPrune: { arguments: MODEL, options: { ...OF_METHODS, ...PLAN } },
  prune: { arguments: MODEL, options: { ...OF_METHODS, ...PRUNE }, needs: ['output'] },
  windowsWithin: {
    arguments: MODEL,
    options: { ...OF_METHODS, ...PLAN, ...ENGINE, seconds: 'number' },
    needs: ['seconds'],
  },
  evaluate: { arguments: MODEL, options: EVALUATE },
  verify: { arguments: MODEL, options: ENGINE },
  perplexity: { arguments: { ...MODEL, text: ['string', 'object'] }, options: { ...ENGINE, ...PERPLEXITY } },
  generate: { arguments: { ...MODEL, prompt: PROMPT }, options: { ...ENGINE, ...GENERATING } },
  exportModel: { arguments: MODEL, options: EXPORT, needs: ['output'] },
  heal: { arguments: { pruned: ['string', 'object'] }, options: HEAL, needs: ['dense', 'output'] },
  compare: { arguments: MODEL, options: COMPARE, needs: ['output', 'methods', 'sparsity'] },
  fetchModel: { arguments: { name: 'string' }, options: OPEN },
  push: { arguments: { folder: 'string', repository: 'string' }, options: PUSH },
  openEngine: { arguments: {}, options: ENGINE_OPTIONS },
} as const satisfies Record<string, Takes>
