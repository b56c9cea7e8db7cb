// Exports for transformers.js of the models that ship: files, config and cache; batches against transformers; and that nothing is left
// where a file does not read back. Any other shape: src/write/onnx/export.test.ts. In transformers.js itself: test/transformers-js.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { values } from '../src/engine/engine.ts'
import {
  describeModel,
  exportOnnx,
  MemorySink,
  type OnnxDtype,
  type OnnxOptions,
  openCheckpoint,
  prune,
  type Sink,
} from '../src/node.ts'
import { openFolderSink } from '../src/output/folder.node.ts'
import { TINY_LLAMA } from './fasp.ts'
import { engineAndFolder } from './opened.ts'
import { TINY_OPT } from './tiny.ts'

const { engine, folder: root } = engineAndFolder()

async function exported(path: string, sink: Sink, options: Omit<OnnxOptions, 'engine'> = {}) {
  const checkpoint = await openCheckpoint(path)
  try {
    return await exportOnnx(describeModel(checkpoint), sink, { engine, ...options })
  } finally {
    await checkpoint.close()
  }
}

const json = (bytes: Uint8Array | undefined) => JSON.parse(new TextDecoder().decode(bytes))

test('a compact model is stock to transformers.js: widths and cache are in the graph', async () => {
  const output = join(root, 'compact')
  const options = { sparsity: 0.3, method: 'plain:scope=ffn+per-head:layout=compact', windows: 2, seqLen: 32 } as const
  await prune(TINY_LLAMA, { ...options, output })
  const sinks = { dense: new MemorySink(), compact: new MemorySink() }
  const [dense] = await exported(TINY_LLAMA, sinks.dense, { dtypes: ['fp32'] })
  const [compact] = await exported(output, sinks.compact, { dtypes: ['fp32'] })
  const before = json(readFileSync(join(output, 'config.json')))
  expect(before.model_type).toBe('fasp_llama')
  const { values: channels } = before.layer_widths[0]
  expect(dense.cacheBytesPerToken).toBe(6 * 2 * (32 + 32) * 4) // layers · KV heads · (key + value) · bytes
  expect(compact.cacheBytesPerToken).toBe(6 * 2 * (32 + channels[0]) * 4)
  expect(compact.bytes).toBeLessThan(0.8 * dense.bytes)
  const config = json(sinks.compact.files.get('config.json'))
  expect(config).toMatchObject({ model_type: 'llama', 'transformers.js_config': { dtype: 'fp32' } })
  expect(Object.keys(config)).not.toEqual(expect.arrayContaining(['layer_widths']))
  expect(Object.keys(config)).not.toEqual(expect.arrayContaining(['auto_map']))
  expect([...sinks.compact.files.keys()].sort()).toEqual(
    [
      'README.md',
      'config.json',
      'generation_config.json',
      'onnx/model.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
    ].sort(),
  )
})

test('each dtype has its file; both that transformers.js takes unasked leave the choice to it', async () => {
  const sink = new MemorySink()
  const dtypes: OnnxDtype[] = ['fp32', 'fp16', 'q8', 'q4', 'q4f16']
  const files = await exported(TINY_LLAMA, sink, { dtypes })
  expect(files.map(({ file }) => file)).toEqual(
    ['', '_fp16', '_quantized', '_q4', '_q4f16'].map(s => `onnx/model${s}.onnx`),
  )
  for (const { file, bytes } of files) expect(sink.files.get(file)).toHaveLength(bytes)
  const sizes = files.map(({ bytes }) => bytes / files[0].bytes)
  for (const [i, size] of [1, 0.5, 0.27, 0.18, 0.17].entries()) expect(sizes[i]).toBeCloseTo(size, 1)
  expect(json(sink.files.get('config.json'))['transformers.js_config']).toEqual({})
  expect(json(sink.files.get('tokenizer_config.json'))).toMatchObject({ add_bos_token: true, bos_token: '<s>' })
})

test('weights beyond a file’s size are external data, announced, in memory and in a folder', async () => {
  const options = { dtypes: ['fp32', 'q4'] as const, fileBytes: 2e6 }
  const sink = new MemorySink()
  const [fp32, q4] = await exported(TINY_LLAMA, sink, options)
  const output = join(root, 'external')
  await exported(TINY_LLAMA, await openFolderSink(output, false), options)
  expect(readdirSync(join(output, 'onnx')).sort()).toEqual(
    [...sink.files.keys()].flatMap(name => (name.startsWith('onnx/') ? [name.slice(5)] : [])).sort(),
  )
  expect([fp32.external, q4.external]).toEqual([3, 0])
  const wanted = { 'model.onnx': 3 }
  expect(json(sink.files.get('config.json'))['transformers.js_config']).toEqual({
    dtype: 'fp32',
    use_external_data_format: wanted,
  })
})

