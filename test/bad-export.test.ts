// Exports that cannot be made: one line says why, before any work where that can be known, and nothing is left behind.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { exportModel, exportModelEvents } from '../src/node.ts'
import { fasp, put, putModel, QUICK, refused, snapshot, TINY_LLAMA, workplaces } from './fasp.ts'
import { compactLlama, randomLlama, readModel, writeModel } from './made-models.ts'
import { TINY_OPT, tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const to = (target: string, ...more: string[]) => ['export', TINY_LLAMA, '--to', target, '-o', 'out', ...more]

describe('usage', () => {
  test.for<[string[], string]>([
    [to('gml'), '--to is "gml"; it must be one of gguf, onnx, padded, huggingface, or with a type, gguf:q8_0.'],
    [to('gguf:q3_k'), 'gguf cannot be written in q3_k; its types are f32, f16, bf16, q8_0,'],
    [to('huggingface:q8_0'), 'huggingface cannot be written in q8_0; its types are f32, f16, bf16.'],
    [to('gguf', '--dtype', 'int8'), 'gguf cannot be written in int8'],
    [to('onnx:f16'), 'onnx cannot be written in f16; its types are fp32, fp16, q8, q4, q4f16.'],
    [to('onnx', '--dtype', 'q8_0'), 'onnx cannot be written in q8_0'],
    [['export', TINY_LLAMA, '--to', 'onnx', '-o', 'x.onnx'], 'x.onnx: ONNX for transformers.js is a folder. Name one'],
    [['export', TINY_LLAMA, '-o', 'x.safetensors'], 'x.safetensors: safetensors are in a folder with config and'],
    [
      ['export', TINY_LLAMA, '-o', 'x.gguf', '--dtype', 'nonsense'],
      'gguf cannot be written in nonsense; its types are',
    ],
    [to('gguf', '--to', 'gguf:f16'), '--to gguf is given twice. Export once for each type.'],
    [['export', TINY_LLAMA, '-o', 'out'], 'no target. Say to what: to, for example --to gguf.'],
    [['export', TINY_LLAMA, '--to', 'gguf'], 'no output. Say where it goes'],
    [['export', '--to', 'gguf', '-o', 'out'], 'no model. Give a Hugging Face model folder, a .gguf file, or'],
    [
      ['export', TINY_LLAMA, '--to', 'gguf', '--to', 'padded', '-o', 'x.gguf'],
      'x.gguf is a .gguf file, and padded needs a folder. Name one: -o <folder>.',
    ],
    [['prune', TINY_LLAMA, '-s', '0.2', '-o', 'out', '--to', 'onyx', ...QUICK], '--to is "onyx"'],
    [
      ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'out', '--to', 'padded:q8_0', ...QUICK],
      'padded cannot be written in q8_0',
    ],
    [['prune', TINY_LLAMA, '-s', '0.2', '-o', 'x.gguf', '--to', 'padded', ...QUICK], 'x.gguf is a .gguf file'],
    [
      ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'x.gguf', '--dtype', 'q3_k'],
      'gguf cannot be written in q3_k; its types',
    ],
    [['prune', TINY_LLAMA, '-s', '0.2', '-o', 'x.onnx'], 'x.onnx: ONNX for transformers.js is a folder. Name one'],
    [['prune', TINY_LLAMA, '-s', '0.2', '-o', 'x.safetensors', '--dry-run'], 'x.safetensors: safetensors are in a'],
  ])('%j', async ([args, message]) => {
    await refused(await workplace(), args, { code: 2, says: [message] })
  })
})

