import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { TINY_LLAMA } from '../../test/fasp.ts'
import { withoutWeights } from '../../test/without-weights.ts'
import { UsageError } from '../base/errors.ts'
import { layoutSafetensors } from '../formats/safetensors.ts'
import { elements } from '../formats/tensors.ts'
import { tensorShapes } from '../model/architecture.ts'
import { architectureOf, describeModel } from '../model/model.ts'
import { planPrune, prune } from '../node.ts'
import { prepare } from '../prune/run.ts'
import { OWN_TEXT } from '../text/calibration.ts'
import { checkOwnText } from './own-text.node.ts'

/** A mixture of 8 experts, of which a token goes to 2: all of them count. */
const MIXTRAL = {
  ...{ model_type: 'mixtral', vocab_size: 1000, hidden_size: 512, intermediate_size: 1024, num_hidden_layers: 3 },
  ...{ num_attention_heads: 8, num_key_value_heads: 2, num_local_experts: 8, num_experts_per_tok: 2 },
}

test('a model that does not fit the memory is refused where it would write its own text, and taken with a text', () => {
  const model = describeModel(withoutWeights({}, [], MIXTRAL))
  const weights = 4 * [...tensorShapes(model.architecture).values()].reduce((sum, shape) => sum + elements(shape), 0)
  expect(weights).toBeGreaterThan(4 * 3 * 8 * 3 * 512 * 1024)
  const own = prepare(model, { sparsity: 0.3 })
  expect(() => checkOwnText(own, weights)).toThrow(UsageError)
  expect(() => checkOwnText(own, weights)).toThrow(/^made: without a text .* float32: .* MB, and .* Give --calibration/)
  expect(() => checkOwnText(own, own.plan.memoryBytes)).not.toThrow()
  expect(() => checkOwnText(prepare(model, { sparsity: 0.3 }, { texts: [] }), 1)).not.toThrow()
  const beside = prepare(model, { sparsity: 0.3 }, { texts: [OWN_TEXT] })
  expect(() => checkOwnText(beside, weights)).toThrow(UsageError)
})

test('so is one in a folder, before a weight is read', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fasp-large-'))
  try {
    const sizes = { hidden_size: 8192, intermediate_size: 28672, num_hidden_layers: 64 }
    const config = { ...MIXTRAL, ...sizes, num_local_experts: 64 } // 12 TB in float32, and a file without a written block
    const source = join(folder, 'large')
    cpSync(TINY_LLAMA, source, { recursive: true })
    writeFileSync(join(source, 'config.json'), JSON.stringify(config))
    const tensors = [...tensorShapes(architectureOf('large', config))].map(([name, shape]) => ({ name, shape }))
    const { header, byteLength } = layoutSafetensors(tensors.map(one => ({ ...one, dtype: 'BF16' })))
    writeFileSync(join(source, 'model.safetensors'), header)
    truncateSync(join(source, 'model.safetensors'), byteLength)
    const output = join(folder, 'out')
    await expect(prune(source, { sparsity: 0.3, output })).rejects.toThrow('Give --calibration')
    await expect(planPrune(source, { sparsity: 0.3 })).rejects.toThrow('Give --calibration')
    const calibration = [{ name: 'text', text: async () => 'text' }]
    expect((await planPrune(source, { sparsity: 0.3, calibration })).sizes.parameters.before).toBeGreaterThan(2.5e12)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
