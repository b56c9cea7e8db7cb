// Models that are damaged, lie, or are none: `fasp prune` says what is wrong and where, ends with 1, and leaves nothing behind.
// The readers have their own tests beside them; these show what a user sees.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Files, fasp, put, putModel, QUICK, refused, TINY_LLAMA, workplaces } from './fasp.ts'
import { type BuiltGguf, buildGguf, f32Tensor, text, u32 } from './gguf-builder.ts'
import { op, pickle, torchFile, zipFile } from './torch-file.ts'

const workplace = workplaces()
const PRUNE = ['prune', 'model', '-s', '0.2', '-o', 'out', ...QUICK]

/** tiny-llama with these files instead of its own is refused. */
async function refusedModel(files: Files, says: readonly string[]): Promise<void> {
  const folder = await workplace()
  await putModel(folder, files)
  await refused(folder, PRUNE, { says })
}

const weights = readFileSync(join(TINY_LLAMA, 'model.safetensors'))
const dataStart = 8 + Number(weights.readBigUint64LE(0))
const headerText = weights.subarray(8, dataStart).toString()
interface Entry {
  dtype: string
  shape: number[]
  data_offsets: [number, number]
}
const entries: Readonly<Record<string, Entry>> = JSON.parse(headerText)
const NORM = 'model.norm.weight'
const FIRST_NORM = 'model.layers.0.input_layernorm.weight'

/** The weights under another header. */
function withHeader(header: string, length = BigInt(Buffer.byteLength(header))): Buffer {
  const start = Buffer.alloc(8)
  start.writeBigUint64LE(length)
  return Buffer.concat([start, Buffer.from(header), weights.subarray(dataStart)])
}
/** The weights with a lie about one tensor. */
const withEntry = (name: string, lie: Partial<Entry>) =>
  withHeader(JSON.stringify({ ...entries, [name]: { ...entries[name], ...lie } }))

describe('safetensors', () => {
  const last = weights.length - dataStart
  const cases: Record<string, [Uint8Array, string[]]> = {
    'cut in half': [weights.subarray(0, weights.length / 2), ['ends at byte', 'cut short, download it again']],
    'cut to 4 bytes': [weights.subarray(0, 4), ['has 4 bytes, too few']],
    'header of 2^53 bytes': [
      withHeader(headerText, 2n ** 53n),
      ['claims a header of 9007199254740992 bytes', 'allowed are'],
    ],
    'header that is not JSON': [withHeader('{"a"'), ['the safetensors header is not JSON', 'download it again']],
    'offsets past the end': [
      withEntry(NORM, { data_offsets: [last, last + 256] }),
      [NORM, 'ends at byte', `but the file has`],
    ],
    'tensors that overlap': [
      withEntry(NORM, { data_offsets: entries[FIRST_NORM].data_offsets }),
      ['overlaps another one'],
    ],
    'a size of 2^53': [withEntry(NORM, { shape: [2 ** 53] }), [NORM, 'non-negative integers below 2^53']],
    'sizes whose product passes 2^53': [withEntry(NORM, { shape: [2 ** 40, 2 ** 40] }), [NORM, 'more than 2^53 bytes']],
    'one name twice': [
      withHeader(headerText.trimEnd().replace(/}$/, `,"${NORM}":${JSON.stringify(entries[NORM])}}`)),
      [`has "${NORM}" twice`],
    ],
  }
  test.for(Object.entries(cases))('%s', ([, [bytes, says]]) =>
    refusedModel({ 'model.safetensors': bytes }, ['model/model.safetensors: ', ...says]),
  )
})

describe('shards', () => {
  const index = (shard: string) => JSON.stringify({ weight_map: { [NORM]: shard } })

  test('missing', () =>
    refusedModel(
      { 'model.safetensors': undefined, 'model.safetensors.index.json': index('model-00001-of-00002.safetensors') },
      ['lacks 1 of 1 shards: model-00001-of-00002.safetensors; download them'],
    ))
  test('outside the folder', () =>
    refusedModel({ 'model.safetensors': undefined, 'model.safetensors.index.json': index('../x.safetensors') }, [
      'model/model.safetensors.index.json: ',
      '"../x.safetensors"',
      'names of *.safetensors files in the same folder',
    ]))
  test('no weights at all', () =>
    refusedModel({ 'model.safetensors': undefined }, ['has no weights; wanted is one of']))
})

describe('torch checkpoints', () => {
  const refusedTorch = (bytes: Uint8Array, says: readonly string[]) =>
    refusedModel({ 'model.safetensors': undefined, 'pytorch_model.bin': bytes }, ['model/pytorch_model.bin', ...says])
  const call = (module: string, name: string, argument: string) =>
    pickle(op.global(module, name), op.mark, op.text(argument), op.tuple, op.reduce)

  test.for([
    ['posix', 'system'],
    ['builtins', 'eval'],
    ['torch', 'load'],
  ])('a pickle that calls %s.%s', ([module, name]) =>
    refusedTorch(torchFile(call(module, name, 'touch called')), [`${module}.${name}`]),
  )
  test('a pickle that is compressed', () =>
    refusedTorch(zipFile([{ name: 'm/data.pkl', data: new Uint8Array(2e6), deflated: true }]), [
      '"m/data.pkl" is compressed',
    ]))
  test('a member that leads out of the archive', () =>
    refusedTorch(torchFile(pickle(op.emptyDict), {}, [{ name: 'm/../../called', data: new Uint8Array(4) }]), [
      '"m/../../called"',
      'leads out of the archive',
      'Do not trust this file',
    ]))
  test('cut in half', () => {
    const file = torchFile(pickle(op.emptyDict))
    return refusedTorch(file.subarray(0, file.length / 2), ['cut short or no zip, download it again'])
  })
})

