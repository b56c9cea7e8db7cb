// WebGPU by a library of its own, a plugin of ONNX Runtime that a user names. CI has it from PyPI (.ci/machine.sh).
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Engine } from '../../src/engine/engine.ts'
import { packageFolders } from '../../src/engine/python-packages.node.ts'
import { describeModel, openCheckpoint, openEngine } from '../../src/node.ts'
import { perplexity } from '../evaluation.ts'
import { TINY_LLAMA } from '../fasp.ts'
import { finish } from '../finish.ts'
import { asWindows, goldenOf } from '../tiny.ts'

const provider = packageFolders()
  .map(folder => join(folder, 'onnxruntime_ep_webgpu/libonnxruntime_providers_webgpu.so'))
  .find(path => existsSync(path))
/** Without it the plugin takes real GPUs alone. */
process.env.ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER = '1'

test('a model runs on WebGPU by a plugin as on the CPU', async () => {
  await using cpu = openEngine()
  await using gpu = openEngine({ device: 'webgpu', provider })
  expect(provider).toBeDefined()
  await using checkpoint = await openCheckpoint(TINY_LLAMA)
  const model = describeModel(checkpoint)
  const windows = asWindows(goldenOf('tiny-llama').calibration_windows.slice(0, 2))
  const on = (engine: Engine) => finish(perplexity(model, engine, windows, 'evaluate'))
  const [right, given] = [await on(cpu), await on(gpu)]
  expect(Math.abs(given.perplexity / right.perplexity - 1)).toBeLessThan(1e-5)
  expect(gpu.moved!.toDevice).toBeGreaterThan(0)
}, 240_000)
