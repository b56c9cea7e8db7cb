// Checkpoints of the right shapes without any weights: for all that is decided before one is read.
import { readFileSync } from 'node:fs'
import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import type { TensorInfo } from '../src/formats/tensors.ts'
import { tensorShapes } from '../src/model/architecture.ts'
import { architectureOf } from '../src/model/model.ts'

const config = JSON.parse(readFileSync(new URL('../assets/tiny-llama/config.json', import.meta.url), 'utf8'))

/** @param changes to the config, which tensors do not follow @param more names of tensors beside @param base the config */
export function withoutWeights(changes: object = {}, more: readonly string[] = [], base = config): Checkpoint {
  const tensors = new Map<string, TensorInfo>()
  for (const [name, shape] of tensorShapes(architectureOf('made', base)))
    tensors.set(name, { name, shape, dtype: 'BF16' })
  for (const name of more) tensors.set(name, { name, shape: [1], dtype: 'BF16' })
  const none = () => Promise.reject(new Error('no weights here'))
  return {
    name: 'made',
    format: 'huggingface',
    config: { ...base, ...changes },
    tensors: { tensors, bytes: none, float32: none, rows: none, close: async () => {} },
    tokenizer: {},
    tokenizerConfig: {},
    sideFiles: [],
    weightBytes: 0,
    close: async () => {},
  }
}
