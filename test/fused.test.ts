// Layers whose rows lie in one stored tensor (Phi-3's qkv_proj and gate_up_proj): all that is read, pruned, widened and exported is what the twin
// gives that has them apart. The family is made here: LLaMA with its input layers renamed.
import { describe, expect, test } from 'vitest'
import { parseJsonObject } from '../src/base/json.ts'
import { floatSource } from '../src/checkpoint/float-source.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import { memoryContext } from '../src/forward/context.ts'
import { type Architecture, tensorShapes } from '../src/model/architecture.ts'
import { architectureOf } from '../src/model/model.ts'
import { exportOnnx, logits, MemorySink, type Model, type PruneOptions } from '../src/node.ts'
import { prune } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { padded } from '../src/write/huggingface/export.ts'
import { finish } from './finish.ts'
import { madeModel } from './model-shapes.ts'
import { engineAndFolder } from './opened.ts'
import { asWindows } from './tiny.ts'

const { engine } = engineAndFolder()

const CONFIG = {
  ...{ model_type: 'llama', vocab_size: 40, hidden_size: 24, intermediate_size: 36, num_hidden_layers: 3 },
  ...{ num_attention_heads: 4, num_key_value_heads: 2, head_dim: 10, max_position_embeddings: 64 },
}
const BIASES = { attention_bias: true, mlp_bias: true }
const windows = asWindows([0, 1, 2, 3].map(w => Array.from({ length: 48 }, (_, i) => (3 * i * i + 7 * w) % 40)))

const fusedName = (name: string) =>
  name.replace(/self_attn\.[qkv]_proj/, 'self_attn.qkv_proj').replace(/mlp\.(gate|up)_proj/, 'mlp.gate_up_proj')

const fusedArchitecture = (a: Architecture): Architecture => ({
  ...a,
  halves: a.halves.map(half => ({
    ...half,
    inputs: half.inputs.map(linear => ({ ...linear, name: fusedName(linear.name) })),
  })),
})

/** The parts of each tensor of the fused twin, in the order in which they lie there. */
function partsOf(names: Iterable<string>): Map<string, string[]> {
  const parts = new Map<string, string[]>()
  for (const name of names) parts.set(fusedName(name), [...(parts.get(fusedName(name)) ?? []), name])
  return parts
}

async function joined(names: readonly string[], read: (name: string) => Promise<Float32Array>) {
  const all = await Promise.all(names.map(read))
  return Float32Array.from(all.flatMap(part => [...part]))
}

function fused({ architecture: a, checkpoint }: Model): Model {
  const architecture = fusedArchitecture(a)
  const parts = partsOf(tensorShapes(a).keys())
  const tensors = floatSource(tensorShapes(architecture), name => joined(parts.get(name)!, checkpoint.tensors.float32))
  return { architecture, checkpoint: { ...checkpoint, tensors } }
}

/** What was written to memory, as a model of the family. */
async function readBack(sink: MemorySink, made: Model, family: (a: Architecture) => Architecture): Promise<Model> {
  const json = (name: string) => parseJsonObject(sink.files.get(name)!, name)
  const bytes = sink.files.get('model.safetensors')!
  const source = {
    name: 'memory',
    byteLength: bytes.length,
    slice: async (i: number, j: number) => bytes.slice(i, j).buffer,
  }
  const config = json('config.json')
  const recipe = sink.files.has('fasp.json') ? json('fasp.json') : undefined
  const checkpoint = { ...made.checkpoint, config, recipe, tensors: await openSafetensors(source) }
  const architecture = family(architectureOf('memory', config))
  const shapes = [...tensorShapes(architecture)]
  expect(shapes.map(([name]) => [name, checkpoint.tensors.tensors.get(name)?.shape])).toEqual(shapes)
  return { architecture, checkpoint }
}

/** That both hold the same values, and compute the same. */
async function expectTwins(apart: Model, together: Model) {
  const { tensors } = apart.checkpoint
  const parts = partsOf(tensorShapes(apart.architecture).keys())
  expect([...together.checkpoint.tensors.tensors.keys()].sort()).toEqual([...parts.keys()].sort())
  for (const [name, names] of parts)
    expect(await together.checkpoint.tensors.float32(name), name).toEqual(await joined(names, tensors.float32))
  const [ids] = windows.windows
  expect(await logits(together, engine, ids)).toEqual(await logits(apart, engine, ids))
}

const twins = (config: object) => {
  const apart = madeModel({ ...CONFIG, ...config }, 1)
  return [apart, fused(apart)] as const
}

describe.each([
  ['without biases', {}],
  ['with biases', BIASES],
])('%s', (_, config) => {
  test('read', async () => expectTwins(...twins(config)))

  test.each<[string, PruneOptions]>([
    ['nothing', { sparsity: 0 }],
    ['paper, padded', { sparsity: 0.3, method: 'paper' }],
    ['paper, stock', { sparsity: 0.3, method: 'paper:layout=stock' }],
    ['paper, compact', { sparsity: 0.3, method: 'paper:layout=compact' }],
    ['FFNs only', { sparsity: 0.2, method: 'plain:multiple=2' }],
    ['best', { sparsity: 0.2, method: 'best:multiple=2' }],
    ['best, padded', { sparsity: 0.2, method: 'best:layout=padded:multiple=2' }],
    ['whole heads', { sparsity: 0.3, method: 'wanda-sp:multiple=2' }],
    ['whole layers', { sparsity: 0.3, method: 'shortgpt' }],
    ['biases', { sparsity: 0.3, method: 'flap' }],
    ['biases, compact', { sparsity: 0.3, method: 'flap:layout=compact' }],
    ['biases, compact, halves that go', { sparsity: 0.9, method: 'flap:layout=compact' }],
  ])('pruned: %s', async (_, options) => {
    const [apart, together] = await Promise.all(
      twins(config).map(async (made, i) => {
        const sink = new MemorySink()
        await finish(prune(prepare(made, options, { windows }), { engine, sink }))
        return readBack(sink, made, i === 0 ? a => a : fusedArchitecture)
      }),
    )
    await expectTwins(apart, together)
    if (!/compact|best/.test(String(options.method))) return
    const wide = await Promise.all(
      [apart, together].map(async (model, i) => {
        const sink = new MemorySink()
        await finish(padded.plan(model, undefined).write(sink, memoryContext(engine)))
        await sink.commit()
        return readBack(sink, model, i === 0 ? a => a : fusedArchitecture)
      }),
    )
    await expectTwins(wide[0], wide[1])
  })

  test('exported', async () => {
    for (const model of twins(config))
      for (const { dtype, divergence } of await exportOnnx(model, new MemorySink(), { engine, dtypes: ['fp32', 'q4'] }))
        expect(divergence).toBeLessThan(dtype === 'fp32' ? 1e-9 : 0.1)
  })
})
