// Before the first layer: token rows, learned positions, and the projection of opt-350m.
import { FormatError } from '../base/errors.ts'
import { type Engine, values } from '../engine/engine.ts'
import { runFormula } from '../engine/linalg/rows.ts'
import { type Model, readRows, readWeights } from '../model/model.ts'

/** Rows of the embedding's table [.., embedding size]. */
export interface TokenRows {
  readonly rows: Float32Array<ArrayBuffer>
  /** Index of the row of a token. @default its id */
  readonly places?: Int32Array
}

/** Reads the rows of the tokens in `windows`: a vocabulary's table can be larger than all else that is in memory. */
export async function readTokenRows(model: Model, windows: readonly Int32Array[]): Promise<Required<TokenRows>> {
  const { names, vocabularySize } = model.architecture
  const places = new Int32Array(vocabularySize)
  for (const ids of windows) for (const id of ids) places[id] = 1
  const ids = Int32Array.from(places.keys()).filter(id => places[id] > 0)
  for (const [i, id] of ids.entries()) places[id] = i
  return { rows: await readRows(model, `${names.embedding}.weight`, ids), places }
}

export interface Embedding {
  /**
   * The stream [ids, d] of windows of equal length, one after another.
   * @param position position of each window's first token; or those of all tokens, window by window
   */
  embed(ids: readonly Int32Array[], position?: number | Int32Array): Promise<Float32Array<ArrayBuffer>>
}

/**
 * Reads the other tensors of the embedding.
 * @throws FormatError (from `embed`) for an id outside the vocabulary or a window too long
 */
export async function openEmbedding(
  model: Model,
  engine: Engine,
  { rows: table, places }: TokenRows,
): Promise<Embedding> {
  const { names, embeddingSize, embeddingScale, hiddenSize, maxPositions, vocabularySize, positionOffset } =
    model.architecture
  const positions = names.positions && (await readWeights(model, `${names.positions}.weight`))
  const project = names.projectIn && (await readWeights(model, `${names.projectIn}.weight`))
  return {
    async embed(windows, position = 0) {
      const length = windows[0].length
      const end = typeof position === 'number' ? position + length : 1 + position.reduce((a, b) => Math.max(a, b))
      if (end > maxPositions)
        throw new FormatError(
          model.checkpoint.name,
          `the model has ${maxPositions} positions; a window of ${end} tokens does not fit. Use a shorter --seq-len.`,
        )
      const rows = new Float32Array(windows.length * length * embeddingSize)
      windows.forEach((ids, w) => {
        ids.forEach((id, i) => {
          if (id < 0 || id >= vocabularySize)
            throw new FormatError(
              model.checkpoint.name,
              `the tokenizer gave id ${id}, but the vocabulary has ${vocabularySize} rows. Tokenizer and weights do ` +
                'not belong together.',
            )
          const row = places ? places[id] : id
          rows.set(table.subarray(row * embeddingSize, (row + 1) * embeddingSize), (w * length + i) * embeddingSize)
        })
      })
      if (embeddingScale) for (let i = 0; i < rows.length; i++) rows[i] *= embeddingScale
      const stream = project ? await projectRows(engine, rows, project, embeddingSize, hiddenSize) : rows
      if (positions)
        for (let row = 0; row < windows.length * length; row++) {
          const place = typeof position === 'number' ? position + (row % length) : position[row]
          const from = (place + positionOffset) * hiddenSize
          for (let i = 0; i < hiddenSize; i++) stream[row * hiddenSize + i] += positions[from + i]
        }
      return stream
    },
  }
}

async function projectRows(engine: Engine, rows: Float32Array, weight: Float32Array, from: number, to: number) {
  const n = rows.length / from
  const y = values(new Float32Array(n * to), [n, to])
  const feeds = { x: values(rows, [n, from]), weight: values(weight, [to, from]) }
  await runFormula(engine, 'project', feeds, { y }, (g, { x, weight }) => ({
    y: g.op('Gemm', [x, weight], { transB: 1 }),
  }))
  return y.data
}
