// Continues a text: one prompt, greedy or sampled, with a KV cache.
import { UsageError } from '../base/errors.ts'
import { parseJsonObject } from '../base/json.ts'
import { randomNumbers } from '../base/random.ts'
import type { Model } from '../model/model.ts'
import type { Context } from './context.ts'
import { Decoder } from './decoder.ts'
import { pickToken, type SamplingOptions } from './sampler.ts'

export interface GenerateOptions extends SamplingOptions {
  /** Tokens to write at most. @default 64 */
  readonly maxTokens?: number
  /** @default 0 */
  readonly seed?: number
}

/**
 * Yields token ids after `prompt`, up to `maxTokens`, the model's end-of-text token, or the end of its context.
 * @throws UsageError for an empty prompt or one that fills the context
 */
export async function* generate(
  { engine, signal }: Context,
  model: Model,
  prompt: ArrayLike<number>,
  options: GenerateOptions = {},
): AsyncGenerator<number, void> {
  const { maxTokens = 64, seed = 0 } = options
  const { maxPositions } = model.architecture
  if (prompt.length === 0)
    throw new UsageError('the prompt has no tokens, and this tokenizer adds none. Give some text.')
  if (prompt.length >= maxPositions)
    throw new UsageError(`the prompt has ${prompt.length} tokens; the model has room for ${maxPositions}. Shorten it.`)
  const end = endTokens(model)
  const random = randomNumbers(seed)
  const positions = Math.min(maxPositions, prompt.length + maxTokens)
  const decoder = await Decoder.open(model, engine, 1, positions)
  let next = Int32Array.from(prompt)
  for (let position = prompt.length; position < positions; position++) {
    signal?.throwIfAborted()
    const token = pickToken(await decoder.step([next], options.temperature), options, random)
    if (end.has(token)) return
    yield token
    next = Int32Array.of(token)
  }
}

/** As transformers: generation_config.json may name more ends than config.json, such as the end of a chat turn. */
function endTokens({ checkpoint }: Model): Set<unknown> {
  const file = checkpoint.sideFiles.find(({ name }) => name === 'generation_config.json')
  const generation = file ? parseJsonObject(file.bytes, file.name) : {}
  return new Set([checkpoint.config.eos_token_id, generation.eos_token_id].flat())
}
