// Calibration text that the model writes at temperature 1, so that activations are typical of what it says itself.
// Idea: "LLM-QAT" (arXiv 2305.17888, §2), data-free calibration.
import type { Progress } from '../base/events.ts'
import { randomNumbers } from '../base/random.ts'
import type { Context } from '../forward/context.ts'
import { Decoder, decoderBytes } from '../forward/decoder.ts'
import { pickToken } from '../forward/sampler.ts'
import type { Architecture } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { Windows } from './windows.ts'

/** Sequences written at once: the weights are read once per token for all of them. */
const MAX_SEQUENCES = 64
/** The model's own distribution. */
const TEMPERATURE = 1
/** What `texts` in a result calls this text. */
export const SELF_TEXT = 'text written by the model itself'

export interface OwnText {
  readonly windows: number
  readonly heldOut: number
  readonly seqLen: number
  readonly seed: number
  /** Ids that texts begin with, in turns. @default the model's BOS, or a random token where it has none */
  readonly starts?: readonly Int32Array[]
}

/** Bytes that this takes to calibrate on: the whole model in float32, and the caches of the sequences. */
export const ownTextBytes = (
  a: Architecture,
  { windows, heldOut, seqLen }: Pick<OwnText, 'windows' | 'heldOut' | 'seqLen'>,
): number => decoderBytes(a, Math.min(MAX_SEQUENCES, windows + heldOut), seqLen)

/** Writes windows of `seqLen` tokens, and after them `heldOut` that are not calibrated on. */
export async function* sampleWindows(
  { engine, signal }: Context,
  model: Model,
  { windows: count, heldOut, seqLen, seed, starts = [new Int32Array()] }: OwnText,
): Progress<Windows> {
  const all = count + heldOut
  yield { type: 'phase', phase: 'calibration text', total: all * seqLen, unit: 'tokens' }
  const { vocabularySize } = model.architecture
  const random = randomNumbers(seed)
  const bos = model.checkpoint.config.bos_token_id
  const first = () => Int32Array.of(typeof bos === 'number' ? bos : Math.floor(random() * vocabularySize))
  const windows: Int32Array[] = []
  let decoder: Decoder | undefined
  while (windows.length < all) {
    const sequences = Math.min(MAX_SEQUENCES, all - windows.length)
    if (decoder?.sequences === sequences) decoder.reset()
    else decoder = await Decoder.open(model, engine, sequences, seqLen)
    const texts = Array.from({ length: sequences }, (_, s) => {
      const given = starts[(windows.length + s) % starts.length]
      const start = given.length > 0 ? given.subarray(0, seqLen) : first()
      const text = new Int32Array(seqLen)
      text.set(start)
      return { text, start: start.length }
    })
    for (let position = 1; position < seqLen; position++) {
      signal?.throwIfAborted()
      const written = texts.map(({ text }) => text.subarray(position - 1, position))
      const probabilities = await decoder.step(written, TEMPERATURE)
      texts.forEach(({ text, start }, s) => {
        if (position < start) return
        const row = probabilities.subarray(s * vocabularySize, (s + 1) * vocabularySize)
        text[position] = pickToken(row, { temperature: TEMPERATURE }, random)
      })
      yield { type: 'progress', done: windows.length * seqLen + (position + 1) * sequences }
    }
    windows.push(...texts.map(({ text }) => text))
  }
  const text = { name: SELF_TEXT, tokens: all * seqLen, available: all, used: count, heldOut }
  return { seqLen, windows: windows.slice(0, count), heldOut: windows.slice(count), texts: [text] }
}
