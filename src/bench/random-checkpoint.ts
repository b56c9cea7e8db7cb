// A checkpoint with random weights, as transformers would initialise it: normal with σ = 0.02, norms 1, biases 0, all in bf16.
// Written tensor by tensor, never more than one in memory. The same seed gives the same bytes.

import type { SideFile } from '../checkpoint/checkpoint.ts'
import { jsonFile } from '../checkpoint/checkpoint.ts'
import { DTYPE_BYTES, fromFloat32 } from '../formats/dtype.ts'
import type { JsonObject } from '../formats/json.ts'
import { elements } from '../formats/tensors.ts'
import { tensorShapes } from '../model/architecture.ts'
import { architectureOf } from '../model/model.ts'
import { randomNumbers } from '../random.ts'
import { CheckpointWriter } from '../write/checkpoint.ts'
import type { Sink } from '../write/sink.ts'

/** `initializer_range` of LLaMA, `init_std` of OPT. */
const SIGMA = 0.02
const DTYPE = 'BF16'
const ONE = 0x3f80 // in bf16

/** Bytes of the weights, headers excluded. */
export function checkpointBytes(config: JsonObject): number {
  const shapes = [...tensorShapes(architectureOf('workload', config)).values()]
  return shapes.reduce((n, shape) => n + elements(shape) * DTYPE_BYTES[DTYPE], 0)
}

/** Writes a Hugging Face folder of the model that `config` describes. @param sideFiles tokenizer */
export async function writeRandomCheckpoint(
  sink: Sink,
  config: JsonObject,
  seed: number,
  sideFiles: readonly SideFile[],
  signal?: AbortSignal,
): Promise<void> {
  try {
    const shapes = tensorShapes(architectureOf('workload', config))
    const writer = new CheckpointWriter(
      sink,
      [...shapes].map(([name, shape]) => ({ name, shape, dtype: DTYPE })),
    )
    const fill = normals(seed)
    for (const [name, shape] of shapes) {
      signal?.throwIfAborted()
      const tensor = new Uint16Array(elements(shape))
      if (shape.length > 1) fill(tensor)
      else if (name.endsWith('.weight')) tensor.fill(ONE)
      await writer.tensor(name, new Uint8Array(tensor.buffer))
    }
    await writer.finish([jsonFile('config.json', config), ...sideFiles])
  } catch (error) {
    await sink.abort()
    throw error
  }
}

/** Fills arrays with draws from 65,536 normal numbers (Box–Muller): a billion weights in seconds. */
function normals(seed: number): (target: Uint16Array) => void {
  const random = randomNumbers(seed)
  const values = Float32Array.from(
    { length: 65536 },
    () => SIGMA * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  )
  const table = new Uint16Array(fromFloat32(values, DTYPE).buffer)
  let state = Math.floor(random() * 2 ** 31) + 1 // xorshift32 (Marsaglia 2003) never leaves or reaches 0
  return target => {
    for (let i = 0; i < target.length; i++) {
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      target[i] = table[state >>> 16]
    }
  }
}
