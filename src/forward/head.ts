// From the stream to logits: final norm, projection and head.
import { asValues, type Engine, type Feeds, type Rows, type Values, values } from '../engine/engine.ts'
import { hostRoomOf } from '../engine/values.ts'
import { rowParts } from '../formats/rows.ts'
import type { Floats } from '../formats/tensors.ts'
import { logitsGraph } from '../graphs/head.ts'
import type { Architecture } from '../model/architecture.ts'
import { type Model, readRows, readWeights } from '../model/model.ts'
import { readNorm } from './weights.ts'

/** Rows of logits at a time, where their bytes allow it: products are large enough then. */
const HEAD_ROWS = 256
/** Bytes of logits at a time: all these rows for a vocabulary of 131,072. Up to six such arrays exist at once. */
const HEAD_BYTES = 2 ** 27

/** Bytes in float32 of a table that stays in memory, and of the parts that a larger one is read in for each product. */
export const TABLE_BYTES = { held: 2 ** 30, part: 2 ** 26 }

export const headRows = ({ vocabularySize }: Pick<Architecture, 'vocabularySize'>): number =>
  Math.max(1, Math.min(HEAD_ROWS, Math.floor(HEAD_BYTES / 4 / vocabularySize)))

/** Names all facts that the graph depends on. */
const headKey = ({ hiddenSize, embeddingSize, finalNorm, names, logitScale }: Architecture): string =>
  JSON.stringify([hiddenSize, embeddingSize, finalNorm, names.projectOut !== undefined, logitScale])

/** Final norm, projection and head: turns the stream into logits. */
export class Head {
  constructor(
    readonly engine: Engine,
    readonly model: Model,
    /** Without `head` where its table is read in parts. */
    readonly feeds: Feeds,
    readonly partBytes: number,
  ) {}

  /** @param table the embedding's rows, for a model that is in memory as a whole */
  static async open(model: Model, engine: Engine, table?: Floats, { held, part } = TABLE_BYTES): Promise<Head> {
    const { names, finalNorm, tied, vocabularySize, embeddingSize, hiddenSize } = model.architecture
    const read = async (name: string, shape: readonly number[]) => engine.tensor(await readWeights(model, name), shape)
    const shape = [vocabularySize, embeddingSize]
    const whole = table || 4 * vocabularySize * embeddingSize <= held
    const head =
      tied && table ? engine.tensor(table, shape) : whole && (await read(headTensor(model.architecture), shape))
    const project = names.projectOut && (await read(`${names.projectOut}.weight`, [embeddingSize, hiddenSize]))
    const norm = finalNorm && (await readNorm(model, finalNorm, 'norm'))
    return new Head(engine, model, { ...norm, ...(head && { head }), ...(project && { project }) }, part)
  }

  room(): Floats {
    const { architecture } = this.model
    return new Float32Array(headRows(architecture) * architecture.vocabularySize)
  }

  /** The logits of the stream's `rows`, in the room or on the device, where the caller drops them. */
  async logitsIn(room: Floats, rows: Values<Floats>): Promise<Values<Floats>> {
    const [[n], v] = [rows.shape, this.model.architecture.vocabularySize]
    const logits = this.engine.array([n, v], room.subarray(0, n * v))
    await this.logits(rows, logits)
    return logits
  }

  /** Writes logits [n, vocabulary] of the stream's `rows` [n, d], or probabilities at a temperature above 0. */
  async logits(rows: Rows, logits: Rows, temperature = 0): Promise<void> {
    const a = this.model.architecture
    const [x, all] = [asValues(rows, a.hiddenSize), asValues(logits, a.vocabularySize)]
    const [n] = x.shape
    const sampling = temperature > 0
    const cold = sampling ? values(Float32Array.of(1 / temperature), []) : undefined
    const parts = this.feeds.head ? [undefined] : rowParts(a.vocabularySize, a.embeddingSize, this.partBytes)
    for (const ids of parts) {
      const head = ids && values(await readRows(this.model, headTensor(a), ids), [ids.length, a.embeddingSize])
      const feeds = { ...this.feeds, ...(head && { head }), x, cold }
      const found = ids ? values(new Float32Array(n * ids.length), [n, ids.length]) : all
      const outputs = { logits: found }
      await this.engine.run(`logits ${sampling} ${headKey(a)}`, () => logitsGraph(a, sampling), feeds, outputs)
      if (!ids) continue
      const to = hostRoomOf(all)
      for (let row = 0; row < n; row++)
        to.set(found.data.subarray(row * ids.length, (row + 1) * ids.length), row * a.vocabularySize + ids[0])
    }
  }
}

const headTensor = ({ tied, names }: Architecture): string => `${tied ? names.embedding : names.head}.weight`
