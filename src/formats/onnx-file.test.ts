import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { openEngine } from '../engine/engine.node.ts'
import { values } from '../engine/engine.ts'
import { Graph } from './onnx.ts'
import { layoutOnnx, type OnnxLayout } from './onnx-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'fasp-onnx-'))
const engine = openEngine()
afterAll(async () => {
  await engine.close()
  rmSync(folder, { recursive: true })
})

/** y = (x A + b) B. */
function graph(): Graph {
  const g = new Graph('test')
  const x = g.input('x', 'float32', ['n', 3])
  const weights = Object.entries(WEIGHTS).map(([name, { shape }]) => g.initializer(name, 'float32', shape))
  const product = g.op('MatMul', [g.op('Add', [g.op('MatMul', [x, weights[0]]), weights[1]]), weights[2]])
  g.output('y', product, 'float32', ['n', 2])
  return g
}
const WEIGHTS: Record<string, { data: Float32Array; shape: number[] }> = {
  a: { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] },
  b: { data: Float32Array.of(10, 20), shape: [2] },
  c: { data: Float32Array.of(1, -1, 2, 0.5), shape: [2, 2] },
  d: { data: new Float32Array(2000), shape: [2000] }, // not used
}
const X = Float32Array.of(1, 0, -1)
const Y = Float32Array.of(-4 + 10 + (-4 + 20) * 2, -(-4 + 10) + (-4 + 20) * 0.5) // by hand

/** Writes every byte of the files once: a second one, or none, is an error. */
function assemble({ files, parts, places }: OnnxLayout): Map<string, Uint8Array> {
  const [model] = files.keys()
  const contents = new Map([...files].map(([name, length]) => [name, new Uint8Array(length)]))
  const written = new Map([...files].map(([name, length]) => [name, new Uint8Array(length)]))
  const put = (file: string, offset: number, bytes: Uint8Array) => {
    expect(
      written
        .get(file)!
        .subarray(offset, offset + bytes.length)
        .every(n => n === 0),
    ).toBe(true)
    written.get(file)!.fill(1, offset, offset + bytes.length)
    contents.get(file)!.set(bytes, offset)
  }
  for (const { offset, bytes } of parts) put(model, offset, bytes)
  for (const [name, { file, offset, byteLength }] of places) {
    const bytes = new Uint8Array(WEIGHTS[name].data.buffer)
    expect(byteLength).toBe(bytes.length)
    put(file, offset, bytes)
  }
  expect(written.get(model)!.every(n => n === 1)).toBe(true)
  return contents
}

async function run(model: string | Uint8Array, external?: Map<string, Uint8Array>): Promise<Float32Array> {
  const open = await engine.open(model, external)
  const { y } = await open.run({ x: values(X, [1, 3]) })
  await open.close()
  return y.data as Float32Array
}

test('weights inside the model, from memory and from a file', async () => {
  const files = assemble(layoutOnnx(graph(), 'model.onnx'))
  expect([...files.keys()]).toEqual(['model.onnx'])
  const path = join(folder, 'inline.onnx')
  writeFileSync(path, files.get('model.onnx')!)
  expect(await run(files.get('model.onnx')!)).toEqual(Y)
  expect(await run(path)).toEqual(Y)
})

test.each([
  [
    'three files: two tensors fit the first, and the last has one of its own',
    4096 + 8,
    ['_data', '_data_1', '_data_2'],
  ],
  ['a file for each', 1, ['_data', '_data_1', '_data_2', '_data_3']],
])('external data in %s', async (_, fileBytes, endings) => {
  const layout = layoutOnnx(graph(), 'onnx/model_q4.onnx', fileBytes)
  const files = assemble(layout)
  expect([...files.keys()]).toEqual(['onnx/model_q4.onnx', ...endings.map(end => `onnx/model_q4.onnx${end}`)])
  for (const { offset } of layout.places.values()) expect(offset % 4096).toBe(0)
  for (const [name, bytes] of files) writeFileSync(join(folder, name.slice(5)), bytes)
  expect(await run(join(folder, 'model_q4.onnx'))).toEqual(Y)
  const data = [...files].slice(1).map(([name, bytes]) => [name.slice(5), bytes] as const)
  expect(await run(files.get('onnx/model_q4.onnx')!, new Map(data))).toEqual(Y)
})

test('a model of more than 2 GB is planned without its weights', () => {
  const g = new Graph('large')
  const x = g.input('x', 'float32', ['n', 50_000])
  const layers = ['a', 'b', 'c'].map(name => g.initializer(name, 'float32', [50_000, 10_000])) // 2.0 GB each
  g.output(
    'y',
    g.op(
      'Concat',
      layers.map(w => g.op('MatMul', [x, w])),
      { axis: 1 },
    ),
    'float32',
    ['n', 30_000],
  )
  const { files, places } = layoutOnnx(g, 'model.onnx')
  expect([...files.keys()]).toEqual(['model.onnx', 'model.onnx_data', 'model.onnx_data_1', 'model.onnx_data_2'])
  expect(files.get('model.onnx_data')).toBe(2e9)
  expect(places.get('c')).toEqual({ file: 'model.onnx_data_2', offset: 0, byteLength: 2e9 })
})
