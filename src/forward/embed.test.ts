import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, test } from 'vitest'
import { withModel } from '../../test/opened.ts'
import { openEngine } from '../engine/engine.node.ts'
import { type Model, readWeights } from '../model/model.ts'
import { openEmbedding, readTokenRows } from './embed.ts'

const engine = openEngine({ threads: 1 })
afterAll(() => engine.close())

const onModel = (name: string, work: (model: Model) => Promise<void>) =>
  withModel(fileURLToPath(new URL(`../../assets/${name}`, import.meta.url)), work)
const table = (model: Model) => `${model.architecture.names.embedding}.weight`

describe('rows of the tokens', () => {
  test('are those of the whole table, whatever is between them', () =>
    onModel('tiny-llama', async model => {
      const { embeddingSize: d, vocabularySize } = model.architecture
      const ids = [3, 1023, 4, 3, 600, 900, 0].map(id => Math.min(id, vocabularySize - 1))
      const windows = [Int32Array.from(ids), Int32Array.from(ids, id => Math.floor(id / 2))]
      const whole = { rows: await readWeights(model, table(model)) }
      const some = await readTokenRows(model, windows)
      expect(some.rows.length).toBe(new Set(windows.flatMap(w => [...w])).size * d)
      const [a, b] = await Promise.all([whole, some].map(rows => openEmbedding(model, engine, rows)))
      expect(await b.embed(windows)).toEqual(await a.embed(windows))
    }))

  test('are checked, and an error has the place in the table', () =>
    onModel('tiny-llama', async model => {
      const { tensors } = model.checkpoint
      const d = model.architecture.embeddingSize
      const rows = async (name: string, ids: Int32Array) => {
        const values = await tensors.rows(name, ids)
        values[ids.indexOf(20) * d + 5] = Number.NaN
        return values
      }
      const damaged = { ...model, checkpoint: { ...model.checkpoint, tensors: { ...tensors, rows } } }
      await expect(readTokenRows(damaged, [Int32Array.of(18, 20)])).rejects.toThrow(
        `${table(model)} holds NaN at element ${20 * d + 5}. The checkpoint is damaged; fetch it again.`,
      )
    }))

  test('a token that the model does not have is refused by what it is used for', () =>
    onModel('tiny-llama', async model => {
      const windows = [Int32Array.of(1, model.architecture.vocabularySize)]
      const embedding = await openEmbedding(model, engine, await readTokenRows(model, windows))
      await expect(embedding.embed(windows)).rejects.toThrow('Tokenizer and weights do not belong together.')
    }))
})
