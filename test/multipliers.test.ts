// Granite's multiplier of updates counts in errors as weights that are so much larger do: pruned alike, it computes what a twin without it does.
import { describe, expect, test } from 'vitest'
import { memorySource } from '../src/base/bytes.ts'
import { parseJsonObject } from '../src/base/json.ts'
import { floatSource } from '../src/checkpoint/float-source.ts'
import type { Engine } from '../src/engine/engine.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import { tensorShapes } from '../src/model/architecture.ts'
import { describeModel } from '../src/model/model.ts'
import { logits, MemorySink, type Model } from '../src/node.ts'
import { prune } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { ownMemories } from './devices.ts'
import { finish } from './finish.ts'
import { madeModel } from './model-shapes.ts'
import { asWindows } from './tiny.ts'

const MULTIPLIER = 0.25 // times which float32 is exact
const CONFIG = {
  ...{ model_type: 'granite', vocab_size: 40, hidden_size: 24, intermediate_size: 36, num_hidden_layers: 3 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64, attention_multiplier: 0.3 },
  ...{ attention_bias: true, mlp_bias: true },
}
const windows = asWindows([0, 1, 2, 3].map(w => Array.from({ length: 48 }, (_, i) => (3 * i * i + 7 * w) % 40)))

/** Weights and biases that write to the stream are larger by the multiplier. */
function folded({ checkpoint, architecture }: Model): Model {
  const tensors = floatSource(tensorShapes(architecture), async name => {
    const values = await checkpoint.tensors.float32(name)
    return /(o|down)_proj/.test(name) ? values.map(v => MULTIPLIER * v) : values
  })
  return describeModel({ ...checkpoint, config: CONFIG, tensors })
}

async function pruned(model: Model, method: string, engine: Engine) {
  const sink = new MemorySink()
  const result = await finish(prune(prepare(model, { sparsity: 0.3, method }, { windows }), { engine, sink }))
  const config = parseJsonObject(sink.files.get('config.json')!, 'config.json')
  const source = memorySource(sink.files.get('model.safetensors')!)
  const read = describeModel({ ...model.checkpoint, config, tensors: await openSafetensors(source) })
  return { result, logits: await logits(read, engine, windows.windows[0]) }
}

const METHODS = ['paper', 'plain:multiple=2', 'best:multiple=2', 'flap']
describe.each(Object.entries(ownMemories()))('%s', (_, engine) => {
  test.each(METHODS)('pruned by %s as the twin, of which no more comes back', async method => {
    const model = madeModel({ ...CONFIG, residual_multiplier: MULTIPLIER }, 3)
    const [ours, twins] = [await pruned(model, method, engine), await pruned(folded(model), method, engine)]
    const kept = ({ result }: typeof ours) =>
      result.layers.map(({ attention, ffn }) => [attention?.kept, ffn?.kept, ffn?.heldOutError?.toPrecision(2)])
    expect(kept(ours)).toEqual(kept(twins))
    const back = ({ result }: typeof ours) => result.moved?.layers.map(({ fromDevice }) => fromDevice)
    expect(back(ours)).toEqual(back(twins))
    const size = twins.logits.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
    for (const [i, v] of ours.logits.entries()) expect(Math.abs(v - twins.logits[i]) / size).toBeLessThan(1e-3)
  })
})
