// From the stream to logits: final norm, projection and head.
import { type Engine, type Feeds, values } from '../engine/engine.ts'
import { logitsGraph } from '../graphs/head.ts'
import type { Architecture } from '../model/architecture.ts'
import { type Model, readWeights } from '../model/model.ts'
import { readNorm } from './weights.ts'

/** Rows of logits held at once, where their bytes allow it: products are large enough then. */
const HEAD_ROWS = 256
/** Of the logits held at once: all rows of a vocabulary of 131,072, which LLaMA 3's is within. Up to six such arrays are there at a time. */
const HEAD_BYTES = 2 ** 27

/** Rows of logits that go through a head together. */
export const headRows = ({ vocabularySize }: Pick<Architecture, 'vocabularySize'>): number =>
  Math.max(1, Math.min(HEAD_ROWS, Math.floor(HEAD_BYTES / 4 / vocabularySize)))

/** Names all facts that the graph depends on. */
const headKey = ({ hiddenSize, embeddingSize, vocabularySize, finalNorm, names, logitScale }: Architecture): string =>
  JSON.stringify([hiddenSize, embeddingSize, vocabularySize, finalNorm, names.projectOut !== undefined, logitScale])

/** Final norm, projection and head: turns the stream into logits. */
export class Head {
  private constructor(
    readonly engine: Engine,
    readonly model: Model,
    readonly feeds: Feeds,
  ) {}

  /** @param table the embedding's rows, where they are in memory already */
  static async open(model: Model, engine: Engine, table?: Float32Array<ArrayBuffer>): Promise<Head> {
    const { names, finalNorm, tied, vocabularySize, embeddingSize, hiddenSize } = model.architecture
    const head = (tied && table) || (await readWeights(model, `${tied ? names.embedding : names.head}.weight`))
    return new Head(engine, model, {
      ...(finalNorm ? await readNorm(model, finalNorm, 'norm') : {}),
      head: values(head, [vocabularySize, embeddingSize]),
      project: names.projectOut
        ? values(await readWeights(model, `${names.projectOut}.weight`), [embeddingSize, hiddenSize])
        : undefined,
    })
  }

  /** Writes the logits [n, vocabulary] of the stream rows `x` [n, d] to `logits`, or the probabilities at a temperature above 0. */
  async logits(x: Float32Array<ArrayBuffer>, logits: Float32Array<ArrayBuffer>, temperature = 0): Promise<void> {
    const a = this.model.architecture
    const n = x.length / a.hiddenSize
    const sampling = temperature > 0
    const cold = sampling ? values(Float32Array.of(1 / temperature), []) : undefined
    const feeds = { ...this.feeds, x: values(x, [n, a.hiddenSize]), cold }
    await this.engine.run(`logits ${sampling} ${headKey(a)}`, () => logitsGraph(a, sampling), feeds, {
      logits: values(logits, [n, a.vocabularySize]),
    })
  }
}
