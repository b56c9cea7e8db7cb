import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TINY_LLAMA } from '../../test/fasp.ts'
import { engineAndFolder, withModel } from '../../test/opened.ts'
import { prune } from '../node.ts'
import { prefillSpeeds } from './prefill.ts'

const { engine, folder } = engineAndFolder()

test('a model and one with fewer layers each have a speed, and reading stops when asked', async () => {
  const output = join(folder, 'short')
  await prune(TINY_LLAMA, { sparsity: 0.5, method: 'shortgpt', output, windows: 2, seqLen: 16, engine })
  await withModel(TINY_LLAMA, dense =>
    withModel(output, async pruned => {
      expect(pruned.architecture.halves.length).toBeLessThan(dense.architecture.halves.length)
      const speeds = await prefillSpeeds([dense, pruned], engine)
      expect([0, 2]).toContain(speeds.length) // a machine that is busy has none
      for (const speed of speeds) expect(Number.isFinite(speed) && speed > 0).toBe(true)
      await expect(prefillSpeeds([dense], engine, AbortSignal.abort())).rejects.toThrow(/abort/i)
    }),
  )
})
