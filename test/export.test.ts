// fasp export, and fasp prune with --to, as a user runs them, where all is well. What goes wrong is in bad-export.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { fasp, QUICK, run, snapshot, TINY_LLAMA, workplaces } from './fasp.ts'
import { compactLlama, readModel, writeModel } from './made-models.ts'
import { someOf } from './nightly.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const MODEL = tinyOf2Layers()
/** As stock has the widths, of a method that takes a third of the time. */
const PLAIN = [...QUICK, '--method', 'plain:multiple=32']
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const write = (model: string) => ['generate', model, '-p', 'Once upon a time', '--max-tokens', '12']
const size = (path: string) => statSync(path).size

describe('to gguf', () => {
  test('a file, from a folder, in the type of the folder, which our own commands read', async () => {
    const folder = await workplace()
    const args = ['export', MODEL, '-o', 'tiny.gguf']
    const { stdout, stderr } = await run(folder, ...args)
    expect(stdout).toMatch(/^export +folder +type +size\ngguf +\. +bf16 +1\.1 MB\nWrote tiny\.gguf\n/)
    expect(stderr).toMatch(
      /^export: 0 of 20 tensors\nexport: 20 of 20 tensors +took .*\nverify: 0 of 20 tensors\nverify: 20 of 20/,
    )
    const { exports } = JSON.parse((await run(folder, ...args, '--overwrite', '--json')).stdout)
    const bytes = size(join(folder, 'tiny.gguf'))
    expect(exports).toEqual([{ to: 'gguf', dtype: 'BF16', folder: '', bytes, path: 'tiny.gguf' }])
    expect(readdirSync(folder).sort()).toEqual(['text.txt', 'tiny.gguf'])
    expect((await run(folder, ...write('tiny.gguf'))).stdout).toBe((await run(folder, ...write(MODEL))).stdout)
    const { stdout: inspected } = await run(folder, 'inspect', 'tiny.gguf')
    expect(inspected).toMatch(/^tiny\.gguf: llama, GGUF, 1\.1 MB of weights\n/)
    expect(inspected).toMatch(/tensors: 15 BF16, 5 F32$/m)
  })

  test('a folder, in another type', async () => {
    const folder = await workplace()
    await run(folder, 'export', MODEL, '--to', 'gguf', '--dtype', 'q8_0', '-o', 'out')
    expect(readdirSync(join(folder, 'out')).sort()).toEqual(['fasp.json', 'model.gguf'])
    expect(json(join(folder, 'out/fasp.json'))).toMatchObject({
      source: { name: 'tiny-llama', format: 'huggingface', modelType: 'llama' },
      exports: [{ to: 'gguf', dtype: 'Q8_0' }],
    })
    await run(folder, 'export', 'out/model.gguf', '--dtype', 'q4_k_m', '-o', 'again.gguf')
    expect(size(join(folder, 'again.gguf'))).toBeLessThan(size(join(folder, 'out/model.gguf')))
  })

  test('compact, with widths of their own in each layer and narrow value channels', async () => {
    const folder = await workplace()
    const widths = [384, 96].map((ffn, i) => ({ ffn, values: [32 - 25 * i, 32] }))
    writeModel(join(folder, 'compact'), compactLlama(await readModel(MODEL), widths), MODEL)
    const { stderr } = await run(folder, 'export', 'compact', '--to', 'gguf', '-o', 'compact.gguf')
    expect(stderr).toMatch(
      /^gguf: llama\.cpp holds as many value channels as query channels, 32 a head: .* and the KV cache is no smaller\.$/m,
    )
    expect((await run(folder, ...write('compact.gguf'))).stdout).toBe((await run(folder, ...write('compact'))).stdout)
    const { stdout } = await run(folder, 'inspect', 'compact.gguf')
    expect(stdout).toContain('compact: FFN 96 to 384, 32 of 32 value channels in each KV head')
    expect(stdout).not.toContain('transformers cannot load')
    const shapes = JSON.parse((await run(folder, 'inspect', 'compact.gguf', '--json')).stdout).tensors.filter(
      ({ name }: { name: string }) => name.endsWith('up_proj.weight'),
    )
    expect(shapes.map(({ shape }: { shape: number[] }) => shape[0])).toEqual([384, 96])
  })
})

