// The Gram matrices that pruning leaves for exports: what is there, what exports make of it, and that it is gone where nobody keeps it.
import { cpSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Floats } from '../src/formats/tensors.ts'
import {
  describeModel,
  exportModel,
  openCheckpoint,
  openEngine,
  openModel,
  type PrunePathOptions,
  planPrune,
  prune,
} from '../src/node.ts'
import { gguf } from '../src/write/gguf/file.ts'
import { gramReader } from '../src/write/gguf/grams.ts'
import { workplaces } from './fasp.ts'
import { someOf } from './nightly.ts'
import { asWindows, goldenOf, tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const DENSE = tinyOf2Layers()
const engine = openEngine({ threads: 1 })
afterAll(() => engine.close())

const settings = {
  sparsity: 0.3,
  calibration: asWindows(goldenOf('tiny-llama').calibration_windows.slice(0, 4)),
  heldOut: 0,
}
const pruned = (source: string, options: Partial<PrunePathOptions> & Pick<PrunePathOptions, 'output'>) =>
  prune(source, { ...settings, engine, ...options })

const d = 128
const linear = (layer: number, name: string) => `model.layers.${layer}.${name}`

/** `⟨(W − Ŵ) G, W − Ŵ⟩ / ⟨W G, W⟩` of each weight of `folder` that has a Gram matrix there. */
async function outputErrors(folder: string, gguf: string): Promise<Map<string, number>> {
  await using dense = await openCheckpoint(folder)
  await using rounded = await openCheckpoint(gguf)
  const gramOf = gramReader(describeModel(dense))
  const errors = new Map<string, number>()
  for (const name of dense.tensors.tensors.keys()) {
    const gram = await gramOf(name)
    if (!gram) continue
    const [w, read] = [await dense.tensors.float32(name), await rounded.tensors.float32(name)]
    const energy = async (m: Floats) => {
      const product = await engine.linalg.multiply(m, gram, Math.sqrt(gram.length))
      return product.reduce((sum, v, i) => sum + v * m[i], 0)
    }
    errors.set(name, (await energy(w.map((v, i) => v - read[i]))) / (await energy(w)))
  }
  return errors
}

describe('kept', () => {
  let made: string
  beforeAll(async () => {
    made = await workplace()
    await pruned(DENSE, { output: join(made, 'out'), to: [{ to: 'gguf', dtype: 'Q4_1' }], keepStatistics: true })
  })

  test('there is one for what the output layers read, and one for what aligned input layers share', async () => {
    const plan = await planPrune(DENSE, { ...settings, output: 'x.gguf' })
    const [{ ffn }] = plan.widths.after
    const expected = Array.from({ length: 2 }, (_, layer): [string, number][] => [
      // The first half-block is as it was, and the next is cut before anything differs from the dense stream.
      ...(layer === 0
        ? []
        : ([
            [linear(layer, 'self_attn.q_proj'), d],
            [linear(layer, 'self_attn.o_proj'), d],
            [linear(layer, 'mlp.gate_proj'), d],
          ] as [string, number][])),
      [linear(layer, 'mlp.down_proj'), ffn],
    ]).flat()
    expect(plan.grams.map(({ name, shape }) => [name, shape[0]])).toEqual(expected)
    await using checkpoint = await openCheckpoint(join(made, 'out'))
    const { tensors } = checkpoint.statistics!
    expect(new Map([...tensors.values()].map(({ name, shape }) => [name, shape]))).toEqual(
      new Map(expected.map(([name, n]) => [name, [n, n]])),
    )
    const gram = await checkpoint.statistics!.float32(linear(1, 'mlp.down_proj'))
    for (let i = 0; i < ffn; i++) {
      expect(gram[i * ffn + i]).toBeGreaterThan(0)
      expect(gram[i]).toBe(gram[i * ffn])
    }
  })

  test('the export of the run rounds by them, and so does a later one; without them more is lost', async () => {
    const [folder, plain] = [join(made, 'out'), join(made, 'plain')]
    cpSync(folder, plain, { recursive: true })
    rmSync(join(plain, 'statistics'), { recursive: true })
    for (const name of ['out', 'plain'])
      await exportModel(join(made, name), {
        output: join(made, `${name}.gguf`),
        to: [{ to: 'gguf', dtype: 'Q4_1' }],
        engine,
      })
    const [ours, theirs] = [
      await outputErrors(folder, join(made, 'out.gguf')),
      await outputErrors(folder, join(made, 'plain.gguf')),
    ]
    expect(ours.size).toBe(7 + 1)
    for (const [name, error] of ours) expect(error, name).toBeLessThan(0.8 * theirs.get(name)!)
    expect(await outputErrors(folder, join(folder, 'gguf/model.gguf'))).toEqual(ours)
  })

  test.each(gguf.dtypes)(
    'in %s values and FFNs take a bit more where there are four, and the file little',
    async dtype => {
      await using checkpoint = await openCheckpoint(join(made, 'out'))
      const [more, plain] = [checkpoint, { ...checkpoint, statistics: undefined }].map(one =>
        gguf.plan(describeModel(one), dtype),
      )
      const changed = [...more.expected!.types].filter(([name, type]) => plain.expected!.types.get(name) !== type)
      const next = { Q4_0: 'Q5_0', Q4_1: 'Q5_1', Q4_K_M: 'Q5_1' }[dtype] // rows are no multiples of 256
      expect(changed.some(([name]) => /down_proj/.test(name))).toBe(next !== undefined)
      for (const [name, type] of changed) {
        expect(name).toMatch(/v_proj|mlp/)
        expect(type).toBe(next)
      }
      expect(more.bytes).toBeLessThanOrEqual(1.03 * plain.bytes)
    },
  )

  test('one of another size is refused', async () => {
    const wrong = join(made, 'wrong')
    cpSync(join(made, 'out'), wrong, { recursive: true })
    await pruned(DENSE, { output: join(made, 'other'), sparsity: 0.5, keepStatistics: true })
    rmSync(join(wrong, 'statistics'), { recursive: true })
    cpSync(join(made, 'other/statistics'), join(wrong, 'statistics'), { recursive: true })
    const exporting = exportModel(wrong, {
      output: join(made, 'wrong.gguf'),
      to: [{ to: 'gguf', dtype: 'Q4_1' }],
      engine,
    })
    await expect(exporting).rejects.toThrow(/wrong\/statistics: has \d+ numbers for model\.layers\.0\.mlp\.down_proj/)
    expect(existsSync(join(made, 'wrong.gguf'))).toBe(false)
  })

  test('a .gguf file has no room for them', async () => {
    const output = join(made, 'no.gguf')
    await expect(pruned(DENSE, { output, keepStatistics: true })).rejects.toThrow('no room for statistics')
  })
})

describe('not kept', () => {
  test('they are gone from a folder, and from its list of files', async () => {
    const output = join(await workplace(), 'out')
    await pruned(DENSE, { output, to: [{ to: 'gguf', dtype: 'Q4_0' }] })
    expect(readdirSync(output)).not.toContain('statistics')
    const { files } = JSON.parse(readFileSync(join(output, 'fasp.json'), 'utf8'))
    expect(Object.keys(files).filter(name => name.startsWith('statistics'))).toEqual([])
  })

  test('narrow value channels and FFNs of no whole blocks are rounded in the places that they get', async () => {
    const output = join(await workplace(), 'out')
    const method = 'plain:scope=ffn+rotate:layout=compact:multiple=1:repair=aligned'
    await pruned(DENSE, { output, method, to: [{ to: 'gguf', dtype: 'Q4_1' }], keepStatistics: true })
    const errors = await openModel(output) // what was written reads back: the export has compared it
    expect(errors.architecture.compact).toBe(true)
    await errors.close()
  })

  test.each(someOf(['Q4_1', 'Q4_K_M'], dtype => dtype === 'Q4_1'))(
    'in %s what did not change and has no wider type in the source comes back bit for bit',
    async dtype => {
      const folder = await workplace()
      const [source, output] = ['source.gguf', 'smaller.gguf'].map(name => join(folder, name))
      await exportModel(DENSE, { output: source, to: [{ to: 'gguf', dtype: 'Q4_1' }], engine })
      await pruned(source, { output, method: 'plain', dtype })
      await using before = await openCheckpoint(source)
      await using after = await openCheckpoint(output)
      const kept = [...before.tensors.tensors.keys()].filter(name => /attn|norm|embed/.test(name))
      for (const name of kept) expect(await after.tensors.float32(name)).toEqual(await before.tensors.float32(name))
      const types = ['gate_proj', 'down_proj'].map(
        name => after.tensors.tensors.get(`${linear(0, `mlp.${name}`)}.weight`)!.dtype,
      )
      expect(types).toEqual(['Q4_1', 'Q5_1'])
    },
  )
})