describe('a file that does not read back leaves nothing', () => {
  /** Passes on what is written, changed. */
  const changing = (sink: Sink, change: (bytes: Uint8Array) => Uint8Array): Sink => ({
    ...sink,
    create: async (name, length) => {
      const file = await sink.create(name, length)
      return { ...file, write: (bytes, offset) => file.write(change(bytes), offset) }
    },
  })

  /** q_proj and o_proj, [128, 128] in float32. */
  const reversed = (bytes: Uint8Array) =>
    bytes.length === 4 * 128 * 128 ? new Uint8Array(new Float32Array(bytes.slice().buffer).reverse().buffer) : bytes

  test.each<[string, (bytes: Uint8Array) => Uint8Array, RegExp]>([
    ['weights in another order', reversed, /nats a token from ours/],
    ['a graph cut short', bytes => bytes.slice(0, bytes.length >> 1), /ONNX Runtime does not run it/],
  ])('%s', async (name, change, message) => {
    const output = join(root, name)
    const sink = changing(await openFolderSink(output, false), change)
    await expect(exported(TINY_LLAMA, sink, { dtypes: ['fp32'] })).rejects.toThrow(message)
    expect(readdirSync(root).filter(entry => entry.includes(name))).toEqual([])
  })

  test('and an abort', async () => {
    const sink = new MemorySink()
    const signal = AbortSignal.abort()
    await expect(exported(TINY_LLAMA, sink, { dtypes: ['q4'], signal })).rejects.toThrow(/abort/)
    expect(sink.files.size).toBe(0)
  })
})

test.each([[['fp8']], [['q4', 'q4']], [[]]])('dtypes %j are refused before any work', async dtypes => {
  await expect(exported(TINY_LLAMA, new MemorySink(), { dtypes: dtypes as OnnxDtype[] })).rejects.toThrow(
    'they must be some of fp32, fp16, q8, q4, q4f16, each once',
  )
})

interface Batch {
  readonly ids: number[][]
  readonly mask: number[][]
  readonly written: number[][]
  readonly logits: string
}
const oracle: { models: Record<string, Batch> } = json(
  readFileSync(new URL('fixtures/onnx/batch.json', import.meta.url)),
)

test('a batch with padding on the left is as in transformers, tiny-llama', () => compareBatch(TINY_LLAMA, 'tiny-llama'))
test('a batch with padding on the left is as in transformers, tiny-opt', () => compareBatch(TINY_OPT, 'tiny-opt'))

/** Writes on with the cache of the batch, and compares with what transformers wrote (test/fixtures/onnx/make_batch.py). */
async function compareBatch(path: string, name: string): Promise<void> {
  const sink = new MemorySink()
  await exported(path, sink, { dtypes: ['fp32'] })
  const open = await engine.open(sink.files.get('onnx/model.onnx')!)
  const { ids, mask, written, logits } = oracle.models[name]
  const int64 = (rows: number[][]) => values(BigInt64Array.from(rows.flat(), BigInt), [2, rows[0].length])
  const cacheInputs = open.inputs.filter(input => input.name.startsWith('past_key_values'))
  let cache = Object.fromEntries(
    cacheInputs.map(input => {
      const [, heads, , width] = input.isTensor ? input.shape : []
      return [input.name, values(new Float32Array(), [2, Number(heads), 0, Number(width)])]
    }),
  ) as Parameters<typeof open.run>[0]
  let next = ids
  const seen = mask.map(row => [...row])
  for (let step = 0; step < written[0].length; step++) {
    // As transformers.js makes them: 1 for padding.
    const positions = seen.map((row, i) =>
      row.map((present, at) => (present ? row.slice(0, at).filter(n => n === 1).length : 1)).slice(-next[i].length),
    )
    const feeds = { input_ids: int64(next), attention_mask: int64(seen), position_ids: int64(positions) }
    const found = await open.run({ ...feeds, num_logits_to_keep: values(BigInt64Array.of(1n), []), ...cache })
    const rows = found.logits.data as Float32Array
    const half = rows.length / 2
    if (step === 0) {
      const theirs = new Float32Array(new Uint8Array(Buffer.from(logits, 'base64')).buffer)
      expect(rows.every((v, i) => Math.abs(v - theirs[i]) < 2e-4)).toBe(true) // float32 sums in another order
    }
    next = [rows.subarray(0, half), rows.subarray(half)].map(row => [row.indexOf(Math.max(...row))])
    expect(next.map(([id]) => id)).toEqual(written.map(row => row[step]))
    for (const row of seen) row.push(1)
    cache = Object.fromEntries(cacheInputs.map(i => [i.name, found[i.name.replace('past_key_values', 'present')]]))
  }
  await open.close()
}
