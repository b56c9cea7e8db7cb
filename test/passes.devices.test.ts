// Passes of mixtures, and of the dense model for its statistics, on a device: what goes over and comes back, by formulas in which no rows are. On
// the CPU, taken for a device, and on a GPU where there is a Vulkan driver; Mesa's in software will do (.ci/machine.sh).
import { fileURLToPath } from 'node:url'
import { beforeEach, expect, test } from 'vitest'
import type { Engine } from '../src/engine/engine.ts'
import { memoryContext } from '../src/forward/context.ts'
import { readHalf } from '../src/forward/weights.ts'
import { denseStatistics } from '../src/method/statistics/dense.ts'
import { attentionHalves } from '../src/model/architecture.ts'
import { hiddenWidth } from '../src/model/half-block.ts'
import { MemorySink, openEngine } from '../src/node.ts'
import { prune } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import { CPU, describeOn, devices, takenForDevice } from './devices.ts'
import { TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { expectNear } from './near.ts'
import { NIGHTLY } from './nightly.ts'
import { withModel } from './opened.ts'
import { asWindows, goldenOf } from './tiny.ts'

const MIXTURE = fileURLToPath(new URL('fixtures/trained/tiny-mixture', import.meta.url))
/** A driver in software shares the cores with other tests. */
const LIMIT = 240_000
/** Of a window, and of a batch. */
const [LENGTH, TOKENS] = [64, 2048]
const IDS: number[] = goldenOf('tiny-llama').calibration_windows.flat()
const batches = (count: number) =>
  asWindows(
    Array.from({ length: (count * TOKENS) / LENGTH }, (_, i) =>
      IDS.slice((i * LENGTH) % 4032, ((i * LENGTH) % 4032) + LENGTH),
    ),
  )

/** Bytes of the numbers that a run of attention takes for the windows of a batch. */
const placesOf = ({ dialect }: Engine) => (dialect.attention === 'products' ? 0 : 3 * 8 + (4 * TOKENS) / LENGTH + 4)

/** @param open makes an engine on the device, with room for so many bytes @param all false where one stands for them: drivers in software are slow */
function testAll(open: (bytes?: number) => Engine, all: boolean) {
  let engine: Engine
  beforeEach(() => {
    engine = open()
    return () => engine.close()
  })

  test('one more batch of a mixture: gates, where they go, and sums', { timeout: LIMIT }, () =>
    withModel(MIXTURE, async model => {
      const of = async (count: number) => {
        const options = { sparsity: 0.3, method: 'plain:scope=experts', heldOut: 0 }
        const prepared = prepare(model, options, { windows: batches(count) })
        const { widths, moved } = await finish(prune(prepared, { engine, sink: new MemorySink() }))
        return { left: widths.after[0].experts!, layers: moved!.layers }
      }
      const [one, two] = [await of(1), await of(2)]
      const [d, width, experts, active] = [96, 48, 8, 2]
      const { left } = one
      expect(two.left).toBe(left)
      const norms = active * TOKENS // REAP's
      const gates = TOKENS * (experts + 2 * left) // of all experts, of those that stay, and before these are repaired
      const sums = left * (width + d + 1) // Σ H, Σ z, ‖z‖²
      const distances = 3
      const fromDevice = 4 * (norms + gates + sums + distances)
      const passes = active * TOKENS * (3 + 1) // rows twice, to be read, and, in 8 bytes, to be added to; gates
      const columns = width * (experts + 3 * left) // that output layers read
      const counted = distances * (TOKENS + 1) // which rows count, α
      const toDevice = 4 * (4 * passes + columns + 2 * d * left + counted + 2) + placesOf(engine) // b, Σ z; two sums
      for (const layer of [1, 2]) {
        const [before, after] = [one, two].map(({ layers }) => layers[layer])
        expect(after.fromDevice - before.fromDevice).toBe(fromDevice)
        expect(after.toDevice - before.toDevice).toBe(toDevice)
      }
    }),
  )

  if (all)
    test('a mixture with room for less than its rows is pruned as on the CPU', { timeout: LIMIT }, () =>
      withModel(MIXTURE, async model => {
        await using little = open(3e5)
        await using cpu = openEngine({ blas: false })
        const options = { sparsity: 0.3, method: 'stock:scope=experts', heldOut: 0 }
        const on = async (engine: Engine) =>
          finish(prune(prepare(model, options, { windows: batches(2) }), { engine, sink: new MemorySink() }))
        const [found, expected] = [await on(little), await on(cpu)]
        for (const [layer, { ffn }] of expected.layers.entries()) {
          expect(found.layers[layer].ffn!.kept).toEqual(ffn!.kept)
          expectNear(found.layers[layer].ffn!.errorAfter, ffn!.errorAfter, 2e-3)
        }
        expect(found.moved!.layers[1].fromDevice).toBeGreaterThan(4 * 2 * TOKENS * model.architecture.hiddenSize)
      }),
    )

  if (all)
    test('statistics of the dense model: rows and weights there, moments and cosines back', { timeout: LIMIT }, () =>
      withModel(TINY_LLAMA, async model => {
        const { halves, hiddenSize: d } = model.architecture
        const of = async (count: number) => {
          const before = { ...engine.moved! }
          await finish(denseStatistics(memoryContext(engine), model, batches(count)))
          const { toDevice, fromDevice } = engine.moved!
          return { toDevice: toDevice - before.toDevice, fromDevice: fromDevice - before.fromDevice }
        }
        const attention = attentionHalves(model.architecture)
        let constants = LENGTH * attention[0].headSize // tables of positions
        for (const half of halves) {
          const { inputs, output, norms } = await readHalf(model, half)
          const ofNorms = Object.values(norms).flatMap(feeds => Object.values(feeds))
          for (const { weight } of [...inputs, output]) constants += weight.length
          for (const { data } of ofNorms) constants += data.length
        }
        const widths = halves.reduce((sum, half) => sum + hiddenWidth(half), 0)
        const places = attention.length * placesOf(engine)
        for (const count of [1, 2])
          expect(await of(count)).toEqual({
            toDevice: 4 * constants + count * (4 * TOKENS * d + 4 * widths + places), // columns that output layers read
            fromDevice: count * 4 * (2 * widths + attention.length * TOKENS),
          })
      }),
    )
}

if (process.platform === 'linux') describeOn(CPU, 'taken for a device', () => testAll(takenForDevice, true))
const [, webgpu] = await devices()
describeOn(webgpu, 'passes', () =>
  testAll(bytes => openEngine({ device: 'webgpu', deviceMemory: bytes && bytes / 2 ** 30 }), NIGHTLY),
)
