// Of what verbs take everywhere the types, for `shapes.node.ts` and `shapes.web.ts`. A new option without a line here does not compile.

import type { MeasureOptions } from '../evaluate/measure.ts'
import type { GenerateOptions } from '../forward/generate.ts'
import { METHOD_OPTIONS } from '../method/method.ts'
import type { Shape } from '../options/call-check.ts'
import type { PruneOptions } from '../options/options.ts'
import type { PerplexityOptions } from './verbs.ts'

export const LENGTH = ['number', 'array'] as const

export const PRUNING: Shape<PruneOptions> = {
  ...{ sparsity: 'number', size: 'number', parameters: 'number', maxLoss: 'number', method: ['string', 'object'] },
  ...{ products: 'string', dtype: 'string', windows: 'number', seqLen: 'number', heldOut: 'number', seed: 'number' },
  memory: 'number',
}
export const MEASURING: Shape<Pick<MeasureOptions, 'seqLen' | 'windows' | 'limit' | 'phase'>> = {
  ...{ seqLen: LENGTH, windows: 'number', limit: 'number', phase: 'string' },
}
export const PERPLEXITY: Shape<PerplexityOptions> = { windows: 'number', seqLen: 'number' }
export const GENERATING: Shape<GenerateOptions> = {
  ...{ maxTokens: 'number', seed: 'number', temperature: 'number', topK: 'number', topP: 'number' },
}

/** Options of methods, which `resolveOptions` says where to write. */
export const OF_METHODS = Object.fromEntries(
  ['preset', ...Object.keys(METHOD_OPTIONS)].map(name => [name, 'any'] as const),
)
export const PROMPT = ['string', 'array', 'object'] as const
