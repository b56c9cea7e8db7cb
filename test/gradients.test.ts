// Gradients of whole models: those of PyTorch's autograd (test/fixtures/gradients/make.py) for every family, by differences for shapes that the
// families there do not have, and the same where the memory is little.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { randomNumbers } from '../src/base/random.ts'
import { values } from '../src/engine/engine.ts'
import { openFile } from '../src/formats/file.node.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import type { Floats } from '../src/formats/tensors.ts'
import { type Context, memoryContext } from '../src/forward/context.ts'
import { Head } from '../src/forward/head.ts'
import { type HalfWeights, type LinearWeights, readHalves } from '../src/forward/weights.ts'
import { type GradientSums, type HalfGradients, summed } from '../src/heal/backward.ts'
import { gradients } from '../src/heal/gradients.ts'
import { crossEntropy, divergenceFrom, type RowLoss, throughHead } from '../src/heal/loss.ts'
import { type HalfBlock, type NormRole, plainHalves, storedInputs, storedRows } from '../src/model/half-block.ts'
import type { Model } from '../src/model/model.ts'
import { ActivationPool, asBytes } from '../src/output/activations.ts'
import { familyFolder, VOCABULARY } from './families.ts'
import { type ModelConfig, madeModel, modelConfigs } from './model-shapes.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { random } from './random.ts'
import { memoryScratch } from './scratch.ts'
import { goldenLogitsOf, goldenOf, TINY_MODELS, TINY_NAMES, type TinyModel } from './tiny.ts'

const { engine, folder } = engineAndFolder()

const fixture = (path: string) => fileURLToPath(new URL(`fixtures/${path}`, import.meta.url))

interface Expected {
  readonly loss: number
  /** Norm, largest element, and some elements of each tensor. */
  readonly gradients: Readonly<Record<string, readonly number[]>>
}

const oracle: { stride: number; length: number; models: Record<string, Record<string, Expected>> } = JSON.parse(
  readFileSync(fixture('gradients/oracle.json'), 'utf8'),
)

/** Of the largest element of a tensor's gradient: float32 against float64. */
const TOLERANCE = 1e-4
/** Of the largest norm in a model: where gradients cancel out, as of the bias of keys that are not turned, this is left. */
const ROUNDING = 1e-6

const square = (x: Floats) => x.reduce((sum, v) => sum + v * v, 0)

/** Gradients as tensors are stored, by their names from `layers.` on. */
function stored(half: HalfBlock, { inputs, output, norms, experts }: HalfGradients): Map<string, Floats> {
  const found = new Map<string, Floats>()
  const put = (name: string, part: string, data: Floats) =>
    found.set(`${name.slice(name.indexOf('layers.'))}.${part}`, data)
  if (half.kind === 'ffn' && half.experts) {
    put(half.experts.router.name, 'weight', experts!.router)
    return new Map([...found, ...plainHalves(half).flatMap((one, e) => [...stored(one, experts!.of[e])])])
  }
  for (const [name, slices] of [...storedInputs(half), [half.output.name, undefined] as const]) {
    const layers = slices?.map(i => inputs[i]) ?? [output]
    for (const part of ['weight', 'bias'] as const) {
      if (!layers[0][part]) continue
      const all = Float32Array.from(layers.flatMap(layer => [...layer[part]!]))
      const order = slices && storedRows(half)
      const width = part === 'bias' ? 1 : half.inputs[0].in
      const rows = all.slice()
      for (const [i, row] of order?.entries() ?? []) rows.set(all.subarray(i * width, (i + 1) * width), row * width)
      put(name, part, rows)
    }
  }
  for (const [role, norm] of Object.entries(half.norms))
    if (norm.affine)
      for (const [name, { data }] of Object.entries(norms[role as NormRole]!))
        put(norm.name, name.slice(name.indexOf('.') + 1), data)
  return found
}

/** All gradients of a model, by name. */
async function allGradients(
  model: Model,
  windows: readonly Int32Array[],
  loss: RowLoss,
  context = memoryContext(engine),
) {
  const head = await Head.open(model, engine)
  const found = new Map<string, Floats>()
  const visit = async (weights: HalfWeights, sums: GradientSums) => {
    for (const [name, data] of stored(weights.half, await summed(sums))) found.set(name, data)
  }
  const mean = await gradients(context, model, windows, throughHead(head, loss), visit, { norms: true })
  return { mean, found }
}

