// Of each verb in Node the types of its options, for `checked`. A new option without a line here does not compile.
import type { CompareOptions } from '../compare/options.ts'
import type { GenerateOptions } from '../decode/generate.ts'
import type { OpenOptions } from '../hub/open.node.ts'
import type { PushOptions } from '../hub/push.node.ts'
import { METHOD_OPTIONS } from '../method.ts'
import type { Shape } from './checked.ts'
import type { EvaluateOptions } from './evaluate.node.ts'
import type { ExportPathOptions } from './export.node.ts'
import type { EngineChoice } from './platform.node.ts'
import type { PlanOptions, PrunePathOptions } from './prune.node.ts'
import type { PerplexityOptions } from './verbs.ts'

const OPEN: Shape<OpenOptions> = { signal: 'object' }
const ENGINE: Shape<EngineChoice> = { ...OPEN, engine: 'object' }
const LENGTH = ['number', 'array'] as const

const PLAN: Shape<PlanOptions> = {
  ...{
    sparsity: 'number',
    size: 'number',
    parameters: 'number',
    maxLoss: 'number',
    method: ['string', 'object'],
    products: 'string',
    dtype: 'string',
    windows: 'number',
  },
  ...{ seqLen: 'number', heldOut: 'number', seed: 'number', memory: 'number', output: 'string', to: 'array' },
  ...{ calibration: ['array', 'object'], vocabulary: 'object', recipe: 'string', ...OPEN },
}
const PRUNE: Shape<PrunePathOptions> = {
  ...{ ...PLAN, ...ENGINE, output: ['string', 'object'], overwrite: 'boolean', text: 'array', textWindows: 'number' },
  keepStatistics: 'boolean',
}
const EVALUATE: Shape<EvaluateOptions> = {
  ...{ ...ENGINE, text: 'array', seqLen: LENGTH, windows: 'number', dense: ['string', 'object'], tasks: 'array' },
  ...{ tasksData: 'array', limit: 'number', phase: 'string' },
}
const PERPLEXITY: Shape<PerplexityOptions & EngineChoice> = { ...ENGINE, windows: 'number', seqLen: 'number' }
const GENERATE: Shape<GenerateOptions & EngineChoice> = {
  ...{ ...ENGINE, maxTokens: 'number', seed: 'number', temperature: 'number', topK: 'number', topP: 'number' },
}
const EXPORT: Shape<ExportPathOptions> = {
  ...{ ...ENGINE, output: 'string', to: 'array', dtype: 'string', overwrite: 'boolean', verify: 'boolean' },
}
const COMPARE: Shape<CompareOptions> = {
  ...{ ...ENGINE, output: 'string', methods: 'array', sparsity: 'array', text: 'array', seqLen: 'number' },
  ...{ textWindows: LENGTH, tasks: 'array', tasksData: 'array', limit: 'number', calibration: 'array' },
  ...{ windows: 'number', calibrationSeqLen: 'number', seed: 'number', products: 'string', memory: 'number' },
  ...{ prompts: 'array', overwrite: 'boolean' },
}
const PUSH: Shape<PushOptions> = {
  ...{ ...OPEN, private: 'boolean', revision: 'string', message: 'string', createPullRequest: 'boolean' },
  overwrite: 'boolean',
}

/** Options of methods, which `resolveOptions` says where to write. */
const OF_METHODS = Object.fromEntries(['preset', ...Object.keys(METHOD_OPTIONS)].map(name => [name, 'any'] as const))

export const SHAPES = {
  ...{ open: OPEN, plan: { ...OF_METHODS, ...PLAN }, prune: { ...OF_METHODS, ...PRUNE }, evaluate: EVALUATE },
  ...{ verify: ENGINE, perplexity: PERPLEXITY, generate: GENERATE, export: EXPORT, compare: COMPARE, push: PUSH },
}
