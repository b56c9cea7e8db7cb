// Healing, evaluation and generation on a device: what goes over to it and comes back, by formulas, and that they find what the CPU finds. On the
// CPU, taken for a device, and on a GPU where there is a Vulkan driver; Mesa's in software will do (.ci/machine.sh).
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeEach, expect, test } from 'vitest'
import { finish } from '../src/base/events.ts'
import type { Engine, Moved } from '../src/engine/engine.ts'
import { memoryContext } from '../src/forward/context.ts'
import { Decoder } from '../src/forward/decoder.ts'
import { Head } from '../src/forward/head.ts'
import { type HalfWeights, readHalf } from '../src/forward/weights.ts'
import type { GradientSums } from '../src/heal/backward.ts'
import { gradients } from '../src/heal/gradients.ts'
import { throughHead, topDivergenceFrom } from '../src/heal/loss.ts'
import { TrainedWeights, trainedSize } from '../src/heal/parameters.ts'
import { attentionHalves } from '../src/model/architecture.ts'
import type { HalfBlock } from '../src/model/half-block.ts'
import { heal, openEngine, prune } from '../src/node.ts'
import type { Windows } from '../src/text/windows.ts'
import { CPU, describeOn, devices, takenForDevice } from './devices.ts'
import { perplexity } from './evaluation.ts'
import { TINY_LLAMA, workplaces } from './fasp.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { withModel } from './opened.ts'
import { asWindows, goldenOf, TINY_OPT } from './tiny.ts'

const workplace = workplaces()
const MIXTURE = fileURLToPath(new URL('fixtures/trained/tiny-mixture', import.meta.url))
/** A driver in software shares the cores with other tests. */
const LIMIT = 240_000
const [COUNT, LENGTH] = [4, 64]
const ALL: number[][] = goldenOf('tiny-llama').calibration_windows
const cut = (n: number, rows = ALL) => asWindows(rows.slice(0, n).map(row => row.slice(0, LENGTH)))
const TEXT: Windows = cut(COUNT)
const TOKENS = COUNT * LENGTH
/** Tokens of which probabilities are wanted. */
const TOP = 5
/** Of updates. */
const RANK = 4

/** Numbers of the linear layers of a half-block. */
const sizeOf = ({ inputs, output }: Pick<HalfWeights, 'inputs' | 'output'>): number =>
  [...inputs, output].reduce((sum, { weight, bias }) => sum + weight.length + (bias?.length ?? 0), 0)

/** Bytes of what graphs of all half-blocks take as constants, and of numbers beside them in each run of attention. */
async function taken(model: Parameters<Parameters<typeof withModel>[1]>[0], engine: Engine, windows: number) {
  const { halves } = model.architecture
  const attention = attentionHalves(model.architecture)
  const numbers = LENGTH * attention[0].headSize // tables of positions
  let [linears, norms] = [0, 0]
  for (const half of halves) {
    const weights = await readHalf(model, half)
    linears += sizeOf(weights)
    for (const feeds of Object.values(weights.norms)) for (const { data } of Object.values(feeds)) norms += data.length
  }
  const places = engine.dialect.attention === 'products' ? 0 : attention.length * (3 * 8 + 4 * windows + 4)
  return { constants: 4 * (numbers + linears + norms), linears, norms, places }
}

