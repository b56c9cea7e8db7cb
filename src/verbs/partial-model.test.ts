import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { someOf } from '../../test/nightly.ts'
import { engineAndFolder } from '../../test/opened.ts'
import type { ProgressEvent } from '../base/events.ts'
import { openFile } from '../formats/file.node.ts'
import { openSafetensors } from '../formats/safetensors.ts'
import { tensorShapes } from '../model/architecture.ts'
import { type Model, openModel, perplexity, prune } from '../node.ts'
import { modelSoFar, type SoFar, writeSoFar } from './partial-model.ts'
import { pendingWeights } from './prune-heal.node.ts'

const { engine, folder } = engineAndFolder()
const TINY = fileURLToPath(new URL('../../assets/tiny-llama', import.meta.url))
const TEXT = { name: 'a text', text: async () => 'Once upon a time there was a king who had three sons. '.repeat(20) }
const QUICK = { sparsity: 0.4, calibration: [TEXT], windows: 4, seqLen: 32, heldOut: 0 }
const lossOf = async (model: Model) => (await perplexity(model, TEXT, { seqLen: 32, engine })).perplexity

const METHODS = [
  'plain',
  'stock',
  'best',
  'flap',
  'wanda-sp',
  'best:scope=ffn+rotate',
  'plain:layout=padded',
  'wanda-sp:layout=stock',
]
test.for(someOf(METHODS, (_, i) => i % 4 === 1))(
  'with all layers of %s it is the result, with none the dense model',
  async method => {
    const output = join(folder, method.replace(':', '-'))
    await using dense = await openModel(TINY)
    const { layers } = await prune(dense, { ...QUICK, method, engine, output })
    await using result = await openModel(output)
    const source = await openFile(join(output, 'model.safetensors'))
    const written = await openSafetensors(source)
    const whole = modelSoFar(dense, layers, written)!
    expect(new Map(tensorShapes(whole.architecture))).toEqual(new Map(tensorShapes(result.architecture)))
    expect(await lossOf(whole)).toBe(await lossOf(result))
    expect(await lossOf(modelSoFar(dense, [], written)!)).toBe(await lossOf(dense))
    const half = await lossOf(modelSoFar(dense, layers.slice(0, 1), written)!)
    expect([await lossOf(dense), await lossOf(result)]).not.toContain(half)
    await written.close()
  },
)

test('where layers go it is not known', async () => {
  const output = join(folder, 'layers')
  await using dense = await openModel(TINY)
  const { layers } = await prune(dense, { ...QUICK, method: 'shortgpt', engine, output })
  const written = await openSafetensors(await openFile(join(output, 'model.safetensors')))
  expect(modelSoFar(dense, layers, written)).toBeUndefined()
  await written.close()
})

test.for(someOf(['folder', 'file.gguf'], name => name !== 'folder'))(
  'it writes while a run into a %s goes on, whose result is the same',
  async name => {
    await using dense = await openModel(TINY)
    const told: SoFar[] = []
    const output = join(folder, name)
    const writing = { pending: () => pendingWeights(output), on: () => ({ engine }), mostBytes: 1e9 }
    const onLayer = writeSoFar(dense, writing, event => told.push(event))
    const events: ProgressEvent[] = []
    const onEvent = async (event: ProgressEvent) => {
      events.push(event)
      await onLayer(event)
    }
    await prune(TINY, { ...QUICK, engine, output, onEvent })
    expect(told[0]).toMatchObject({ layers: 1, prompt: 'Once upon a time' })
    expect(told[0].text).toMatch(/\w+ \w+/)
    await prune(TINY, { ...QUICK, engine, output: join(folder, `silent-${name}`) })
    const [one, other] = await Promise.all([output, join(folder, `silent-${name}`)].map(at => lossAt(at)))
    expect(one).toBe(other)
  },
)

async function lossAt(path: string): Promise<number> {
  await using model = await openModel(path)
  return await lossOf(model)
}
