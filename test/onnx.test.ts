// Exports for transformers.js: every file is read back by ONNX Runtime and compared with our own forward pass before it appears
// (src/export/verify-onnx.ts); here the differences are held against what each number format can do.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { describeModel, exportOnnx, MemorySink, openCheckpoint, openEngine, prune } from '../src/node.ts'
import { TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { describeShared, sharedPath } from './shared.ts'

const root = mkdtempSync(join(tmpdir(), 'fasp-onnx-'))
const engine = openEngine()
afterAll(async () => {
  await engine.close()
  rmSync(root, { recursive: true })
})

async function exported(path: string, dtypes: readonly ('fp32' | 'fp16' | 'q8' | 'q4' | 'q4f16')[]) {
  const checkpoint = await openCheckpoint(path)
  const sink = new MemorySink()
  try {
    return { files: await finish(exportOnnx(describeModel(checkpoint), sink, { engine, dtypes })), sink }
  } finally {
    await checkpoint.close()
  }
}

async function pruned(source: string, vo: 'ragged' | 'per-head'): Promise<string> {
  const output = join(root, `${vo}-${Math.random()}`)
  await finish(prune(source, { sparsity: 0.3, scope: 'ffn+vo', vo, layout: 'compact', samples: 2, seqLen: 32, output }))
  return output
}

function checkModels(name: string, source: () => string) {
  test(`${name}, dense and compact, in float32 is the same model`, async () => {
    const dense = await exported(source(), ['fp32'])
    for (const vo of ['ragged', 'per-head'] as const) {
      const { files, sink } = await exported(await pruned(source(), vo), ['fp32'])
      expect(files[0].divergence).toBeLessThan(1e-6)
      expect(files[0].bytes).toBeLessThan(dense.files[0].bytes)
      // Values of equal width in all heads are cached as narrow as they are.
      if (vo === 'per-head') expect(files[0].cacheBytesPerToken).toBeLessThan(dense.files[0].cacheBytesPerToken)
      const config = JSON.parse(new TextDecoder().decode(sink.files.get('config.json')))
      expect(['llama', 'opt']).toContain(config.model_type) // transformers.js knows no other
    }
    expect(dense.files[0].divergence).toBeLessThan(1e-6)
  })
}

checkModels('tiny-llama', () => TINY_LLAMA)
describeShared('tiny-opt', () => checkModels('tiny-opt', () => sharedPath('models/tiny-opt')))

test('smaller number formats stay near, each in a file of its own', async () => {
  const { files, sink } = await exported(TINY_LLAMA, ['fp16', 'q8', 'q4'])
  expect(files.map(({ file }) => file)).toEqual([
    'onnx/model_fp16.onnx',
    'onnx/model_quantized.onnx',
    'onnx/model_q4.onnx',
  ])
  for (const { file, bytes, divergence } of files) {
    expect(sink.files.get(file)).toHaveLength(bytes)
    expect(divergence).toBeLessThan(0.05) // nats
  }
})

test('a number format that there is not is refused before any work', async () => {
  await expect(exported(TINY_LLAMA, ['fp8' as 'fp16'])).rejects.toThrow(
    'ONNX dtypes are "fp8"; they must be some of fp32',
  )
})
