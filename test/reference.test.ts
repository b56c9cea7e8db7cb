// KL and top-1 agreement from the pass that measures perplexity, against the definitions computed here from the logits of both models.
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { DenseReference, keepRows } from '../src/evaluate/reference.ts'
import { memoryContext } from '../src/forward/context.ts'
import { describeModel, loadTokenizer, openCheckpoint, prune } from '../src/node.ts'
import { evaluationWindows } from '../src/text/windows.ts'
import { divergenceOf } from './divergence.ts'
import { perplexity } from './evaluation.ts'
import { TEXT, TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { engineAndFolder } from './opened.ts'
import { withContext } from './tiny.ts'

const { engine, folder } = engineAndFolder()

/** 300 rows of targets a window: more than go through the head at once. */
const SEQ_LEN = 301

function memory(bytes: number) {
  const data = new Uint8Array(bytes)
  return {
    read: async (target: Uint8Array, offset: number) => target.set(data.subarray(offset, offset + target.byteLength)),
    write: async (part: Uint8Array, offset: number) => data.set(part, offset),
  }
}

test('KL and agreement of a pruned model are those of the logits, and of the dense model 0 and 1', async () => {
  const output = join(folder, 'pruned')
  const cut = { sparsity: 0.6, method: 'plain:scope=ffn+ragged:layout=compact' } as const
  const checkpoint = await openCheckpoint(TINY_LLAMA)
  const dense = withContext(describeModel(checkpoint), SEQ_LEN)
  const ids = loadTokenizer(checkpoint).encode(TEXT)
  const windows = evaluationWindows({ name: 'text', ids }, SEQ_LEN, dense.architecture.vocabularySize, 2)
  await prune(dense, { ...cut, calibration: windows, output })
  const prunedCheckpoint = await openCheckpoint(output)
  const pruned = withContext(describeModel(prunedCheckpoint), SEQ_LEN)

  const rows = memory(2 * (SEQ_LEN - 1) * dense.architecture.hiddenSize * 4)
  await finish(perplexity(dense, engine, windows, 'evaluate', undefined, keepRows(dense, rows)))
  for (const model of [pruned, dense]) {
    const reference = await DenseReference.open(memoryContext(engine), dense, model, rows)
    const measured = await finish(perplexity(model, engine, windows, 'evaluate', undefined, reference.observe))
    expect(measured).toEqual(await finish(perplexity(model, engine, windows, 'evaluate')))
    const { kl, topAgreement } = reference.result()
    const expected = await divergenceOf(dense, model, engine, windows.windows)
    expect(kl).toBeCloseTo(expected.kl, 5)
    expect(topAgreement).toBeCloseTo(expected.topAgreement, 2) // two tokens may be equally likely up to rounding
    if (model === dense) expect([kl, topAgreement]).toEqual([0, 1])
    else expect(kl).toBeGreaterThan(0.01)
  }
  await checkpoint.close()
  await prunedCheckpoint.close()
})
