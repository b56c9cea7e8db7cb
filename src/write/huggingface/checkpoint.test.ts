import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { jsonFile } from '../../checkpoint/checkpoint.ts'
import { openHuggingFace } from '../../checkpoint/huggingface.node.ts'
import { MemorySink } from '../../output/sink.ts'
import { CheckpointWriter } from './checkpoint.ts'

const infos = Array.from({ length: 7 }, (_, i) => ({
  name: `model.t${i}.weight`,
  dtype: 'F16' as const,
  shape: [i + 1, 10],
}))
const bytesOf = (i: number) => Uint8Array.from({ length: (i + 1) * 20 }, (_, k) => (k * 7 + i) % 251)

test('shards with their index are read back, whatever the order of writing', async () => {
  const sink = new MemorySink()
  const writer = new CheckpointWriter(sink, infos, 200)
  for (const i of [6, 2, 0, 5, 1, 4, 3]) {
    const half = 20 * (i >> 1) // in two parts, the first of which may be empty
    for (const part of [bytesOf(i).subarray(0, half), bytesOf(i).subarray(half)]) await writer.part(infos[i].name, part)
  }
  await writer.finish([jsonFile('config.json', { model_type: 'x' }), jsonFile('tokenizer.json', {})])
  const shards = [...sink.files.keys()].filter(name => name.endsWith('.safetensors'))
  expect(shards).toEqual(
    expect.arrayContaining(['model-00001-of-00004.safetensors', 'model-00004-of-00004.safetensors']),
  )
  const index = JSON.parse(new TextDecoder().decode(sink.files.get('model.safetensors.index.json')))
  expect(index.metadata).toEqual({ total_size: 560, total_parameters: 280 })
  expect(Object.keys(index.weight_map)).toEqual(infos.map(t => t.name))

  const folder = mkdtempSync(join(tmpdir(), 'fasp-shards-'))
  for (const [name, bytes] of sink.files) writeFileSync(join(folder, name), bytes)
  const checkpoint = await openHuggingFace(folder)
  expect(checkpoint.weightBytes).toBe(writer.weightBytes)
  for (const [i, { name, shape }] of infos.entries()) {
    expect(checkpoint.tensors.tensors.get(name)!.shape).toEqual(shape)
    expect(await checkpoint.tensors.bytes(name)).toEqual(bytesOf(i))
  }
  await checkpoint.close()
  rmSync(folder, { recursive: true })
})

test('one shard has the plain name and no index; a tensor larger than a shard has one of its own', async () => {
  const whole = new MemorySink()
  const one = new CheckpointWriter(whole, infos)
  for (const [i, { name }] of infos.entries()) await one.tensor(name, bytesOf(i))
  await expect(one.tensor(infos[0].name, new Uint8Array(1))).rejects.toThrow('1 bytes for a place of 20')
  await expect(one.part(infos[0].name, new Uint8Array(1))).rejects.toThrow('1 bytes for a place of 0')
  await one.finish([])
  expect([...whole.files.keys()]).toEqual(['model.safetensors'])
  const many = new CheckpointWriter(new MemorySink(), infos, 1)
  expect(many.weightBytes).toBeGreaterThan(one.weightBytes)
})
