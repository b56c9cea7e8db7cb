// What a model writes, for people to read beside what the dense one writes: greedy continuations of short prompts.
import type { Progress } from '../base/events.ts'
import type { Context } from '../forward/context.ts'
import { decoderBytes } from '../forward/decoder.ts'
import { generate } from '../forward/generate.ts'
import type { Model } from '../model/model.ts'
import type { Continuation } from '../result/measured.ts'
import { chatTemplate, encodePrompt } from '../text/chat.ts'
import { loadTokenizer, type TextTokenizer } from '../text/tokenizer.ts'

/** Prompts that models of any kind go on with. */
export const SAMPLE_PROMPTS = ['Once upon a time', 'The capital of France is', 'The most important thing is']

const TOKENS = 48

/** Memory that this takes: the whole model in float32, and its cache. */
export const continuationBytes = ({ architecture: a }: Model): number =>
  decoderBytes(a, 1, Math.min(a.maxPositions, 256))

/** Ids of a prompt as the model is meant to be asked: a message, where it has a chat template. @throws as `encodePrompt` */
export function samplePrompt({ checkpoint }: Model, tokenizer: TextTokenizer, prompt: string) {
  const chat = chatTemplate(checkpoint) !== undefined
  return { chat, ...encodePrompt(checkpoint, tokenizer, chat ? [{ role: 'user', content: prompt }] : prompt) }
}

/** Greedy continuations. @param tokens of each at most. @throws UsageError for an empty prompt or one that fills the context */
export async function* continuations(
  context: Context,
  model: Model,
  prompts: readonly string[] = SAMPLE_PROMPTS,
  tokens = TOKENS,
): Progress<Continuation[]> {
  const tokenizer = loadTokenizer(model.checkpoint)
  yield { type: 'phase', phase: 'continuations', total: prompts.length * tokens, unit: 'tokens' }
  const written: Continuation[] = []
  for (const [i, prompt] of prompts.entries()) {
    const { ids: start, chat } = samplePrompt(model, tokenizer, prompt)
    const ids = start.slice()
    for await (const id of generate(context, model, start, { maxTokens: tokens })) {
      ids.push(id)
      yield { type: 'progress', done: i * tokens + ids.length - start.length }
    }
    if (ids.length < start.length + tokens) yield { type: 'progress', done: (i + 1) * tokens }
    // Decoded together, since some tokenizers drop the space at the start of a text.
    written.push({ prompt, ...(chat && { chat }), text: tokenizer.decode(ids).slice(tokenizer.decode(start).length) })
  }
  return written
}
