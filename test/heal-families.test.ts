// Healing of every family (random models of test/python/make_families.py) in one layout, nightly in all: nearer to the dense model on text
// that it is not trained on, in the tensors that it had, of which those of linear layers alone change; and what is exported computes the same.
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test } from 'vitest'
import { linearsOf, plainHalves, storedInputs } from '../src/model/half-block.ts'
import { exportOnnx, heal, MemorySink, type Model, prune } from '../src/node.ts'
import { familyFolder, VOCABULARY } from './families.ts'
import { someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { asWindows } from './tiny.ts'

const { engine, folder: root } = engineAndFolder()

const MIXTURES = ['mixtral', 'olmoe', 'qwen3_moe']
/** Of those where all experts of a layer are one tensor the fixtures have no more than the weights. */
const FAMILIES = readdirSync(fileURLToPath(new URL('fixtures/families', import.meta.url))).filter(
  name => !name.endsWith('-stacked'),
)
const LAYOUTS = { stock: 'scope=ffn', padded: 'scope=ffn+per-head', compact: 'scope=ffn+rotate' } as const
const CASES = FAMILIES.map(name =>
  MIXTURES.includes(name)
    ? ({ name, layouts: { stock: 'scope=experts' } } as const)
    : ({ name, layouts: LAYOUTS } as const),
)

/** Names of the tensors that are trained. */
const trainedOf = ({ architecture: { halves } }: Model): Set<string> =>
  new Set(
    halves
      .flatMap(plainHalves)
      .flatMap(half => [...storedInputs(half).keys(), ...linearsOf(half).map(({ name }) => name)])
      .flatMap(name => [`${name}.weight`, `${name}.bias`]),
  )

/** Every other family in every run, each layout with some of these. */
const SOME = someOf(CASES, (_, i) => i % 2 === 0)

describe.each(SOME)('$name', ({ name, layouts }) => {
  const dense = join(root, name)
  const from = (w: number) => (id: number, i: number) => (id + (w * i) ** 2) % VOCABULARY
  let calibration: ReturnType<typeof asWindows>
  beforeAll(async () => {
    const [ids] = await familyFolder(name, dense)
    const rows = Array.from({ length: 10 }, (_, w) => Array.from(ids.subarray(0, 80), from(w))) // beyond sliding windows
    const { windows, ...others } = asWindows(rows)
    calibration = { ...others, windows: windows.slice(0, 8), heldOut: windows.slice(8) }
  })

  const all = Object.entries(layouts)
  const some = someOf(all, (_, i) => i === (FAMILIES.indexOf(name) / 2) % all.length)
  test.each(some)('layout %s', async (layout, scope) => {
    const method = `plain:repair=none:${scope}:layout=${layout}:multiple=2`
    const [pruned, output] = [`${name} ${layout}`, `${name} ${layout} healed`].map(of => join(root, of))
    await prune(dense, { sparsity: 0.3, method, calibration, output: pruned, engine, dtype: 'F32' })
    const how = { tokens: 6 * 4 * 80, batch: 4, every: 3, lr: 1e-3 }
    const { kl } = await heal(pruned, { dense, output, calibration, engine, ...how })
    expect(kl.after).toBeLessThan(kl.before)
    await withModel(pruned, before =>
      withModel(output, async after => {
        const [old, now] = [before, after].map(({ checkpoint }) => checkpoint.tensors)
        expect([...now.tensors.values()]).toEqual([...old.tensors.values()])
        const trained = trainedOf(before)
        for (const tensor of old.tensors.keys()) {
          const [was, is] = [await old.float32(tensor), await now.float32(tensor)]
          const changes = trained.has(tensor) && was.some(w => w !== 0)
          expect(Buffer.compare(Buffer.from(was.buffer), Buffer.from(is.buffer)) !== 0, tensor).toBe(changes)
        }
        if (MIXTURES.includes(name)) return // which have no graph in ONNX
        const [{ divergence }] = await exportOnnx(after, new MemorySink(), { engine, dtypes: ['fp32'] })
        expect(divergence).toBeLessThan(1e-9)
      }),
    )
  })
})