describe('an output that exists', () => {
  test('folder and file are refused without --overwrite', async () => {
    const folder = await workplace({ 'out/fasp.json': '{}', 'x.gguf': 'GGUF' })
    await refused(folder, to('gguf'), { says: ['out exists already. Choose another folder'] })
    await refused(folder, ['export', TINY_LLAMA, '-o', 'x.gguf'], {
      says: ['x.gguf exists already. Choose another file'],
    })
  })
  test('what fasp did not write is refused with --overwrite', async () => {
    const folder = await workplace({ 'out/notes.md': 'mine', 'x.gguf': 'GGUF' })
    await refused(folder, to('gguf', '--overwrite'), { says: ['out was not written by fasp (it has no fasp.json)'] })
    const args = ['export', TINY_LLAMA, '-o', 'x.gguf', '--overwrite']
    await refused(folder, args, {
      says: ['x.gguf was not written by fasp (it has no fasp.version)', 'leaves it alone'],
    })
  })
  test('a folder in the place of the file, and the reverse', async () => {
    const folder = await workplace({ 'x.gguf/notes.md': 'mine' })
    const args = ['export', TINY_LLAMA, '-o', 'x.gguf', '--overwrite']
    await refused(folder, args, { says: ['x.gguf is a folder. The output is a file; choose another name.'] })
    const file = ['export', TINY_LLAMA, '--to', 'padded', '-o', 'text.txt']
    await refused(folder, file, { says: ['text.txt is a file. The output is a folder'] })
  })
  test('below a file', async () => {
    await refused(await workplace(), ['export', TINY_LLAMA, '-o', 'text.txt/x.gguf'], {
      says: ['cannot create text.txt/x.gguf: a part of the path is a file'],
    })
  })
  test('where files may not grow (ulimit -f)', async () => {
    const wrap = ['bash', '-c', 'ulimit -f 100 && exec "$@"', 'limited']
    const says = ['cannot write model.gguf of x.gguf', 'ulimit -f']
    await refused(await workplace(), ['export', TINY_LLAMA, '-o', 'x.gguf'], { wrap, says })
  })
})

