// The compact layout across files: what is written beside the weights, what is refused on reading, and that it computes what its padded
// twin computes, whatever the widths. test/python compares both with transformers.
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { randomNumbers } from '../src/base/random.ts'
import { floatSource } from '../src/checkpoint/float-source.ts'
import { elements } from '../src/formats/tensors.ts'
import { halfBlocks, layersOf, tensorShapes } from '../src/model/architecture.ts'
import { compactConfig } from '../src/model/compact.ts'
import { columnsOfRows } from '../src/model/coupling.ts'
import type { LayerWidths } from '../src/model/half-block.ts'
import { architectureOf } from '../src/model/model.ts'
import { describeModel, logits, type Model, openEngine } from '../src/node.ts'
import { put, QUICK, refused, run, workplaces } from './fasp.ts'
import { NIGHTLY } from './nightly.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

describe('a folder', () => {
  let made: string
  beforeAll(async () => {
    made = await workplace()
    const cut = ['-s', '0.3', '--method', 'plain:scope=ffn+ragged:layout=compact']
    await run(made, 'prune', tinyOf2Layers(), ...cut, '-o', 'model', ...QUICK)
  })
  const copy = async () => {
    const folder = await workplace()
    cpSync(join(made, 'model'), join(folder, 'model'), { recursive: true })
    return folder
  }

  test('has the code that config.json names, and says how to use it', () => {
    const config = json(join(made, 'model/config.json'))
    expect(config).toMatchObject({ model_type: 'fasp_llama', architectures: ['FaspLlamaForCausalLM'] })
    expect(Object.keys(config.auto_map)).toEqual(['AutoConfig', 'AutoModel', 'AutoModelForCausalLM'])
    for (const named of Object.values<string>(config.auto_map)) {
      const [file, name] = named.split('.')
      expect(readFileSync(join(made, 'model', `${file}.py`), 'utf8')).toContain(`class ${name}(`)
    }
    const card = readFileSync(join(made, 'model/README.md'), 'utf8')
    expect(card).toContain('AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)')
    expect(card).toContain('AutoTokenizer.from_pretrained(folder, trust_remote_code=False)')
  })

  test('without the code is read all the same, with a hint', async () => {
    const folder = await copy()
    expect((await run(folder, 'inspect', 'model')).stdout).not.toContain('.py')
    const text = (await run(folder, 'generate', 'model', '-p', 'It was')).stdout
    rmSync(join(folder, 'model/modeling_fasp.py'))
    const { stdout } = await run(folder, 'inspect', 'model')
    expect(stdout).toContain('transformers cannot load this folder without modeling_fasp.py. Copy it from another')
    expect((await run(folder, 'generate', 'model', '-p', 'It was')).stdout).toBe(text)
  })

  type Change = (file: { layers: { ffn: { kept: number[] }; attention: { kept: number[] } }[] }) => unknown
  const recipes: Record<string, [Change, string]> = {
    'a neuron more': [
      f => {
        const { kept } = f.layers[1].ffn
        kept.push(kept.findIndex((neuron, i) => neuron !== i)) // the first that went
        kept.sort((a, b) => a - b)
      },
      '"layers[1].ffn.kept" has 257 indices; the weights have 256',
    ],
    'a value row less': [f => f.layers[0].attention.kept.pop(), '"layers[0].attention.kept" has'],
    'value rows of another head': [
      f => {
        const { kept } = f.layers[1].attention
        kept.splice(0, kept.length, ...kept.map((_, i) => i))
      },
      '"layers[1].attention.kept" has 32, ',
    ],
    'a neuron that never was': [f => f.layers[1].ffn.kept.splice(-1, 1, 384), 'ascending integers from 0 to 383'],
    'a neuron twice': [f => f.layers[1].ffn.kept.splice(1, 1, f.layers[1].ffn.kept[0]), '"layers[1].ffn.kept" must be'],
    'no list': [f => Object.assign(f.layers[1].ffn, { kept: 256 }), '"layers[1].ffn.kept" must be ascending integers'],
    'a layer less': [f => f.layers.pop(), '"layers" must be a list of 2'],
  }
  test.for(Object.entries(recipes))('whose fasp.json has %s is refused', async ([, [change, says]]) => {
    const folder = await copy()
    const recipe = json(join(folder, 'model/fasp.json'))
    change(recipe)
    await put(folder, { 'model/fasp.json': JSON.stringify(recipe) })
    await refused(folder, ['inspect', 'model'], {
      says: ['model/fasp.json: ', says, 'remove it, or fetch the folder again'],
    })
  })

  const widths: Record<string, [(layers: LayerWidths[]) => unknown, string[]]> = {
    'absurd FFN widths': [
      l => (l[1] = { ...l[1], ffn: 2 ** 50 }),
      ['"layer_widths[1].ffn" is 1125899906842624', 'to 384'],
    ],
    'no neurons': [l => (l[1] = { ...l[1], ffn: 0 }), ['"layer_widths[1].ffn" is 0; it must be an integer from 1']],
    'absurd value widths': [
      l => (l[1] = { ...l[1], values: [33, 2] }),
      ['"layer_widths[1].values" is [33,2]', '0 to 32'],
    ],
    'half a channel': [l => (l[1] = { ...l[1], values: [8.5, 2] }), ['2 integers from 0 to 32']],
    'no value channels': [l => (l[1] = { ...l[1], values: [0, 0] }), ['above 0 in at least one KV head']],
    'a million heads': [
      l => (l[1] = { ...l[1], values: new Array(1e6).fill(1) }),
      ['a list of 1000000; it must be 2 integers'],
    ],
    'other widths than the weights': [
      l => (l[1] = { ...l[1], ffn: 7 }),
      ['has shape [256,128]; config.json calls for [7,128]'],
    ],
    'widths of too few layers': [l => l.pop(), ['"layer_widths" is "1 long"; it must be a list of 2']],
    null: [l => Object.assign(l, { 0: null }), ['"layer_widths[0].ffn" is missing']],
  }
  test.for(Object.entries(widths))('whose config.json has %s is refused', async ([, [change, says]]) => {
    const folder = await copy()
    const config = json(join(folder, 'model/config.json'))
    change(config.layer_widths)
    await put(folder, { 'model/config.json': JSON.stringify(config) })
    await refused(folder, ['inspect', 'model'], { says })
  })

  test.each([
    ['yes', '"added_biases" is "yes"; it must be true or false'],
    [[true], '"added_biases" is [true]; it must be true or false'],
    [true, 'the tensor model.layers.0.self_attn.q_proj.bias [128] that config.json calls for is missing'],
  ])('whose config.json has added_biases %j, which the weights have not, is refused', async (added_biases, says) => {
    const folder = await copy()
    const config = json(join(folder, 'model/config.json'))
    await put(folder, { 'model/config.json': JSON.stringify({ ...config, added_biases }) })
    await refused(folder, ['inspect', 'model'], { says: [says] })
  })
})