function expectSame({ mean, found }: Found, expected: Expected) {
  expect(Math.abs(mean - expected.loss)).toBeLessThan(TOLERANCE * expected.loss)
  expect([...found.keys()].sort()).toEqual(Object.keys(expected.gradients).sort())
  const all = Object.entries(expected.gradients)
  const rounding = ROUNDING * Math.max(...all.map(([, [norm]]) => norm))
  for (const [name, [norm, largest, ...some]] of all) {
    const ours = found.get(name)!
    expect(Math.abs(Math.sqrt(square(ours)) - norm), name).toBeLessThanOrEqual(TOLERANCE * norm + rounding)
    for (const [i, v] of some.entries())
      expect(Math.abs(ours[(oracle.stride * i) % ours.length] - v), name).toBeLessThanOrEqual(
        TOLERANCE * largest + rounding,
      )
  }
}

type Found = Awaited<ReturnType<typeof allGradients>>

/** To the bit. */
function expectEqual(ours: Found, theirs: Found) {
  expect(ours.mean).toBe(theirs.mean)
  for (const [name, data] of theirs.found)
    expect(Buffer.compare(asBytes(ours.found.get(name)!), asBytes(data)), name).toBe(0)
}

/** Rows of logits that are there. */
const rowsOf = (logits: Floats, vocabulary: number) => async (first: number, n: number) =>
  logits.subarray(first * vocabulary, (first + n) * vocabulary)

const isTiny = (name: string): name is TinyModel => name in TINY_MODELS
const families = Object.keys(oracle.models).filter(name => !isTiny(name))

test.each(families)('%s: gradients are those of autograd', async name => {
  const [ids, logits] = await familyFolder(name, join(folder, name))
  const before = new Float32Array(logits.length)
  before.set(logits.subarray(0, -VOCABULARY), VOCABULARY)
  before.set(logits.subarray(-VOCABULARY), 0)
  await withModel(join(folder, name), async model => {
    const loss = divergenceFrom(engine, rowsOf(before, VOCABULARY), VOCABULARY)
    expectSame(await allGradients(model, [ids], loss), oracle.models[name].kl)
  })
})

describe.each(TINY_NAMES)('%s', name => {
  const { prompt, calibration_windows } = goldenOf(name)
  const expected = oracle.models[name]
  const onModel = (loss: (vocabulary: number) => RowLoss, windows: readonly Int32Array[], context?: Context) =>
    withModel(TINY_MODELS[name], model =>
      allGradients(model, windows, loss(model.architecture.vocabularySize), context),
    )

  test('gradients of the KL to another model are those of autograd', async () => {
    const golden = await openSafetensors(await openFile(goldenLogitsOf(name)))
    const logits = await golden.float32('paper-0.3')
    await golden.close()
    const found = await onModel(v => divergenceFrom(engine, rowsOf(logits, v), v), [Int32Array.from(prompt)])
    expectSame(found, expected.kl)
  })

  const windows: Int32Array[] = calibration_windows
    .slice(0, 2)
    .map((ids: number[]) => Int32Array.from(ids.slice(0, oracle.length)))
  const next = Int32Array.from(windows.flatMap(ids => [...ids.subarray(1), -1]))

  test('gradients of the cross entropy are those of autograd, and the same bytes again', async () => {
    const found = await onModel(v => crossEntropy(engine, next, v), windows)
    expectSame(found, expected.nll)
    expectEqual(await onModel(v => crossEntropy(engine, next, v), windows), found)
  })
})

test.each(someOf([true, false], beside => beside))(
  'in scratch files and in several batches they are the same to the bit: FFNs beside attention %s',
  async beside => {
    const sizes = { vocab_size: 40, hidden_size: 24, intermediate_size: 20, num_hidden_layers: 2 }
    const others = {
      num_attention_heads: 4,
      rotary_pct: 1 / 3,
      max_position_embeddings: 256,
      use_parallel_residual: beside,
    }
    const model = madeModel({ model_type: 'gpt_neox', ...sizes, ...others }, 5)
    const windows = [...Array(9).keys()].map(w => Int32Array.from({ length: 256 }, (_, i) => (3 * i * i + 7 * w) % 40))
    const targets = Int32Array.from(windows.flatMap(ids => [...ids.subarray(1), -1]))
    const loss = crossEntropy(engine, targets, 40)
    const inMemory = await allGradients(model, windows, loss)
    let files = 0
    const openScratch = async () => {
      files++
      return memoryScratch(4 * 9 * 256 * 24, () => void files--)
    }
    const found = await allGradients(model, windows, loss, { engine, pool: new ActivationPool(0, openScratch) })
    expectEqual(found, inMemory)
    expect(files).toBe(0)
    // All windows count alike, in whatever batch they are.
    const of = (from: number, to: number) =>
      allGradients(model, windows.slice(from, to), crossEntropy(engine, targets.subarray(from * 256), 40))
    const [first, last] = [await of(0, 8), await of(8, 9)]
    expect((8 * first.mean + last.mean) / 9).toBeCloseTo(inMemory.mean, 5)
    for (const [name, data] of inMemory.found)
      for (const [i, g] of data.entries())
        expect(Math.abs((8 * first.found.get(name)![i] + last.found.get(name)![i]) / 9 - g)).toBeLessThan(1e-5)
  },
)

