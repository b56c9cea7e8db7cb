// Gradients of every graph that models of all families run, half-blocks and heads, in float64 by differences in float64; and of losses.
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { type Engine, type Values, values } from '../src/engine/engine.ts'
import type { Graph } from '../src/formats/onnx.ts'
import { Head } from '../src/forward/head.ts'
import { HalfBlockRunner } from '../src/forward/runner.ts'
import { type HalfWeights, readHalves } from '../src/forward/weights.ts'
import { differentiate } from '../src/heal/differentiate.ts'
import { crossEntropy, divergenceFrom, type RowLoss, topDivergenceFrom, topProbabilities } from '../src/heal/loss.ts'
import { type Array64, evaluate } from './float64.ts'
import { madeModel } from './model-shapes.ts'
import { engineAndFolder } from './opened.ts'
import { random } from './random.ts'

const { engine } = engineAndFolder()

/** Half of a difference. */
const STEP = 1e-5
/** Of the sum of what its parts are: constants of our graphs are rounded to float32. */
const NEAR = 1e-6
/** Of the largest value: the engine adds in float32. */
const FLOAT32 = 1e-4

/** A graph that was run, and what it took and gave. */
interface Ran {
  readonly build: () => Graph
  readonly feeds: Readonly<Record<string, Array64>>
  readonly outputs: Readonly<Record<string, Values>>
  /** Inputs that are floats and no tables. */
  readonly names: readonly string[]
}

/** An engine that keeps each graph that it runs. */
function recording(ran: Map<string, Ran>): Engine {
  const made: Engine = {
    ...engine,
    dialect: { ...engine.dialect, attention: 'products' },
    inPrecision: () => made,
    run: async (key, build, given, outputs) => {
      const all = Object.entries(given).filter((feed): feed is [string, Values] => feed[1] !== undefined)
      const feeds = all.map(([name, { data, shape }]) => [
        name,
        { shape, data: Float64Array.from(data as Iterable<number>, Number) },
      ])
      const names = all.flatMap(([name, { data }]) => (data instanceof Float32Array ? [name] : []))
      const weights = names.filter(name => !['cos', 'sin'].includes(name))
      await engine.run(key, build, given, outputs)
      const ours = Object.entries(outputs as Record<string, Values>)
      const kept = ours.map(([name, { data, shape }]) => [name, { data: data.slice(), shape }])
      ran.set(key, { build, feeds: Object.fromEntries(feeds), outputs: Object.fromEntries(kept), names: weights })
    },
  }
  return made
}

const sum = (of: Float64Array, times: ArrayLike<number>) => of.reduce((all, v, i) => all + v * times[i], 0)

/** Of each input by itself: ⟨∂L/∂x, u⟩ of L = Σ w ∘ f(x) is (L(x + hu) − L(x − hu)) / 2h for any direction u. */
function expectDifferences(
  { build, feeds, names }: Ran,
  output: string,
  w: ArrayLike<number>,
  gradients: ReadonlyMap<string, Float64Array>,
) {
  const found = names.flatMap((name, seed) => {
    const gradient = gradients.get(name)
    if (!gradient) return []
    const { shape, data } = feeds[name]
    const u = random(data.length, seed + 7)
    const loss = (h: number) => {
      const moved = { shape, data: data.map((v, i) => v + h * u[i]) }
      return sum(evaluate(build(), { ...feeds, [name]: moved }).get(output)!.data, w)
    }
    const size = gradient.reduce((all, g, i) => all + Math.abs(g * u[i]), 0)
    return [{ name, along: sum(gradient, u), difference: (loss(STEP) - loss(-STEP)) / (2 * STEP), size }]
  })
  const largest = Math.max(...found.map(({ size }) => size))
  expect(largest).toBeGreaterThan(0)
  for (const { name, along, difference, size } of found)
    expect(Math.abs(along - difference), `${name}: ${along}, ${difference}`).toBeLessThan(
      NEAR * (size + 1e-3 * largest),
    )
}

/** The engine's output in float32, and all gradients. */
function expectRight(of: Ran) {
  const { build, feeds, outputs, names } = of
  const [[output, ours]] = Object.entries(outputs)
  const { data } = evaluate(build(), feeds).get(output)!
  const largest = data.reduce((most, v) => Math.max(most, Math.abs(v)), 0)
  for (const [i, v] of data.entries()) expect(Math.abs(v - Number(ours.data[i]))).toBeLessThan(FLOAT32 * largest)
  const g = build()
  const sizes = ours.shape.map((_, axis) => `dy${axis}`)
  const gradients = differentiate(g, output, g.input('dy', 'float32', sizes), names)
  const w = Float64Array.from(random(data.length, 3))
  const values = evaluate(g, { ...feeds, dy: { shape: ours.shape, data: w } })
  const found = [...gradients].map(([name, value]): [string, Float64Array] => [name, values.get(value)!.data])
  expect(found.map(([name]) => name).sort()).toEqual([...names].sort())
  expectDifferences(of, output, w, new Map(found))
}

const folder = fileURLToPath(new URL('fixtures/families', import.meta.url))
const FAMILIES = readdirSync(folder).filter(name => !name.endsWith('-stacked'))
/** Whose queries are of two blocks, of which the second has lost sight of the first keys. */
const LONG: Readonly<Record<string, object>> = { mistral: { sliding_window: 9 } }

test.each(FAMILIES)('graphs of %s', async name => {
  const config = JSON.parse(readFileSync(`${folder}/${name}/config.json`, 'utf8'))
  const model = madeModel({ ...config, ...LONG[name] }, 5)
  const [windows, length] = LONG[name] ? [1, 140] : [2, 7]
  const { hiddenSize: d, vocabularySize: v, halves } = model.architecture
  const ran = new Map<string, Ran>()
  const on = recording(ran)
  const runner = new HalfBlockRunner(on, length)
  const rows = () => random(windows * length * d, ran.size)
  const through = async (weights: HalfWeights) => {
    if (!weights.experts) return runner.forward(weights, rows(), windows, rows())
    await runner.routes(weights, values(rows(), [windows * length, d]))
    await runner.forward(await weights.experts.read(0), rows(), windows)
  }
  for await (const weights of readHalves(model, halves)) await through(weights)
  await (await Head.open(model, on)).logits(rows().subarray(0, 3 * d), new Float32Array(3 * v))
  expect(ran.size).toBeGreaterThan(2)
  for (const of of ran.values()) expectRight(of)
})

const [n, v] = [3, 11]
const logitsOf = (seed: number) => random(n * v, seed).map(x => 3 * x)

test.each<[string, string, (on: Engine) => Promise<RowLoss>]>([
  ['kl', 'others', async on => divergenceFrom(on, async () => logitsOf(1), v)],
  ['nll', 'logits', async on => crossEntropy(on, Int32Array.of(4, -1, 0), v)],
  [
    'kl',
    'logits',
    async on => {
      const top = await topProbabilities(engine, logitsOf(1), v, 4)
      return topDivergenceFrom(on, async () => top, v)
    },
  ],
])('the gradient of %s by %s', async (output, name, loss) => {
  const ran = new Map<string, Ran>()
  await (await loss(recording(ran)))(0, logitsOf(2), 0.25, new Float32Array(n * v))
  const [of] = ran.values()
  const d = evaluate(of.build(), of.feeds).get('d')!.data
  for (const [i, v] of d.entries()) expect(Number(of.outputs.d.data[i])).toBeCloseTo(v, 6)
  expectDifferences(of, output, of.feeds.weights.data, new Map([[name, d]]))
})
