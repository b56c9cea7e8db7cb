import { expect, test } from 'vitest'
import { finish } from '../../../test/finish.ts'
import { madeModel } from '../../../test/model-shapes.ts'
import { engineAndFolder } from '../../../test/opened.ts'
import { floatSource } from '../../checkpoint/float-source.ts'
import { memoryContext } from '../../forward/context.ts'
import { tensorShapes } from '../../model/architecture.ts'
import { architectureOf, describeModel, type Model } from '../../model/model.ts'
import { MemorySink } from '../../output/sink.ts'
import { gguf } from './file.ts'
import type { GgufFileType } from './types.ts'

const { engine } = engineAndFolder()

const [HIDDEN, WIDTH] = [32, 64]
const CONFIG = {
  ...{ model_type: 'granitemoehybrid', vocab_size: 1024, hidden_size: HIDDEN, shared_intermediate_size: WIDTH },
  ...{ num_hidden_layers: 2, num_attention_heads: 4, num_key_value_heads: 2, max_position_embeddings: 64 },
  ...{ num_local_experts: 0, layer_types: ['attention', 'attention'], position_embedding_type: 'rope' },
  ...{ residual_multiplier: 0.3, logits_scaling: 4 },
}

/** The model as Granite 3: gate and up in two tensors. */
function twin({ checkpoint }: Model): Model {
  const config = { ...CONFIG, model_type: 'granite', intermediate_size: WIDTH }
  const own = (name: string) => name.replace(/mlp\.(gate|up)_proj/, 'shared_mlp.input_linear')
  const read = async (name: string) => {
    const values = await checkpoint.tensors.float32(own(name).replace('mlp.down_proj', 'shared_mlp.output_linear'))
    if (own(name) === name) return values
    return name.includes('gate') ? values.slice(0, values.length / 2) : values.slice(values.length / 2)
  }
  const shapes = tensorShapes(architectureOf('made', config))
  return describeModel({ ...checkpoint, config, tensors: floatSource(shapes, read) })
}

/** With the Gram matrices of what its FFNs read, which their layers are rounded by. */
function observed(model: Model): Model {
  const ffns = model.architecture.halves.filter(({ kind }) => kind === 'ffn')
  const shapes = ffns.flatMap(({ inputs: [{ name, in: n }], output }): [string, number[]][] => [
    [name, [n, n]],
    [output.name, [output.in, output.in]],
  ])
  const gram = async (name: string) => {
    const [n] = shapes.find(([own]) => own === name)![1]
    return Float32Array.from({ length: n * n }, (_, i) => {
      const [row, column] = [Math.floor(i / n), i % n]
      return (row === column ? n : 0) + Math.cos(row - column) * (1 + (row + column) / n)
    })
  }
  return { ...model, checkpoint: { ...model.checkpoint, statistics: floatSource(shapes, gram) } }
}

async function file(model: Model, type: GgufFileType): Promise<Buffer> {
  const sink = new MemorySink()
  await finish(gguf.plan(model, type).write(sink, memoryContext(engine)))
  await sink.commit()
  return Buffer.from(sink.files.get('model.gguf')!)
}

test('dense Granite 4 is written as Granite 3 of the same weights, also where Gram matrices round them', async () => {
  const model = madeModel(CONFIG, 1)
  const other = twin(model)
  for (const type of ['F32', 'BF16', 'Q8_0', 'Q4_0'] as const)
    expect((await file(model, type)).equals(await file(other, type)), type).toBe(true)
  const [ours, theirs] = [await file(observed(model), 'Q4_0'), await file(observed(other), 'Q4_0')]
  expect(ours.equals(theirs)).toBe(true)
  expect(ours.equals(await file(model, 'Q4_0'))).toBe(false)
})
