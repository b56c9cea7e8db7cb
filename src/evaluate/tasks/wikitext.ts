// The task wikitext of lm-evaluation-harness 0.4.13 (version 2.0): perplexity a word and a byte over whole documents. Each document, freed
// of the tokeniser's spaces, is scored in windows of the model's context, from a BOS (or else EOS) on; words and bytes are those of the
// document before that. Source: lm_eval/tasks/wikitext, utils.py (get_rolling_token_windows, make_disjoint_window), api/metrics.py.
import { UnsupportedModelError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import type { Context } from '../../forward/context.ts'
import { attentionHalves } from '../../model/architecture.ts'
import type { Model } from '../../model/model.ts'
import type { WordPerplexityResult } from '../../result/measured.ts'
import { loadTokenizer } from '../../text/tokenizer.ts'
import { type Continuation, logLikelihoods } from '../likelihood.ts'
import type { TaskOptions } from './evaluate.ts'

export const WIKITEXT = {
  version: '2.0',
  items: 62,
  dataset: { id: 'EleutherAI/wikitext_document_level', config: 'wikitext-2-raw-v1', split: 'test' },
  /** Field that holds a document. */
  field: 'page',
} as const

/** ONNX Runtime keeps the attention of a whole window, [heads, length, length]; a window takes no more than this. */
const ATTENTION_BYTES = 2 ** 32

/** @param pages documents as WikiText has them @throws NumericError; UnsupportedModelError for a tokenizer without BOS and EOS */
export async function* wordPerplexity(
  context: Context,
  model: Model,
  pages: readonly string[],
  { limit }: TaskOptions = {},
): Progress<WordPerplexityResult> {
  const tokenizer = loadTokenizer(model.checkpoint)
  const prefix = tokenizer.prefixToken
  if (prefix === undefined)
    throw new UnsupportedModelError(
      `${model.checkpoint.name}: its tokenizer names neither a BOS nor an EOS, and wikitext begins each document with one.`,
    )
  const some = pages.slice(0, limit)
  const { maxPositions } = model.architecture
  const heads = Math.max(...attentionHalves(model.architecture).map(({ heads }) => heads))
  const seqLen = Math.min(maxPositions, Math.floor(Math.sqrt(ATTENTION_BYTES / 4 / heads)))
  if (seqLen < maxPositions)
    yield {
      type: 'notice',
      message: `wikitext: windows of ${seqLen} tokens, so that attention fits 4 GiB; the harness takes the context, ${maxPositions}.`,
    }
  const windows = some.flatMap(page => rollingWindows(tokenizer.encode(detokenize(page)), prefix, seqLen))
  const likelihoods = yield* logLikelihoods(
    context,
    model,
    windows.map(window => [window]),
  )
  const nats = -likelihoods.flat().reduce((sum, value) => sum + value, 0)
  const words = some.reduce((n, page) => n + page.split(/\s+/).length, 0)
  const bytes = some.reduce((n, page) => n + new TextEncoder().encode(page).length, 0)
  return {
    task: 'wikitext',
    version: WIKITEXT.version,
    documents: some.length,
    seqLen,
    wordPerplexity: Math.exp(nats / words),
    bytePerplexity: Math.exp(nats / bytes),
    bitsPerByte: nats / bytes / Math.LN2,
  }
}

/** Every token is predicted once: the first window from the prefix, each further one from the tokens before it that fit. */
function rollingWindows(ids: Int32Array, prefix: number, length: number): Continuation[] {
  const whole = new Int32Array(ids.length + 1)
  whole[0] = prefix
  whole.set(ids, 1)
  const windows: Continuation[] = []
  for (let done = 0; done < ids.length; done += length) {
    const end = Math.min(done + length, ids.length)
    windows.push({ ids: whole.slice(Math.max(0, end - length), end + 1), targets: end - done })
  }
  return windows
}

/** `wikitext_detokenizer` of lm_eval/tasks/wikitext/preprocess_wikitext.py, to the letter. */
function detokenize(page: string): string {
  let text = page
    .replaceAll("s '", "s'")
    .replace(/\/' [0-9]\//g, "/'[0-9]/")
    .replaceAll(' @-@ ', '-')
    .replaceAll(' @,@ ', ',')
    .replaceAll(' @.@ ', '.')
  for (const mark of [':', ';', '.', '!', '?', ',']) text = text.replaceAll(` ${mark} `, `${mark} `)
  return text
    .replace(/\(\s*([^)]*?)\s*\)/g, '($1)')
    .replace(/\[\s*([^\]]*?)\s*\]/g, '[$1]')
    .replace(/\{\s*([^}]*?)\s*\}/g, '{$1}')
    .replace(/"\s*([^"]*?)\s*"/g, '"$1"')
    .replace(/'\s*([^']*?)\s*'/g, "'$1'")
    .replaceAll('= = = =', '====')
    .replaceAll('= = =', '===')
    .replaceAll('= =', '==')
    .replaceAll(' ° ', '°')
    .replaceAll(' \n', '\n')
    .replaceAll('\n ', '\n')
    .replaceAll(' N ', ' 1 ')
    .replaceAll(" 's", "'s")
}
