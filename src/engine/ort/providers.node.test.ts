import { expect, test } from 'vitest'
import { Graph } from '../../formats/onnx.ts'
import type { Api } from './c.node.ts'
import { DEVICE_PROVIDERS } from './providers.node.ts'

test.each([
  ['float32', '0'],
  ['tf32', '1'],
])('CUDA multiplies in %s where it is told so', (precision, tf32) => {
  const calls: unknown[][] = []
  const told = (name: string) => [name, (...args: unknown[]) => calls.push([name, ...args])]
  const api = Object.fromEntries(
    ['UpdateCUDAProviderOptions', 'SessionOptionsAppendExecutionProvider_CUDA_V2', 'ReleaseCUDAProviderOptions'].map(
      told,
    ),
  )
  const made = { ...api, CreateCUDAProviderOptions: () => 7n } as unknown as Api
  DEVICE_PROVIDERS.cuda.append(made, 9n, new Graph('any'), precision)
  expect(calls).toEqual([
    ['UpdateCUDAProviderOptions', 7n, ['use_tf32'], [tf32], 1],
    ['SessionOptionsAppendExecutionProvider_CUDA_V2', 9n, 7n],
    ['ReleaseCUDAProviderOptions', 7n],
  ])
})