describe('prune', () => {
  test('GGUF in, smaller GGUF out', async () => {
    const folder = await workplace()
    for (const type of ['q8_0', 'f16']) {
      await run(folder, 'export', MODEL, '--to', `gguf:${type}`, '-o', `${type}.gguf`)
      const args = ['prune', `${type}.gguf`, '-s', '0.3', '-o', 'smaller.gguf', '--to', 'gguf', '--overwrite', ...PLAIN]
      const { stdout } = await run(folder, ...args, '--text', 'text.txt', '--text-windows', '2', '--json')
      const [before, after] = [`${type}.gguf`, 'smaller.gguf'].map(name => size(join(folder, name)))
      expect(after).toBeLessThan(0.8 * before)
      const { sizes, exports, perplexities } = JSON.parse(stdout)
      const [path, dtype] = ['smaller.gguf', type.toUpperCase()]
      expect(exports).toEqual([{ to: 'gguf', dtype, folder: '', bytes: after, path }])
      expect(sizes.weightBytes.after).toBe(after)
      expect(perplexities.pruned[0].perplexity).toBeGreaterThan(1)
    }
    expect(readdirSync(folder).sort()).toEqual(['f16.gguf', 'q8_0.gguf', 'smaller.gguf', 'text.txt'])
    const { stdout } = await run(folder, 'inspect', 'smaller.gguf')
    expect(stdout).toContain('2 layers, hidden size 128, FFN 224,')
    expect(stdout).toMatch(/^pruned: 30 % of the decoder linears of f16\.gguf, method plain:multiple=32$/m)
    await run(folder, ...write('smaller.gguf'))
  })

  test('an output that ends in .gguf needs no --to, and one that is there is replaced only with --overwrite', async () => {
    const folder = await workplace()
    const args = ['prune', MODEL, '-s', '0.2', '-o', 'small.gguf', ...PLAIN]
    await run(folder, ...args)
    const before = await snapshot(folder)
    const { code, stderr } = await fasp(args, { folder })
    expect([code, stderr]).toEqual([1, expect.stringContaining('small.gguf exists already. Choose another file')])
    expect(await snapshot(folder)).toEqual(before)
    for (const [dtype, tensors] of Object.entries({ f32: '20 F32', q8_0: '15 Q8_0, 5 F32' })) {
      await run(folder, ...args, '--overwrite', '--dtype', dtype)
      expect((await run(folder, 'inspect', 'small.gguf')).stdout).toMatch(new RegExp(`tensors: ${tensors}$`, 'm'))
    }
  })

  test('a folder with exports below it', async () => {
    const folder = await workplace()
    const to = ['--to', 'gguf:q8_0', '--to', 'padded']
    await run(folder, 'prune', MODEL, '-s', '0.2', '-o', 'out', ...PLAIN, ...to)
    const names = (part: string) => readdirSync(join(folder, part)).sort()
    expect(names('out')).toEqual(
      expect.arrayContaining(['config.json', 'fasp.json', 'gguf', 'model.safetensors', 'padded']),
    )
    expect(names('out/gguf')).toEqual(['model.gguf'])
    expect(json(join(folder, 'out/config.json')).intermediate_size).toBe(288)
    expect(json(join(folder, 'out/padded/config.json')).intermediate_size).toBe(384)
    expect((await run(folder, ...write('out'))).stdout).toBe((await run(folder, ...write('out/padded'))).stdout)
  })
})

