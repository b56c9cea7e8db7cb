// What a target is: a reader of foreign files, and a maker of files for it. And the small model that most of them start from.

import { FaspError } from '../../src/base/errors.ts'
import type { Checkpoint } from '../../src/checkpoint/checkpoint.ts'
import { elements, type TensorSource } from '../../src/formats/tensors.ts'
import { tensorShapes } from '../../src/model/architecture.ts'
import { architectureOf } from '../../src/model/model.ts'
import { random } from '../random.ts'
import type { Dice } from './mutate.ts'

export type Files = Readonly<Record<string, Uint8Array>>

export interface Target {
  /** So many that all targets together take about a minute. */
  readonly cases: number
  make(dice: Dice): Files
  /** Reads what `make` made. `folder` is for readers that take a path: the files are in it if `onDisk`. @throws FaspError, and nothing else */
  read(files: Files, folder: string): Promise<void> | void
  readonly onDisk?: true
}

/** One layer of a grouped-query LLaMA. */
export const CONFIG = {
  ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', torch_dtype: 'float32', vocab_size: 12 },
  ...{ hidden_size: 8, intermediate_size: 32, num_hidden_layers: 1, max_position_embeddings: 32 },
  ...{ num_attention_heads: 2, num_key_value_heads: 1, head_dim: 4, rms_norm_eps: 1e-5, hidden_act: 'silu' },
  ...{ tie_word_embeddings: true, attention_bias: false, mlp_bias: false, bos_token_id: 1, eos_token_id: 2 },
}

export interface SmallTensor {
  readonly name: string
  readonly shape: readonly number[]
  readonly values: Float32Array<ArrayBuffer>
}

/** Tensors of a model of this config. */
export const smallTensors = (config: Checkpoint['config']): SmallTensor[] =>
  [...tensorShapes(architectureOf('small', config))].map(([name, shape], seed) => ({
    ...{ name, shape },
    values: random(elements(shape), seed),
  }))

/** Tensors read of a file: those after them are read in the same way. */
const MAX_TENSORS = 24

/** Reads tensors in every way that there is. */
export async function readTensors(source: TensorSource): Promise<void> {
  for (const [name, { shape }] of [...source.tensors].slice(0, MAX_TENSORS)) {
    await tolerate(() => source.bytes(name))
    await tolerate(() => source.float32(name))
    if (shape.length === 2 && shape[0] > 0)
      await tolerate(() => source.rows(name, Int32Array.from(new Set([0, shape[0] - 1]))))
  }
}

/** Lets a refusal pass, so that what comes after it is seen, too. */
export async function tolerate(act: () => unknown): Promise<void> {
  try {
    await act()
  } catch (error) {
    if (!(error instanceof FaspError)) throw error
  }
}
