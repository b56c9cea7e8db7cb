// Calibration text where the user has none: the model writes it, token by token at temperature 1, so that its activations are typical
// of what it says itself. Idea: "LLM-QAT" (arXiv 2305.17888, §2), data-free calibration.
import { Decoder, decoderBytes } from '../decode/decoder.ts'
import { pickToken } from '../decode/sampler.ts'
import type { ProgressEvent } from '../events.ts'
import type { Context } from '../forward/context.ts'
import type { Architecture } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import { randomNumbers } from '../random.ts'
import type { Windows } from './windows.ts'

/** Sequences written at once: the weights are read once per token for all of them. */
const MAX_SEQUENCES = 64
/** The model's own distribution. */
const TEMPERATURE = 1
/** What `texts` in a result calls this text. */
export const SELF_TEXT = 'text written by the model itself'

/** Bytes that this takes: the whole model in float32, and the caches of the sequences. */
export const ownTextBytes = (
  a: Architecture,
  { windows, heldOut, seqLen }: { readonly windows: number; readonly heldOut: number; readonly seqLen: number },
): number => decoderBytes(a, Math.min(MAX_SEQUENCES, windows + heldOut), seqLen)

/**
 * Writes `count` windows of `seqLen` tokens, and after them `heldOut` that are not calibrated on. Each starts with the model's BOS, or a
 * random token where it has none.
 */
export async function* sampleWindows(
  { engine, signal }: Context,
  model: Model,
  { windows: count, heldOut, seqLen, seed }: { windows: number; heldOut: number; seqLen: number; seed: number },
): AsyncGenerator<ProgressEvent, Windows> {
  const all = count + heldOut
  yield { type: 'phase', phase: 'calibration text', total: all * seqLen, unit: 'tokens' }
  const { vocabularySize } = model.architecture
  const random = randomNumbers(seed)
  const bos = model.checkpoint.config.bos_token_id
  const windows: Int32Array[] = []
  while (windows.length < all) {
    const sequences = Math.min(MAX_SEQUENCES, all - windows.length)
    const decoder = await Decoder.open(model, engine, sequences, seqLen)
    const texts = Array.from({ length: sequences }, () => new Int32Array(seqLen))
    for (const text of texts) text[0] = typeof bos === 'number' ? bos : Math.floor(random() * vocabularySize)
    for (let position = 1; position < seqLen; position++) {
      signal?.throwIfAborted()
      const written = texts.map(text => text.subarray(position - 1, position))
      const probabilities = await decoder.step(written, TEMPERATURE)
      texts.forEach((text, s) => {
        const row = probabilities.subarray(s * vocabularySize, (s + 1) * vocabularySize)
        text[position] = pickToken(row, { temperature: TEMPERATURE }, random)
      })
      yield { type: 'progress', done: windows.length * seqLen + (position + 1) * sequences }
    }
    windows.push(...texts)
  }
  const text = { name: SELF_TEXT, tokens: all * seqLen, available: all, used: count, heldOut }
  return { seqLen, windows: windows.slice(0, count), heldOut: windows.slice(count), texts: [text] }
}
