// Trained models of other families against a second statement of the method in PyTorch (test/fixtures/trained/make.py), and what holds on text
// that they know something of.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { plainHalves } from '../src/model/half-block.ts'
import { prune } from '../src/node.ts'
import { perplexity } from './evaluation.ts'
import { finish } from './finish.ts'
import { expectNear } from './near.ts'
import { someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { asWindows, goldenOf } from './tiny.ts'

interface OracleHalf {
  /** Value rows, neurons or experts. */
  readonly kept: readonly number[]
  readonly errors: readonly [before: number, after: number]
  /** Of each output layer every `step`-th element. */
  readonly weights: readonly (readonly number[])[]
}

interface OracleModel {
  /** The perplexity of the model as it is. */
  readonly dense: number
  readonly pruned: readonly {
    readonly method: string
    readonly sparsity: number
    readonly perplexity: number
    readonly layers: readonly { readonly attention?: OracleHalf; readonly ffn: OracleHalf }[]
  }[]
}

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/trained/${name}`, import.meta.url))
const oracle: { step: number; cases: Record<string, OracleModel> } = JSON.parse(
  readFileSync(fixture('oracle.json'), 'utf8'),
)
const { calibration_windows, evaluation_windows } = goldenOf('tiny-llama') // their tokenizer
/** As parts of the numbers, and of 1 for elements of weights: both add in other orders, and ours in float32. */
const NEAR = 1e-4

const { engine, folder } = engineAndFolder()

const perplexityOf = (path: string) =>
  withModel(path, async model => {
    return (await finish(perplexity(model, engine, asWindows(evaluation_windows), 'evaluate'))).perplexity
  })

async function run(name: string, method: string, sparsity: number) {
  const output = join(folder, `${name} ${method} ${sparsity}`)
  const calibration = asWindows(calibration_windows)
  const { layers } = await prune(fixture(name), { method, sparsity, calibration, dtype: 'F32', output, engine })
  return { output, layers, perplexity: await perplexityOf(output) }
}
const runs: Record<string, ReturnType<typeof run>> = {}
/** Each once: two tests ask for some. */
const pruned = (...of: Parameters<typeof run>) => (runs[of.join(' ')] ??= run(...of))

describe.each(Object.entries(oracle.cases))('%s agrees with the oracle', (name, { dense, pruned: cases }) => {
  test('dense', async () => expectNear(await perplexityOf(fixture(name)), dense, NEAR))

  const stands = ({ method, sparsity }: (typeof cases)[number]) =>
    sparsity === (name === 'tiny-mixture' ? 0.375 : 0.3) && method !== 'plain:scope=experts'
  test.each(someOf(cases, stands))('$method $sparsity', async ({ method, sparsity, perplexity, layers }) => {
    const ours = await pruned(name, method, sparsity)
    expectNear(ours.perplexity, perplexity, NEAR)
    await withModel(ours.output, async ({ architecture, checkpoint: { tensors } }) => {
      for (const half of architecture.halves) {
        const expected = layers[half.layer][half.kind]
        if (!expected) continue
        const found = ours.layers[half.layer][half.kind]!
        expect(found.kept).toEqual(expected.kept)
        expectNear(found.errorBefore, expected.errors[0], NEAR)
        expectNear(found.errorAfter, expected.errors[1], NEAR)
        const outputs = plainHalves(half)
        expect(outputs.length).toBe(expected.weights.length)
        for (const [i, { output }] of outputs.entries()) {
          const weights = (await tensors.float32(`${output.name}.weight`)).filter((_, at) => at % oracle.step === 0)
          expect(weights.length).toBe(expected.weights[i].length)
          for (const [j, w] of expected.weights[i].entries()) expect(Math.abs(w - weights[j])).toBeLessThan(NEAR)
        }
      }
    })
  })
})

const ORDERS: [name: string, sparsity: number, methods: string[]][] = [
  ['tiny-qwen3', 0.3, ['best', 'stock', 'plain', 'plain:repair=none', 'random:scope=ffn']],
  ['tiny-gemma3', 0.3, ['best', 'stock', 'plain', 'plain:repair=none', 'random:scope=ffn']],
  ['tiny-mixture', 0.19, ['stock:scope=experts:alpha=0.5:damp=0.01', 'plain:scope=experts', 'reap']],
  ['tiny-mixture', 0.375, ['stock:scope=experts:alpha=0.5:damp=0.01', 'plain:scope=experts', 'reap']],
]
test.each(someOf(ORDERS, ([, sparsity]) => sparsity === 0.375))(
  '%s pruned by %d loses more on held-out text by each of %j than by the one before',
  async (name, sparsity, methods) => {
    const found = [oracle.cases[name].dense]
    for (const method of someOf(methods, method => method !== 'plain:scope=experts'))
      found.push((await pruned(name, method, sparsity)).perplexity)
    expect(found).toEqual(found.toSorted((a, b) => a - b))
  },
)
