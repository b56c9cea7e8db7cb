// The memory that healing takes, before anything is read.
import { headRows, TABLE_BYTES } from '../forward/head.ts'
import { TOKENS_PER_RUN } from '../forward/stream.ts'
import { type Architecture, attentionHalves } from '../model/architecture.ts'
import { hiddenWidth, plainHalves } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import type { Trains } from '../options/options.ts'
import { largestSize, trainedHalves, trainedSize } from './parameters.ts'
import { teacherBytes } from './teacher.ts'

/** Node, ONNX Runtime and its sessions. */
const BASE_BYTES = 5e8
/** Of each number that is trained, in float32: itself, its gradient, the two of Adam, the best so far. */
const OF_A_WEIGHT = 5
/** Arrays as long as the largest half-block: of its forms and gradients, and of each in scratch files a part. */
const OF_A_HALF = 9
/** As long as the activations of a half-block in a run, and as its attention scores, on the way back. */
const [OF_ACTIVATIONS, OF_SCORES] = [10, 6]

export interface Need {
  /** Of what goes to memory, or beyond a budget to scratch files. */
  readonly held: number
  /** Of what is in memory in any case. */
  readonly work: number
}

/** @param rank of low-rank updates @param tokens of all windows trained on, of those held out, of a step, a window */
export function healNeed(
  { architecture: a }: Pick<Model, 'architecture'>,
  { architecture: dense }: Pick<Model, 'architecture'>,
  { train, rank, top }: { readonly train: Trains; readonly rank?: number; readonly top: number },
  tokens: { readonly all: number; readonly heldOut: number; readonly step: number; readonly window: number },
): Need {
  const halves = trainedHalves(a.halves, train)
  const row = 4 * a.hiddenSize
  const weights = 4 * OF_A_WEIGHT * trainedSize(halves, rank)
  const streams = row * (tokens.all + 2 * tokens.heldOut + (a.halves.length + 2) * tokens.step)
  const run = Math.max(TOKENS_PER_RUN, tokens.window)
  const width = Math.max(...dense.halves.map(hiddenWidth))
  const scores = Math.max(...attentionHalves(a).map(({ heads }) => heads)) * run * tokens.window
  const graphs = 4 * (OF_ACTIVATIONS * run * width + OF_SCORES * scores)
  const logits = (top > 0 ? 6 : 8) * 4 * headRows(a) * a.vocabularySize // the dense model's, too
  const table = ({ vocabularySize: v, embeddingSize: e }: Architecture) => Math.min(4 * v * e, TABLE_BYTES.held)
  const layer = Math.max(...a.halves.map(half => trainedSize(plainHalves(half)))) // gradients of all its experts
  const work = BASE_BYTES + 4 * (OF_A_HALF * largestSize(halves) + layer) + graphs + logits + 2 * table(a)
  return { held: weights + tokens.all * teacherBytes(dense, top) + streams, work }
}