describe('to padded', () => {
  test.each(someOf(['compact', 'stock'], layout => layout === 'compact'))(
    'the %s result gives the bytes that layout padded has',
    async layout => {
      const folder = await workplace()
      const method = `plain:scope=${layout === 'compact' ? 'ffn+ragged' : 'ffn'}:multiple=32:layout=`
      const args = ['prune', MODEL, '-s', '0.3', ...QUICK, '--method']
      await run(folder, ...args, `${method}padded`, '-o', 'padded')
      await run(folder, ...args, `${method}${layout}`, '-o', 'narrow')
      await run(folder, 'export', 'narrow', '--to', 'padded', '-o', 'wide')
      const weights = (name: string) => readFileSync(join(folder, name, 'model.safetensors'))
      expect(weights('wide').equals(weights('padded'))).toBe(true)
      expect(json(join(folder, 'wide/config.json'))).toEqual(json(join(folder, 'padded/config.json')))
      expect(json(join(folder, 'wide/fasp.json')).layers).toEqual(json(join(folder, 'narrow/fasp.json')).layers)
    },
  )

  test('without fasp.json a compact model is filled up at the ends', async () => {
    const folder = await workplace()
    const widths = [384, 96].map(ffn => ({ ffn, values: [16, 32] }))
    writeModel(join(folder, 'compact'), compactLlama(await readModel(MODEL), widths), MODEL)
    await run(folder, 'export', 'compact', '--to', 'padded', '-o', 'wide')
    const { layer_widths, ...config } = json(join(folder, 'wide/config.json'))
    expect([layer_widths, config.model_type, config.intermediate_size]).toEqual([undefined, 'llama', 384])
    expect((await run(folder, ...write('wide'))).stdout).toBe((await run(folder, ...write('compact'))).stdout)
  })
})

test('to padded: a model that nothing was removed from stays as it is, and that is said', async () => {
  const folder = await workplace()
  const { stderr } = await run(folder, 'export', TINY_LLAMA, '--to', 'padded', '-o', 'out')
  expect(stderr).toMatch(/^padded: The model is written as it is: /m)
  const weights = [TINY_LLAMA, join(folder, 'out')].map(path => readFileSync(join(path, 'model.safetensors')))
  expect(weights[0].equals(weights[1])).toBe(true)
})

test('to onnx: a folder for transformers.js, from a GGUF, and beside other exports of a pruned model', async () => {
  const folder = await workplace()
  await run(folder, 'export', MODEL, '-o', 'tiny.gguf')
  await run(folder, 'export', 'tiny.gguf', '--to', 'onnx', '-o', 'out')
  const names = (part: string) => readdirSync(join(folder, part)).sort()
  expect(names('out')).toEqual(expect.arrayContaining(['config.json', 'fasp.json', 'onnx', 'tokenizer.json']))
  expect(names('out/onnx')).toEqual(['model.onnx', 'model_quantized.onnx'])
  const to = ['--to', 'onnx:q4', '--to', 'gguf:q8_0']
  await run(folder, 'prune', MODEL, '-s', '0.2', '-o', 'pruned', ...PLAIN, ...to)
  expect([names('pruned/onnx/onnx'), names('pruned/gguf')]).toEqual([['model_q4.onnx'], ['model.gguf']])
})

test('to huggingface: a GGUF becomes a folder, in the type asked for', async () => {
  const folder = await workplace()
  await run(folder, 'export', MODEL, '--to', 'gguf:f16', '-o', 'tiny.gguf')
  await run(folder, 'export', 'tiny.gguf', '--to', 'huggingface', '--dtype', 'f32', '-o', 'out')
  const config = json(join(folder, 'out/config.json'))
  expect(config).toMatchObject({ model_type: 'llama', torch_dtype: 'float32', intermediate_size: 384 })
  expect((await run(folder, ...write('out'))).stdout).toBe((await run(folder, ...write('tiny.gguf'))).stdout)
})

test('--verify says what it cannot check: where node-llama-cpp is not installed, and in Python', async () => {
  const targets = ['--to', 'gguf', '--to', 'huggingface']
  const { stderr } = await run(await workplace(), 'export', MODEL, ...targets, '-o', 'out', '--verify')
  expect(stderr).toContain('gguf: Not checked in llama.cpp: npm install node-llama-cpp, and --verify uses it.')
  expect(stderr).toContain('huggingface: Read back by fasp alone: --verify runs llama.cpp and transformers.js')
})