/** How much the loss is to change in a test by differences, and how near they are to the gradient. */
const [CHANGE, NEAR] = [0.001, 0.01]

/** What is made of weights, and of the same part of others. */
type Each = (of: Floats, other: Floats) => Floats

/** Weights, or gradients, of a half-block that is no mixture. */
type Plain = Pick<HalfGradients, 'norms' | 'inputs' | 'output'>

/** Part by part. */
function mapped<T extends Plain>(weights: T, other: Plain, each: Each): T {
  const layer = (of: LinearWeights, other: LinearWeights): LinearWeights => ({
    weight: each(of.weight, other.weight),
    bias: of.bias && each(of.bias, other.bias!),
  })
  const norms = Object.entries(weights.norms).map(([role, feeds]) => [
    role,
    Object.fromEntries(
      Object.entries(feeds).map(([name, { data, shape }]) => [
        name,
        values(each(data, other.norms[role as NormRole]![name].data), shape),
      ]),
    ),
  ])
  const inputs = weights.inputs.map((of, i) => layer(of, other.inputs[i]))
  return { ...weights, norms: Object.fromEntries(norms), inputs, output: layer(weights.output, other.output) }
}

test('gradients are differences of the loss, for models of any shape', async () => {
  const check = async (config: ModelConfig, seed: number) => {
    const smooth = { ...config, ...(config.activation_function === 'relu' && { activation_function: 'gelu' }) }
    const model = madeModel(smooth, seed)
    // What is normalised has some directions: of one the norm gives a sign, of two or three almost.
    const { halves } = model.architecture
    fc.pre(halves.every(({ norms, output }) => !(norms.after ?? norms.afterSum) || output.in > 6))
    const numbers = randomNumbers(seed)
    const v = model.architecture.vocabularySize
    const windows = [0, 1].map(() => Int32Array.from({ length: 20 }, () => Math.floor(v * numbers())))
    const targets = Int32Array.from({ length: 40 }, () => Math.floor(v * numbers()))
    const loss = throughHead(await Head.open(model, engine), crossEntropy(engine, targets, v))
    const directions = new Map<string, HalfGradients>()
    const named = ({ half }: HalfWeights) => `${half.kind} ${half.layer}`
    let [along, size] = [0, 0]
    const through = async function* (halves: readonly HalfBlock[], step: number) {
      for await (const weights of readHalves(model, halves))
        yield mapped(weights, directions.get(named(weights))!, (of, u) => of.map((w, i) => w + step * u[i]))
    }
    const context = memoryContext(engine)
    const visit = async (weights: HalfWeights, sums: GradientSums) => {
      const of = await summed(sums)
      let seed = directions.size
      const u = mapped(of, of, d => {
        const other = random(d.length, seed++)
        const [norm, unit] = [Math.sqrt(square(d)) || 1, 1 / Math.sqrt(square(other))]
        size += square(d) / norm
        return d.map((g, i) => {
          const step = g / norm + other[i] * unit
          along += g * step
          return step
        })
      })
      directions.set(named(weights), u)
    }
    await gradients(context, model, windows, loss, visit, { norms: true })
    const step = CHANGE / size
    const at = (step: number) =>
      gradients(context, model, windows, loss, async () => {}, { weights: halves => through(halves, step) })
    const difference = ((await at(step)) - (await at(-step))) / (2 * step)
    expect(Math.abs(difference - along), `${difference} for ${along}`).toBeLessThan(NEAR * size)
  }
  await fc.assert(fc.asyncProperty(modelConfigs, fc.nat(1000), check), { numRuns: NIGHTLY ? 25 : 5, seed: 1 })
})