const engine = openEngine({ threads: 1 })
afterAll(() => engine.close())

test('computes what the padded layout computes, for any widths of layers and heads', async () => {
  const family = fc.record({
    opt: fc.boolean(),
    kvHeads: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    headSize: fc.constantFrom(4, 8, 20),
    flags: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    seed: fc.nat(1e6),
  })
  await fc.assert(
    fc.asyncProperty(family, async options => {
      const { compact, padded } = twins(options)
      const ids = Int32Array.from({ length: 12 }, (_, i) => (7 * i * i + options.seed) % 61)
      const [got, expected] = [await logits(compact, engine, ids), await logits(padded, engine, ids)]
      const size = expected.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
      expect(size).toBeGreaterThan(0.1)
      for (const [i, v] of expected.entries()) expect(Math.abs(got[i] - v)).toBeLessThan(2e-5 * size)
    }),
    { numRuns: NIGHTLY ? 60 : 20 },
  )
})

interface Family {
  readonly opt: boolean
  readonly kvHeads: number
  readonly group: number
  readonly headSize: number
  readonly flags: readonly boolean[]
  readonly seed: number
}

/** A random model without random channels: as compact model, and with zeros in their place. */
function twins({ opt, kvHeads, group, headSize, flags: [bias, tied, other], seed }: Family): Record<string, Model> {
  const heads = opt ? kvHeads : kvHeads * group
  const sizes = { vocab_size: 61, hidden_size: heads * headSize, num_hidden_layers: 2, max_position_embeddings: 16 }
  const config = opt
    ? { ...sizes, model_type: 'opt', ffn_dim: 40, do_layer_norm_before: other, enable_bias: bias }
    : {
        ...sizes,
        model_type: 'llama',
        intermediate_size: 40,
        attention_bias: bias,
        mlp_bias: other,
        head_dim: headSize,
      }
  const stock = { ...config, num_attention_heads: heads, num_key_value_heads: kvHeads, tie_word_embeddings: tied }
  const a = architectureOf('made', stock)
  const random = randomNumbers(seed)
  const upTo = (n: number) => Math.floor(random() * (n + 1))
  const weights = new Map(
    [...tensorShapes(a)].map(([name, shape]) => {
      const values = Float32Array.from(
        { length: elements(shape) },
        () => (random() - 0.5) * (shape.length > 1 ? 1 : 0.4),
      )
      return [name, shape.length === 1 && name.includes('norm.weight') ? values.map(v => v + 1) : values] as const
    }),
  )
  const [narrow, zeroed] = [new Map(weights), new Map(weights)]
  /** Keeps rows, or columns, of one tensor. */
  const keep = (name: string, kept: Iterable<number>, axis: 0 | 1) => {
    const source = weights.get(name)
    if (!source) return // no bias
    const rows = tensorShapes(a).get(name)![0]
    const width = source.length / rows
    const wanted = new Set(kept)
    const stays = (_: number, i: number) => wanted.has(axis === 0 ? Math.floor(i / width) : i % width)
    narrow.set(name, source.filter(stays))
    zeroed.set(
      name,
      source.map((v, i) => (stays(v, i) ? v : 0)),
    )
  }
  const some = (from: number, of: number, count: number) =>
    Array.from({ length: of }, (_, i) => ({ i: from + i, order: random() }))
      .sort((x, y) => x.order - y.order)
      .slice(0, count)
      .map(({ i }) => i)
      .sort((x, y) => x - y)
  const layerWidths = Array.from({ length: layersOf(a) }, (_, layer): LayerWidths => {
    const values = Array.from({ length: kvHeads }, () => upTo(headSize))
    values[upTo(kvHeads - 1)] ||= 1
    const widths = { ffn: 1 + upTo(a.ffnWidth - 1), values }
    const rows = Int32Array.from(values.flatMap((count, head) => some(head * headSize, headSize, count)))
    for (const half of halfBlocks(a, layer)) {
      const kept = half.kind === 'ffn' ? some(0, a.ffnWidth, widths.ffn) : rows
      for (const i of half.coupled) {
        keep(`${half.inputs[i].name}.weight`, kept, 0)
        keep(`${half.inputs[i].name}.bias`, kept, 0)
      }
      keep(`${half.output.name}.weight`, half.kind === 'ffn' ? kept : columnsOfRows(half, rows), 1)
    }
    return widths
  })
  return {
    compact: inMemory({ ...stock, ...compactConfig(a, layerWidths) }, narrow),
    padded: inMemory(stock, zeroed),
  }
}

function inMemory(config: Record<string, unknown>, weights: ReadonlyMap<string, Float32Array<ArrayBuffer>>): Model {
  const shapes = tensorShapes(architectureOf('made', config))
  return describeModel({
    name: 'made',
    format: 'huggingface',
    config,
    tensors: floatSource(shapes, async name => {
      expect(weights.get(name)!.length, name).toBe(elements(shapes.get(name)!))
      return weights.get(name)!
    }),
    tokenizer: {},
    tokenizerConfig: {},
    sideFiles: [],
    weightBytes: 0,
    close: async () => {},
  })
}
