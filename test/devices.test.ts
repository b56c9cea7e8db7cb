// Devices beside the CPU: what the golden tests do not reach, and what is said where there is no such device.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import type { Device } from '../src/engine/device.ts'
import { describeModel, openCheckpoint, openEngine, prune } from '../src/node.ts'
import { CUDA, describeOn, devices } from './devices.ts'
import { generate } from './evaluation.ts'

const MODEL = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))
const PROMPT = [1, 300, 200, 100, 50]
/** Beyond the 32 tokens from which ONNX Runtime's attention on a GPU takes another way. */
const LONG_PROMPT = Array.from({ length: 40 }, (_, i) => (i * 37) % 1000)

async function continued(device: Device, prompt: readonly number[]): Promise<number[]> {
  const engine = openEngine({ device })
  const checkpoint = await openCheckpoint(MODEL)
  try {
    const ids: number[] = []
    for await (const id of generate(describeModel(checkpoint), engine, prompt, { maxTokens: 12 })) ids.push(id)
    return ids
  } finally {
    await engine.close()
    await checkpoint.close()
  }
}

for (const on of (await devices()).filter(({ device }) => device !== 'cpu'))
  describeOn(on, 'generates with a cache what the CPU does', () => {
    test.each([
      ['a short prompt', PROMPT],
      ['a long prompt', LONG_PROMPT],
    ])('%s', async (_, prompt) => {
      expect(await continued(on.device, prompt)).toEqual(await continued('cpu', prompt))
    })
  })

test('a device that does not exist is a wrong usage', () => {
  expect(() => openEngine({ device: 'tpu' as Device })).toThrow('device is "tpu"; it must be one of cpu, webgpu, cuda.')
})

test.skipIf(CUDA)('cuda without its libraries says what is missing, and leaves nothing behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fasp-devices-'))
  const run = prune(MODEL, {
    engine: { device: 'cuda' },
    sparsity: 0.2,
    windows: 1,
    seqLen: 16,
    output: join(folder, 'out'),
  })
  const error = await run.catch(e => e)
  expect(error).toMatchObject({ name: 'DeviceError', code: 'DEVICE', device: 'cuda' })
  expect(error.message).toMatch(/^cuda: ONNX Runtime cannot use it: .*Install them \(docs\/devices\.md\)/)
  expect(await readdir(folder)).toEqual([])
  await rm(folder, { recursive: true })
})
