import { fileURLToPath } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { withModel } from '../../test/opened.ts'
import { memoryScratch } from '../../test/scratch.ts'
import { openEngine } from '../engine/engine.node.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import { readHalf } from '../forward/weights.ts'
import { allColumns } from '../method/select/top.ts'
import { halfBlocks } from '../model/architecture.ts'
import { ActivationPool, type Scratch } from '../output/activations.ts'
import { HeldOutCheck } from './held-out.ts'

const engine = openEngine()
afterAll(() => engine.close())

test('windows that do not fit the budget go to scratch files, which are closed at the end', () =>
  withModel(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url)), async model => {
    const seqLen = 256 // eight windows a run
    const made = Array.from({ length: 6 }, (_, w) =>
      Int32Array.from({ length: seqLen }, (_, i) => (i * (w + 7)) % 1024),
    )
    const text = { name: 'made', tokens: 6 * seqLen, available: 6, used: 3, heldOut: 3 }
    const windows = { seqLen, windows: made.slice(0, 3), heldOut: made.slice(3), texts: [text] }
    const files: Scratch[] = []
    const openScratch = async () => {
      const size = 6 * seqLen * model.architecture.hiddenSize * 4
      const file = memoryScratch(size, closed => void files.splice(files.indexOf(closed), 1))
      files.push(file)
      return file
    }
    const [spilled, inMemory] = await Promise.all(
      [new ActivationPool(0, openScratch), new ActivationPool(Number.POSITIVE_INFINITY)].map(pool =>
        HeldOutCheck.open({ engine, pool }, model, new HalfBlockRunner(engine, seqLen), windows),
      ),
    )
    expect(files).toHaveLength(1) // the dense and the pruned stream are one
    const [half] = halfBlocks(model.architecture, 0)
    const weights = await readHalf(model, half)
    const pruned = { output: weights.output, columns: allColumns(half.output.in) }
    for (const check of [spilled, inMemory]) await check!.pass(weights, { weights, pruned, alpha: 0 })
    expect(files).toHaveLength(2)
    expect(await spilled!.losses()).toEqual(await inMemory!.losses())
    expect(files).toHaveLength(0)
  }))
