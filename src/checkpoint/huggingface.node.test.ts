import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer } from '@huggingface/tokenizers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { describeShared, sharedPath } from '../../test/shared.ts'
import { goldenOf, TINY_MODELS, TINY_NAMES, TINY_OPT } from '../../test/tiny.ts'
import { dict, pickle, tensor, torchFile } from '../../test/torch-file.ts'
import { FormatError } from '../base/errors.ts'
import { layoutSafetensors } from '../formats/safetensors.ts'
import { openHuggingFace } from './huggingface.node.ts'

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fasp-folder-'))
})
afterAll(() => rm(root, { recursive: true }))

/** A safetensors file of tensors [2] in F32, whose values are 0. */
function safetensors(...names: string[]): Uint8Array {
  const { header, byteLength } = layoutSafetensors(names.map(name => ({ name, dtype: 'F32', shape: [2] })))
  const bytes = new Uint8Array(byteLength)
  bytes.set(header)
  return bytes
}
const vector = { length: 2, shape: [2], strides: [1] }
const bin = (...names: string[]) =>
  torchFile(pickle(dict(Object.fromEntries(names.map(name => [name, tensor(vector)])))), { 0: Float32Array.of(1, 2) })
const index = (map: unknown) => JSON.stringify({ metadata: {}, weight_map: map })

const good = {
  'config.json': '{"model_type":"llama"}',
  'tokenizer.json': '{"version":"1.0"}',
  'model.safetensors': safetensors('model.norm.weight'),
}
const { 'model.safetensors': _, ...withoutWeights } = good

let count = 0
async function folder(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
  const path = join(root, String(count++))
  await mkdir(path)
  for (const [name, contents] of Object.entries(files)) await writeFile(join(path, name), contents)
  return path
}
const open = async (files: Readonly<Record<string, string | Uint8Array>>) => openHuggingFace(await folder(files))

async function refused(files: Readonly<Record<string, string | Uint8Array>>, message: string) {
  const error = await open(files).then(
    () => undefined,
    e => e,
  )
  expect(error).toBeInstanceOf(FormatError)
  expect(error.message).toContain(message)
}

describe('weights', () => {
  test('one safetensors file comes before everything else', async () => {
    const opened = await open({ ...good, 'pytorch_model.bin': bin('other') })
    expect([...opened.tensors.tensors.keys()]).toEqual(['model.norm.weight'])
    expect(opened.weightBytes).toBe(good['model.safetensors'].byteLength)
    expect(opened.config).toEqual({ model_type: 'llama' })
    expect(await opened.tensors.float32('model.norm.weight')).toEqual(new Float32Array(2))
    await expect(opened.tensors.bytes('x')).rejects.toThrow('no tensor "x"')
    await opened.close()
  })

  test('shards of safetensors, then one .bin, then its shards', async () => {
    const shards = { 'a.safetensors': safetensors('model.a'), 'b.safetensors': safetensors('model.b', 'model.c') }
    const map = { 'model.a': 'a.safetensors', 'model.b': 'b.safetensors', 'model.c': 'b.safetensors' }
    const first = await open({
      ...withoutWeights,
      ...shards,
      'model.safetensors.index.json': index(map),
      'pytorch_model.bin': bin('x'),
    })
    expect([...first.tensors.tensors.keys()]).toEqual(['model.a', 'model.b', 'model.c'])
    expect(first.weightBytes).toBe(shards['a.safetensors'].byteLength + shards['b.safetensors'].byteLength)
    await first.close()
    const second = await open({ ...withoutWeights, 'pytorch_model.bin': bin('model.x') })
    expect(await second.tensors.float32('model.x')).toEqual(Float32Array.of(1, 2))
    await second.close()
    const bins = {
      '1.bin': bin('model.y'),
      '2.bin': bin('model.z'),
      'pytorch_model.bin.index.json': index({ 'model.y': '1.bin', 'model.z': '2.bin' }),
    }
    const third = await open({ ...withoutWeights, ...bins })
    expect([...third.tensors.tensors.keys()]).toEqual(['model.y', 'model.z'])
    await third.close()
  })

  test('names of the whole model, without buffers', async () => {
    const names = [
      'decoder.layers.0.fc1.bias',
      'layers.0.mlp.up_proj.weight',
      'embed_tokens.weight',
      'norm.weight',
      'lm_head.weight',
    ]
    const masks = ['attention.bias', 'attention.masked_bias'].map(name => `gpt_neox.layers.0.${name}`)
    const buffers = ['layers.0.self_attn.rotary_emb.inv_freq', 'h.0.attn.masked_bias', 'decoder.version', ...masks]
    const opened = await open({ ...good, 'model.safetensors': safetensors(...names, ...buffers, 'model.layers.1.x') })
    expect([...opened.tensors.tensors.values()].map(t => t.name).sort()).toEqual([
      'lm_head.weight',
      'model.decoder.layers.0.fc1.bias',
      'model.embed_tokens.weight',
      'model.layers.0.mlp.up_proj.weight',
      'model.layers.1.x',
      'model.norm.weight',
    ])
    expect((await opened.tensors.bytes('model.embed_tokens.weight')).byteLength).toBe(8)
    await opened.close()
  })
})

describe('side files', () => {
  test('tokenizer files, generation config and licences, nothing else', async () => {
    const names = [
      'LICENSE.md',
      'NOTICE',
      'USE_POLICY.md',
      'generation_config.json',
      'chat_template.jinja',
      'tokenizer_config.json',
    ]
    const opened = await open({ ...good, ...Object.fromEntries(names.map(name => [name, '{}'])), 'README.md': 'x' })
    expect(opened.sideFiles.map(file => file.name).sort()).toEqual([...names, 'tokenizer.json'].sort())
    await opened.close()
  })
})

