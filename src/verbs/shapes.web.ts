// Of each verb in a page the types of its options, for `checked`. A new option without a line here does not compile.
import type { FetchOptions } from '../formats/source.web.ts'
import type { Shape, Takes } from '../options/call-check.ts'
import type { NamedText } from '../text/calibration.ts'
import type { WebOptions } from './platform.web.ts'
import type { PruneInPageOptions } from './prune.web.ts'
import { GENERATING, MEASURING, OF_METHODS, PERPLEXITY, PROMPT, PRUNING } from './shapes.ts'
import type { TextMeasures } from './verbs.ts'

const OPEN: Shape<FetchOptions> = { fetch: 'function', signal: 'object' }
const ENGINE: Shape<WebOptions> = { ...OPEN, engine: 'object' }
const PRUNE: Shape<PruneInPageOptions> = {
  ...{ ...PRUNING, ...ENGINE, output: 'object', calibration: ['objects', 'object'] },
  openScratch: 'function',
  saved: 'object',
}
const EVALUATE: Shape<TextMeasures<NamedText> & WebOptions> = {
  ...{ ...ENGINE, ...MEASURING, text: 'objects', dense: 'object', tasks: 'objects', pages: 'strings' },
}
const MODEL = { model: ['string', 'object', 'array'] } as const

/** Of each verb. */
export const TAKES = {
  openModel: { arguments: MODEL, options: OPEN },
  inspect: { arguments: MODEL, options: OPEN },
  prune: { arguments: MODEL, options: { ...OF_METHODS, ...PRUNE }, needs: ['output'] },
  evaluate: { arguments: MODEL, options: EVALUATE },
  perplexity: { arguments: { ...MODEL, text: 'object' }, options: { ...ENGINE, ...PERPLEXITY } },
  generate: { arguments: { ...MODEL, prompt: PROMPT }, options: { ...ENGINE, ...GENERATING } },
} as const satisfies Record<string, Takes>
