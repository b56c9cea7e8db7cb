// Models and engines of tests, closed again.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { type Checkpoint, type Model, openEngine, openModel } from '../src/node.ts'

/** An engine of one thread, as products of tiny models gain nothing by more, and a folder for one test file. Both go at its end. */
export function engineAndFolder() {
  const engine = openEngine({ threads: 1 })
  const folder = mkdtempSync(join(tmpdir(), 'fasp-test-'))
  afterAll(async () => {
    await engine.close()
    rmSync(folder, { recursive: true })
  })
  return { engine, folder }
}

/** Opens the model at `path` for as long as `use` takes. */
export async function withModel<T>(
  path: string,
  use: (model: Model, checkpoint: Checkpoint) => Promise<T>,
): Promise<T> {
  await using model = await openModel(path)
  return await use(model, model.checkpoint)
}

/** Of a sequence, from the logits after each of its tokens, [ids.length or more, vocabulary]. */
export function perplexityOf(rows: Float32Array, ids: readonly number[], vocabulary: number): number {
  let loss = 0
  for (let i = 0; i + 1 < ids.length; i++) {
    const row = rows.subarray(i * vocabulary, (i + 1) * vocabulary)
    const largest = row.reduce((most, value) => Math.max(most, value))
    const sum = row.reduce((total, value) => total + Math.exp(value - largest), 0)
    loss += Math.log(sum) + largest - row[ids[i + 1]]
  }
  return Math.exp(loss / (ids.length - 1))
}