describe('refuses', () => {
  const map = { 'model.a': 'a.safetensors', 'model.b': 'b.safetensors', 'model.c': 'c.safetensors' }
  const shard = { 'a.safetensors': safetensors('model.a') }
  const indexed = (weightMap: unknown) => ({
    ...withoutWeights,
    ...shard,
    'model.safetensors.index.json': index(weightMap),
  })
  test.each<[string, Record<string, string | Uint8Array>, string]>([
    ['no config', { 'model.safetensors': '' }, 'has no config.json'],
    ['a config that is no JSON', { ...good, 'config.json': '<html>' }, 'config.json: the file is not JSON'],
    ['a config that is no object', { ...good, 'config.json': '[]' }, 'not an object'],
    [
      'no weights',
      withoutWeights,
      'wanted is one of model.safetensors, model.safetensors.index.json, pytorch_model.bin',
    ],
    ['weights cut short', { ...good, 'model.safetensors': good['model.safetensors'].slice(0, -1) }, 'cut short'],
    ['missing shards', indexed(map), 'lacks 2 of 3 shards: b.safetensors, c.safetensors'],
    [
      'a tensor that its shard lacks',
      indexed({ 'model.a': 'a.safetensors', 'model.z': 'a.safetensors' }),
      'a.safetensors: lacks the tensor "model.z"',
    ],
    ['an index without map', indexed(null), 'no weight_map'],
    ['an index that is no JSON', { ...indexed({}), 'model.safetensors.index.json': '{' }, 'not JSON'],
    ['a shard elsewhere', indexed({ x: '../a.safetensors' }), '"../a.safetensors"; allowed are names of *.safetensors'],
    ['a shard in a folder', indexed({ x: 'sub/a.safetensors' }), 'Do not trust'],
    ['a shard with a backslash', indexed({ x: '..\\a.safetensors' }), 'Do not trust'],
    ['a pickle as safetensors shard', indexed({ x: 'a.bin' }), 'Do not trust'],
    ['a shard that is a number', indexed({ x: 3 }), 'Do not trust'],
    ['a shard with a toString of its own', indexed({ x: { toString: 0 } }), 'puts "x" into an object'],
    [
      'a config field nested 30,000 deep',
      { ...good, 'config.json': `{"unused":${'['.repeat(3e4)}${']'.repeat(3e4)}}` },
      'nested 30001 deep, allowed are 64',
    ],
    [
      'two tensors of one name',
      { ...good, 'model.safetensors': safetensors('norm.weight', 'model.norm.weight') },
      'both are "model.norm.weight"',
    ],
    [
      'no tokenizer',
      { 'config.json': '{}', 'model.safetensors': good['model.safetensors'] },
      'wanted is tokenizer.json',
    ],
    [
      'vocab.json of another kind',
      { 'config.json': '{"model_type":"qwen2"}', 'vocab.json': '{}', 'merges.txt': '#' },
      'wanted is tokenizer.json',
    ],
    ['a tokenizer that is no JSON', { ...good, 'tokenizer.json': 'x' }, 'tokenizer.json: the file is not JSON'],
    [
      'a tokenizer config that is no JSON',
      { ...good, 'tokenizer_config.json': 'x' },
      'tokenizer_config.json: the file is not JSON',
    ],
  ])('%s', async (_, files, message) => refused(files, message))

  test('a folder that does not exist', async () => {
    await expect(openHuggingFace(join(root, 'none'))).rejects.toThrow('no folder that can be read')
  })
})

describe('the tiny models', () => {
  test.each(TINY_NAMES)('%s: names, weights, and ids as transformers gives them', async name => {
    const opened = await openHuggingFace(TINY_MODELS[name])
    const tokenizer = new Tokenizer(opened.tokenizer, opened.tokenizerConfig)
    for (const { text, ids } of goldenOf(name).tokenizer)
      expect([text, tokenizer.encode(text).ids]).toEqual([text, ids])
    for (const tensor of opened.tensors.tensors.keys()) {
      expect(tensor).toMatch(/^(model\.|lm_head\.weight$)/)
      expect((await opened.tensors.float32(tensor)).every(Number.isFinite)).toBe(true)
    }
    const file = name === 'tiny-opt' ? 'pytorch_model.bin' : 'model.safetensors'
    expect(opened.weightBytes).toBe((await stat(join(TINY_MODELS[name], file))).size)
    await opened.close()
  })

  test('tiny-opt gets a tokenizer.json beside its own files', async () => {
    const opened = await openHuggingFace(TINY_OPT)
    const side = new Map(opened.sideFiles.map(file => [file.name, file.bytes]))
    expect(JSON.parse(new TextDecoder().decode(side.get('tokenizer.json')))).toEqual(opened.tokenizer)
    expect(side.get('merges.txt')).toEqual(new Uint8Array(await readFile(join(TINY_OPT, 'merges.txt'))))
    await opened.close()
  })
})

describeShared('checkpoints of others', () => {
  test('a whole folder with .bin weights of PyTorch', async () => {
    const opened = await openHuggingFace(sharedPath('checkpoints/BloomForCausalLM'))
    expect(opened.tensors.tensors.get('transformer.word_embeddings.weight')!.shape).toEqual([1024, 32])
    await opened.close()
  })
})