describe('a source that cannot go there', () => {
  test('weights beyond float16', async () => {
    const folder = await workplace()
    const large = randomLlama({ num_hidden_layers: 3 }, 1)
    large.tensors['model.layers.2.mlp.down_proj.weight'].values[0] = 7e4
    writeModel(join(folder, 'large'), large, TINY_LLAMA)
    for (const [target, problem] of [
      ['gguf:f16', '70000 does not fit F16'],
      ['huggingface:f16', '70000 does not fit F16'],
      ['onnx:fp16', 'model.layers.2.mlp.down_proj.weight has values that do not fit float16. Choose another dtype'],
    ])
      await refused(folder, ['export', 'large', '--to', target, '-o', 'out'], { says: [problem] })
  })
  test('an activation that llama.cpp does not have', async () => {
    const folder = await workplace()
    writeModel(join(folder, 'gelu'), randomLlama({ hidden_act: 'gelu', num_hidden_layers: 1 }, 1), TINY_LLAMA)
    const says = [
      'gelu: llama models cannot be written as GGUF',
      'no architecture for them without silu in FFNs. Choose another --to.',
    ]
    await refused(folder, ['export', 'gelu', '--to', 'gguf', '-o', 'out'], { says })
    await refused(folder, ['prune', 'gelu', '-s', '0.2', '-o', 'out', '--to', 'gguf', ...QUICK], { says })
  })
  test('ONNX, which is not read', async () => {
    const folder = await workplace()
    await exportModel(tinyOf2Layers(), { output: join(folder, 'model'), to: [{ to: 'onnx', dtype: 'Q8' }] })
    const says = [
      'model: has no weights; wanted is one of',
      'ONNX is written, not read: give the model that it was made from',
    ]
    await refused(folder, ['export', 'model', '--to', 'gguf', '-o', 'out'], { says })
    await refused(folder, ['prune', 'model', '-s', '0.2', '-o', 'out', ...QUICK], { says })
    const file = ['model_quantized.onnx: is a file, but not a .gguf. Give the folder that holds config.json']
    await refused(folder, ['export', 'model/onnx/model_quantized.onnx', '--to', 'gguf', '-o', 'out'], { says: file })
  })
  test('a tokenizer whose rule llama.cpp does not have', async () => {
    const tokenizer = JSON.parse(readFileSync(join(TINY_LLAMA, 'tokenizer.json'), 'utf8'))
    const folder = await workplace()
    await putModel(folder, {
      'tokenizer.json': JSON.stringify({
        ...tokenizer,
        pre_tokenizer: { ...tokenizer.pre_tokenizer, add_prefix_space: true },
      }),
    })
    const says = ['model: its pre-tokenizer is none of gpt-2, ', 'so no GGUF of it can be written']
    await refused(folder, ['export', 'model', '--to', 'gguf', '-o', 'out'], { says })
    await refused(folder, ['prune', 'model', '-s', '0.2', '-o', 'out', '--to', 'gguf', ...QUICK], { says })
  })
  test.for<[string, unknown, string]>([
    ['neurons that are not there', { ffn: { kept: [1, 2] } }, 'layers[0].ffn.kept'],
    ['rows that are not there', { attention: { kept: [1, 2, 3] } }, 'layers[0].attention.kept'],
    ['neurons out of order', { ffn: { kept: Array.from({ length: 96 }, (_, i) => 96 - i) } }, 'layers[0].ffn.kept'],
  ])('fasp.json with %s', async ([, layer, where]) => {
    const recipe = { widths: { before: { ffn: 384 } }, layers: new Array(6).fill(layer) }
    const folder = await workplace()
    const widths = Array.from({ length: 6 }, () => ({ ffn: 96, values: [16, 32] }))
    writeModel(join(folder, 'compact'), compactLlama(await readModel(TINY_LLAMA), widths), TINY_LLAMA)
    await put(folder, { 'compact/fasp.json': JSON.stringify(recipe) })
    const says = [`compact/fasp.json: "${where}" `, 'It does not belong to these weights']
    await refused(folder, ['export', 'compact', '--to', 'padded', '-o', 'out'], { says })
  })
  test('fasp.json with an absurd width', async () => {
    const folder = await workplace()
    await putModel(folder, { 'fasp.json': JSON.stringify({ widths: { before: { ffn: 1e12 } } }) })
    await refused(folder, ['export', 'model', '--to', 'padded', '-o', 'out'], { says: ['widths.before.ffn must be'] })
  })
})

describe('OPT', () => {
  test('to GGUF, before any work', async () => {
    const folder = await workplace()
    const says = ['opt models cannot be written as GGUF: llama.cpp has no architecture for them']
    await refused(folder, ['export', TINY_OPT, '--to', 'gguf', '-o', 'out'], { says })
    const { stderr } = await fasp(['prune', TINY_OPT, '-s', '0.2', '-o', 'x.gguf', ...QUICK], { folder })
    expect(stderr).toContain(says[0])
    expect(stderr).not.toContain('layer')
  })
})

test('a caller that stops listening, and Ctrl-C, leave nothing', async () => {
  const folder = await workplace()
  const before = await snapshot(folder)
  for await (const event of exportModelEvents(tinyOf2Layers(), { output: join(folder, 'new/x.gguf') }))
    if (event.type === 'progress') break
  expect(await snapshot(folder)).toEqual(before)
  let sent = false
  const onProgress = (stderr: string, child: { kill(signal: 'SIGINT'): boolean }) => {
    if (!sent && stderr.includes('verify: 0')) sent = child.kill('SIGINT')
  }
  writeModel(join(folder, 'large'), randomLlama({ intermediate_size: 4096, num_hidden_layers: 2 }, 1), TINY_LLAMA)
  const args = ['export', 'large', '--to', 'gguf:q4_k_m', '--to', 'huggingface', '-o', 'new/out']
  await refused(folder, args, { code: 130, says: ['interrupted; unfinished output was removed'], onProgress })
})
