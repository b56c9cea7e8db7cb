import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { readWeights } from '../model/model.ts'
import { describeModel, openCheckpoint } from '../node.ts'
import { openFolderSink } from '../write/folder.node.ts'
import { checkpointBytes, writeRandomCheckpoint } from './random-checkpoint.ts'
import { TINY, WORKLOADS } from './workloads.ts'

const opt = {
  ...WORKLOADS.find(w => w.name === 'opt-125m')!.config,
  ...{ hidden_size: 32, word_embed_proj_dim: 32, ffn_dim: 64, num_attention_heads: 4, num_hidden_layers: 1 },
  ...{ vocab_size: 128, max_position_embeddings: 32 },
}
const untied = { ...TINY.config, tie_word_embeddings: false }
const tokenizer = { name: 'tokenizer.json', bytes: new TextEncoder().encode('{}') }

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fasp-random-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

async function write(name: string, config: typeof TINY.config, seed = 0): Promise<string> {
  const path = join(root, name)
  await writeRandomCheckpoint(await openFolderSink(path, false), config, seed, [tokenizer])
  return path
}

test.each([
  ['llama', TINY.config],
  ['untied', untied],
  ['opt', opt],
])('%s reads back as the model that its config describes, normal with σ 0.02', async (name, config) => {
  const checkpoint = await openCheckpoint(await write(name, config))
  try {
    const model = describeModel(checkpoint)
    expect(checkpoint.weightBytes).toBeGreaterThan(checkpointBytes(config))
    let weights = 0
    let squares = 0
    for (const { name: tensor, shape, dtype } of checkpoint.tensors.tensors.values()) {
      expect(dtype).toBe('BF16')
      const values = await readWeights(model, tensor) // throws where a value is not finite
      if (shape.length === 1) expect(new Set(values)).toEqual(new Set([tensor.endsWith('.bias') ? 0 : 1]))
      else {
        weights += values.length
        squares += values.reduce((sum, w) => sum + w * w, 0)
      }
    }
    expect(Math.sqrt(squares / weights) / 0.02).toBeCloseTo(1, 1)
  } finally {
    await checkpoint.close()
  }
})

test('the seed decides the bytes', async () => {
  const weights = async (name: string, seed: number) =>
    readFile(join(await write(name, TINY.config, seed), 'model.safetensors'))
  const first = await weights('a', 1)
  expect(first.equals(await weights('b', 1))).toBe(true)
  expect(first.equals(await weights('c', 2))).toBe(false)
})

test('a signal stops it and leaves nothing', async () => {
  const path = join(root, 'stopped')
  const sink = await openFolderSink(path, false)
  await expect(writeRandomCheckpoint(sink, TINY.config, 0, [], AbortSignal.abort())).rejects.toThrow()
  await expect(readFile(join(path, 'config.json'))).rejects.toThrow('ENOENT')
})