describe('values', () => {
  /** The weights with one bfloat16 value of a tensor replaced. */
  function withValue(name: string, index: number, bits: number): Buffer {
    const copy = Buffer.from(weights)
    copy.writeUInt16LE(bits, dataStart + entries[name].data_offsets[0] + 2 * index)
    return copy
  }
  const DOWN = 'model.layers.3.mlp.down_proj.weight'
  test.for<[string, number, number, shown: string]>([
    [DOWN, 7, 0x7fc0, 'NaN'],
    ['model.embed_tokens.weight', 1000, 0x7f80, 'Infinity'],
    [NORM, 3, 0xff80, '-Infinity'],
  ])('%s[%i], bits %i', ([name, index, bits, shown]) =>
    refusedModel({ 'model.safetensors': withValue(name, index, bits) }, [
      `model: ${name} holds ${shown} at element ${index}. The checkpoint is damaged; fetch it again.`,
    ]),
  )
  test('numbers so large that activations overflow', () => {
    const damaged = Buffer.from(weights)
    const [begin, end] = entries[DOWN].data_offsets
    for (let at = begin; at < end; at += 2) damaged.writeUInt16LE(0x7f7f, dataStart + at) // 3.4e38
    return refusedModel({ 'model.safetensors': damaged }, [
      'model.layers.3.mlp.down_proj: its input or output on the calibration text is beyond float32',
    ])
  })
})

describe('config.json', () => {
  const config = JSON.parse(readFileSync(join(TINY_LLAMA, 'config.json'), 'utf8'))
  const edited = (change: object) => ({ 'config.json': JSON.stringify({ ...config, ...change }) })
  const cases: Record<string, [Files, string[]]> = {
    'that is not JSON': [
      { 'config.json': '{"model_type": llama' },
      ['model/config.json: the file is not JSON', 'again'],
    ],
    'that is a list': [{ 'config.json': '[]' }, ['model/config.json: the file is JSON but not an object']],
    'that is missing': [{ 'config.json': undefined }, ['model: has no config.json; wanted is a folder']],
    'of an unknown model_type': [
      edited({ model_type: 'mamba' }),
      [
        'model: model_type "mamba" is not supported; supported are llama, mistral,',
        'The nearest is llama: 56 of its 56 tensors are there. docs/add-a-model.md says what a family takes.',
      ],
    ],
    'of an unknown model_type, without a tokenizer that we read': [
      { ...edited({ model_type: 'mamba' }), 'tokenizer.json': undefined },
      ['model: model_type "mamba" is not supported'],
    ],
    'without a model_type': [edited({ model_type: undefined }), ['model_type undefined is not supported']],
    'with another FFN width': [
      edited({ intermediate_size: 392 }),
      ['mlp.gate_proj.weight has shape [384,128]; config.json calls for [392,128]'],
    ],
    'with an absurd FFN width': [
      edited({ intermediate_size: 2 ** 40 }),
      ['"intermediate_size" is 1099511627776; it must be an integer from 1 to'],
    ],
    'with more layers': [
      edited({ num_hidden_layers: 7 }),
      ['the tensor model.layers.6.input_layernorm.weight [128] that config.json calls for is missing'],
    ],
    'with absurdly many layers': [
      edited({ num_hidden_layers: 2 ** 24 }),
      ['"num_hidden_layers" is 16777216; it must be an integer from 1 to 4096'],
    ],
    'with a size of another type': [
      edited({ hidden_size: '128' }),
      ['"hidden_size" is "128"; it must be an integer from 1 to'],
    ],
    'with heads that do not divide': [edited({ num_key_value_heads: 3 }), ['4 query heads cannot share 3 KV heads']],
    'with an unknown rope type': [
      edited({ rope_parameters: { rope_type: 'proportional', rope_theta: 1e4 } }),
      ['rope type "proportional" is not supported; default, linear, dynamic, llama3, yarn and longrope are'],
    ],
  }
  test.for(Object.entries(cases))('%s', ([, [files, says]]) => refusedModel(files, says))
})