/** @param open makes an engine on the device @param all false where each kind has one that stands for it: drivers in software are slow */
function testAll(open: () => Engine, all: boolean) {
  let engine: Engine
  beforeEach(() => {
    engine = open()
    return () => engine.close()
  })

  test.each(all ? [undefined, RANK] : [RANK])(
    'gradients, of updates of rank %s: rows there, weights twice, gradients back, and those by the last rows',
    {
      timeout: LIMIT,
    },
    async rank => {
      await withModel(TINY_LLAMA, async model => {
        const { halves, hiddenSize: d, vocabularySize: v } = model.architecture
        const wanted = async (_: number, n: number) => ({
          ids: Int32Array.from({ length: n * TOP }, (_, i) => i % TOP),
          top: new Float32Array(n * TOP).fill(-Math.log(TOP)),
          rest: new Float32Array(n),
        })
        const context = memoryContext(engine)
        const { trained, weights } = await TrainedWeights.open(
          context,
          model,
          halves,
          rank ? { rank, seed: 0 } : undefined,
        )
        const sums = await trained.room()
        const loss = throughHead(await Head.open(model, engine), topDivergenceFrom(engine, wanted, v))
        const keep = async (half: HalfWeights, of: GradientSums) => void (await trained.keep(sums, weights, half, of))
        const updated = rank ? { weights: (of: readonly HalfBlock[]) => trained.read(weights, of) } : {}
        await gradients(context, model, TEXT.windows, loss, keep, updated)
        const { constants, linears, places } = await taken(model, engine, COUNT)
        const rows = 4 * TOKENS * d
        const head = 4 * (v + 1) * d // with the norm before it
        const updates = rank ? 4 * trainedSize(halves, rank) : 0 // for either way, and for their gradients
        expect(engine.moved).toEqual({
          toDevice: 2 * rows + 2 * constants + places + head + 4 * TOKENS * (2 * TOP + 2) + 3 * updates,
          fromDevice: rows + 4 * TOKENS + (rank ? updates + 2 * 4 * linears : 4 * linears), // products, either way
        })
      })
    },
  )

  test('perplexity: weights and rows there, losses back', { timeout: LIMIT }, async () => {
    await withModel(TINY_LLAMA, async model => {
      const { perplexity: found } = await finish(perplexity(model, engine, TEXT, 'evaluate'))
      const { hiddenSize: d, vocabularySize: v } = model.architecture
      const { constants, places } = await taken(model, engine, COUNT)
      const targets = TOKENS - COUNT
      const head = 4 * (v + 1) * d // with the norm before it
      expect(engine.moved).toEqual({
        toDevice: 4 * TOKENS * d + constants + places + head + 8 * targets,
        fromDevice: 4 * targets,
      })
      await using cpu = openEngine({ blas: false })
      const { perplexity: expected } = await finish(perplexity(model, cpu, TEXT, 'evaluate'))
      expect(found / expected).toBeCloseTo(1, 4)
    })
  })

  if (all)
    test('a token that follows: its row there, logits back; weights and cache stay', { timeout: LIMIT }, async () => {
      await withModel(TINY_LLAMA, async model => {
        const { hiddenSize: d, vocabularySize: v } = model.architecture
        const decoder = await Decoder.open(model, engine, 1, LENGTH)
        await decoder.step([Int32Array.from(ALL[0].slice(0, 8))])
        const numbers = engine.dialect.attention === 'products' ? 4 : 3 * 8 + 4 + 4
        const attention = attentionHalves(model.architecture).length
        for (const token of [7, 8]) {
          const before = { ...engine.moved! }
          await decoder.step([Int32Array.of(token)])
          expect(engine.moved!.toDevice - before.toDevice).toBe(4 * d + attention * numbers)
          expect(engine.moved!.fromDevice - before.fromDevice).toBe(4 * v)
        }
      })
    })

  const courses = [
    { name: 'tiny-llama', dense: TINY_LLAMA, rows: ALL, train: 'all' },
    { name: 'tiny-llama', dense: TINY_LLAMA, rows: ALL, train: 'lora' },
    { name: 'tiny-opt', dense: TINY_OPT, rows: goldenOf('tiny-opt').calibration_windows, train: 'all' },
    { name: 'a mixture', dense: MIXTURE, rows: ALL, train: 'all' },
  ] as const
  test.each(someOf(courses, (_, i) => i === 0 && !all))(
    'healing of $name, $train, takes the course that it takes on the CPU',
    { timeout: LIMIT },
    async ({ dense, rows, train }) => {
      const folder = await workplace()
      const calibration = { ...cut(8, rows), heldOut: cut(10, rows).windows.slice(8) }
      const output = join(folder, 'pruned')
      await prune(dense, { sparsity: 0.3, method: 'magnitude', output, calibration, engine: { blas: false } })
      const lr = train === 'lora' ? 1e-3 : 3e-4
      const options = { dense, calibration, tokens: 4 * 2 * LENGTH, batch: 2, every: 2, lr, train }
      const on = (name: string, engine: Engine) => heal(output, { ...options, output: join(folder, name), engine })
      await using cpu = openEngine({ blas: false })
      const [found, expected] = [await on('device', engine), await on('cpu', cpu)]
      expect(found.curve.length).toBe(3)
      for (const [i, { kl }] of expected.curve.entries()) expect(found.curve[i].kl / kl).toBeCloseTo(1, 3)
    },
  )

  if (all)
    test('a step of healing moves what gradients do', { timeout: LIMIT }, async () => {
      const folder = await workplace()
      const calibration = { ...TEXT, heldOut: cut(5).windows.slice(4) }
      const output = join(folder, 'pruned')
      await prune(TINY_LLAMA, {
        sparsity: 0.3,
        method: 'magnitude',
        output,
        calibration: TEXT,
        engine: { blas: false },
      })
      const moved: Moved[] = []
      for (const steps of [1, 2]) {
        const before = { ...engine.moved! }
        const options = { dense: TINY_LLAMA, calibration, tokens: steps * TOKENS, batch: COUNT, every: 2, lr: 1e-3 }
        await heal(output, { ...options, output: join(folder, `${steps}`), engine })
        const { toDevice, fromDevice } = engine.moved!
        moved.push({ toDevice: toDevice - before.toDevice, fromDevice: fromDevice - before.fromDevice })
      }
      await withModel(output, async model => {
        const { hiddenSize: d, vocabularySize: v } = model.architecture
        const { constants, linears, norms, places } = await taken(model, engine, COUNT)
        const rows = 4 * TOKENS * d
        const weights = constants - 4 * norms // which do not change, and stay
        const [one, two] = moved
        expect(two.fromDevice - one.fromDevice).toBe(rows + 4 * TOKENS + 4 * linears)
        expect(two.toDevice - one.toDevice).toBe(2 * rows + 2 * weights + places + 4 * TOKENS * (2 * v + 2))
      })
    })
}

if (process.platform === 'linux') describeOn(CPU, 'taken for a device', () => testAll(takenForDevice, true))

const [, webgpu] = await devices()
if (process.platform === 'linux')
  describeOn(webgpu, 'a GPU', () => testAll(() => openEngine({ device: 'webgpu' }), NIGHTLY))
