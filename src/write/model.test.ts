import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { withModel } from '../../test/opened.ts'
import { halfBlocks, tensorShapes } from '../model/architecture.ts'
import { CheckpointWriter } from './checkpoint.ts'
import { ModelWriter } from './model.ts'
import { MemorySink } from './sink.ts'

test('input layers are rounded to the type of the output, and a value that does not fit it is an error', () =>
  withModel(fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url)), async model => {
    const a = model.architecture
    const tensors = [...tensorShapes(a)].map(([name, shape]) => ({ name, shape, dtype: 'F16' as const }))
    const options = { layout: 'stock', scope: 'ffn', layers: [...Array(a.layers).keys()] } as const
    const writer = new ModelWriter(model, new CheckpointWriter(new MemorySink(), tensors), options)
    const [, half] = halfBlocks(a, 1)
    const bias = Float32Array.of(1e6) // stays as it is
    const rounded = (...up: number[]) => {
      const inputs = [{ weight: Float32Array.of(1) }, { weight: Float32Array.from(up), bias }]
      return writer.rounded({ half, norm: {}, inputs, output: { weight: new Float32Array(1) } }).inputs[1]
    }
    expect(rounded(1.0001, 65519)).toEqual({ weight: Float32Array.of(1, 65504), bias })
    expect(() => rounded(1, 70000)).toThrow(
      'model.layers.1.mlp.up_proj.weight: 70000 does not fit F16. Write in a wider type, --dtype bf16 or f32.',
    )
  }))