describe('tokenizer.json', () => {
  test('that is not JSON', () =>
    refusedModel({ 'tokenizer.json': '{' }, ['model/tokenizer.json: the file is not JSON', 'download it again']))
  test('that is no tokenizer', () =>
    refusedModel({ 'tokenizer.json': '{"version":"1.0"}' }, ['its tokenizer.json cannot be used', 'save_pretrained']))
  test('without some bytes', () => {
    const json = JSON.parse(readFileSync(join(TINY_LLAMA, 'tokenizer.json'), 'utf8'))
    const lacks = (token: string) => ['q', 'Z', 'Ģ'].includes(token)
    json.model.merges = json.model.merges.filter((merge: string[]) => !merge.some(lacks))
    for (const token of Object.keys(json.model.vocab)) if (lacks(token)) delete json.model.vocab[token]
    return refusedModel({ 'tokenizer.json': JSON.stringify(json) }, [
      'its tokenizer.json cannot be used',
      'lacks 3 of the bytes that texts are spelled with, as "Z" for 0x5A',
    ])
  })
  test('that is missing', () => refusedModel({ 'tokenizer.json': undefined }, ['has no tokenizer that we read']))
})

describe('GGUF', () => {
  const metadata = [
    ['general.architecture', text('llama')],
    ['llama.block_count', u32(2 ** 31)],
    ['llama.embedding_length', u32(4)],
    ['llama.attention.head_count', u32(1)],
    ['llama.feed_forward_length', u32(8)],
    ['llama.context_length', u32(16)],
  ] as const
  const tensors = [f32Tensor('token_embd.weight', [2, 4], new Float32Array(8))]
  const cases: Record<string, [BuiltGguf | Uint8Array, string[]]> = {
    '2^53 tensors': [{ tensorCount: 2n ** 53n, metadata }, ['the number of tensors is 9007199254740992']],
    '10^15 metadata pairs': [
      { pairCount: 10n ** 15n, metadata },
      ['metadata pairs is 1000000000000000, more than', 'Fetch the file again'],
    ],
    'a string of 2^40 bytes': [
      { metadata: [['general.architecture', { type: 'string', value: 'llama', length: 2n ** 40n }]] },
      ['general.architecture', 'has 1099511627776 bytes'],
    ],
    'an array of 2^40 numbers': [
      { metadata: [['a', { type: 'array', of: 4, items: [], length: 2n ** 40n }]] },
      ['the value of "a"'],
    ],
    '2^31 layers': [{ metadata, tensors }, ['llama.block_count is 2147483648, with 1 tensors in the file']],
    'a dimension of 2^50': [
      { metadata, tensors: [{ ...tensors[0], shape: [2n ** 50n, 4n] }] },
      ['"token_embd.weight" has shape [1125899906842624, 4]', 'the product below 2^53'],
    ],
    'a name that steers the terminal': [
      { metadata, tensors: [{ ...tensors[0], name: 'a\n\u001b[31mfasp: done', shape: [3n ** 30n, 4n] }] },
      ['"a\\n\\u001b[31mfasp: done"'],
    ],
    'another architecture': [
      { metadata: [['general.architecture', text('mamba')]] },
      ['architecture "mamba"', ' models of architecture "llama", "qwen2", '],
    ],
    'half a file': [buildGguf({ metadata, tensors }).subarray(0, 100), ['cut short']],
    'no GGUF': [new TextEncoder().encode('PK and so on'), ['not a GGUF file', 'Give a .gguf file']],
  }
  test.for(Object.entries(cases))('%s', async ([, [file, says]]) => {
    const folder = await workplace({ 'x.gguf': file instanceof Uint8Array ? file : buildGguf(file) })
    await refused(folder, ['prune', 'x.gguf', '-s', '0.2', '-o', 'out', ...QUICK], { says: ['x.gguf: ', ...says] })
  })
})

test.for<[string, Files, string]>([
  ['of an unknown type', { 'config.json': '{"model_type":"other"}' }, 'model_type "other" is not supported'],
  ['without a tokenizer', { 'tokenizer.json': undefined }, 'has no tokenizer that we read'],
  [
    'that is quantised',
    { 'config.json': '{"model_type":"llama","quantization_config":{}}' },
    'config.json has a quantization_config',
  ],
])('inspect says what is known of a model %s, and why that is all', async ([, files, says]) => {
  const folder = await workplace()
  await putModel(folder, files)
  const { code, stdout, stderr } = await fasp(['inspect', 'model'], { folder })
  expect([code, stdout]).toEqual([1, ''])
  const [first, second, message] = stderr.split('\n')
  expect(first).toMatch(/^model: Hugging Face folder, [\d.]+ MB of weights$/)
  expect(second).toBe('1.3 M parameters; tensors: 56 BF16')
  expect(message).toContain(`fasp: model: ${says}`)
})

describe('what is no model', () => {
  const notModels: [path: string, says: string[]][] = [
    [
      'nothing-here',
      [
        'nothing-here: there is no such file or folder. Give a Hugging Face model folder, a .gguf file, or the name of a model on the Hub',
      ],
    ],
    ['empty', ['empty: has no config.json']],
    ['text.txt', ['text.txt: is a file, but not a .gguf', 'Give the folder that holds config.json']],
  ]
  test.for(notModels)('%s', async ([path, says]) => {
    const folder = await workplace()
    await put(folder, { 'empty/notes.md': 'no model' })
    await refused(folder, ['prune', path, '-s', '0.2', '-o', 'out', ...QUICK], { says })
  })
})
