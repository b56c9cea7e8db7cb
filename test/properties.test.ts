// Identities that hold for every model, checked on two layers of the model that ships with the package and on the tiny OPT.
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { fromFloat32 } from '../src/formats/dtype.ts'
import { openFile } from '../src/formats/file.node.ts'
import { layoutSafetensors, openSafetensors } from '../src/formats/safetensors.ts'
import { attentionHalves } from '../src/model/architecture.ts'
import {
  type Layout,
  logits,
  type PrunePathOptions,
  type PruneResult,
  plain,
  prune,
  type Windows,
} from '../src/node.ts'
import { perplexity } from './evaluation.ts'
import { TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { NIGHTLY } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { TINY_OPT, tinyOf2Layers } from './tiny.ts'

const { engine, folder: root } = engineAndFolder()

const DENSE = tinyOf2Layers()
let outputs = 0
const newOutput = () => join(root, `${outputs++}`)

/** Random tokens: enough to calibrate on. */
function windows(count: number, seqLen: number, seed: number): Windows {
  let state = seed + 1
  const next = () => (state = (state * 48271) % 2147483647) % 1024
  return {
    seqLen,
    windows: Array.from({ length: count }, () => Int32Array.from({ length: seqLen }, next)),
    texts: [{ name: 'random', tokens: count * seqLen, available: count, used: count }],
  }
}

async function run(source: string, options: Omit<PrunePathOptions, 'output'>) {
  const output = newOutput()
  return { output, result: await prune(source, { ...options, output, engine }) }
}

const PROMPT = Int32Array.from({ length: 40 }, (_, i) => (i * 37) % 1024)
const logitsOf = (path: string) => withModel(path, model => logits(model, engine, PROMPT))
const largestDifference = (a: Float32Array, b: Float32Array) =>
  a.reduce((worst, v, i) => Math.max(worst, Math.abs(v - b[i])), 0)

test('sparsity 0 gives byte-identical tensors', async () => {
  for (const layout of ['stock', 'padded'] as const) {
    const { output } = await run(TINY_LLAMA, {
      sparsity: 0,
      method: plain({ scope: 'ffn+ragged', layout }),
      calibration: windows(2, 16, 1),
    })
    expect(
      readFileSync(join(output, 'model.safetensors')).equals(readFileSync(join(TINY_LLAMA, 'model.safetensors'))),
    ).toBe(true)
  }
})

test('sparsity 0 gives byte-identical tensors of a pytorch_model.bin', async () => {
  const { output } = await run(TINY_OPT, { sparsity: 0, calibration: windows(2, 16, 1) })
  await withModel(TINY_OPT, before =>
    withModel(output, async after => {
      expect(after.checkpoint.tensors.tensors.size).toBe(before.checkpoint.tensors.tensors.size)
      for (const name of before.checkpoint.tensors.tensors.keys())
        expect(
          Buffer.compare(await after.checkpoint.tensors.bytes(name), await before.checkpoint.tensors.bytes(name)),
        ).toBe(0)
    }),
  )
})

test('the same seed and input give byte-identical output', async () => {
  const options = { sparsity: 0.3, method: 'plain:scope=ffn+ragged', windows: 4, seqLen: 32, seed: 5 } as const
  const [one, two] = [await run(DENSE, options), await run(DENSE, options)]
  const files = readdirSync(one.output)
  expect(readdirSync(two.output)).toEqual(files)
  for (const file of files)
    expect(readFileSync(join(two.output, file)).equals(readFileSync(join(one.output, file)))).toBe(true)
  const other = await run(DENSE, { ...options, seed: 6 })
  expect(
    readFileSync(join(other.output, 'model.safetensors')).equals(readFileSync(join(one.output, 'model.safetensors'))),
  ).toBe(false)
})

test('restoration never makes an error larger, and all layouts are one model in logits', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        sparsity: fc.double({ min: 0.05, max: 0.6, noNaN: true }),
        scope: fc.constantFrom('ffn+ragged' as const, 'ffn+per-head' as const, 'ffn+rotate' as const),
        seed: fc.nat(1e6),
        damp: fc.constantFrom(0, 0.01, 0.1),
        score: fc.constantFrom('column' as const, 'eliminate' as const),
        repair: fc.constantFrom('pruned' as const, 'dense' as const),
      }),
      async ({ seed, sparsity, ...options }) => {
        const calibration = windows(3, 64, seed)
        const pruned = (layout: Layout) => {
          const method = plain({ ...options, multiple: 1, layout })
          return run(DENSE, { sparsity, method, dtype: 'F32', calibration })
        }
        const stock = await pruned('stock')
        for (const { attention, ffn } of stock.result.layers)
          for (const half of [attention!, ffn!])
            expect(half.errorAfter).toBeLessThanOrEqual(half.errorBefore * (1 + 1e-9))
        const expected = await logitsOf(stock.output)
        for (const layout of ['padded', 'compact'] as const) {
          const { output } = await pruned(layout)
          expect(largestDifference(await logitsOf(output), expected), layout).toBeLessThan(1e-4)
        }
      },
    ),
    { numRuns: NIGHTLY ? 6 : 2 },
  )
}, 180_000) // 18 models

test('activations in memory and in a scratch file give the same bytes', async () => {
  const settings = { sparsity: 0.3, method: 'plain:scope=ffn+ragged:repair=aligned', calibration: windows(3, 64, 2) }
  const [inMemory, spilled] = [await run(DENSE, settings), await run(DENSE, { ...settings, memory: 0 })]
  const weights = (o: string) => readFileSync(join(o, 'model.safetensors'))
  expect(weights(spilled.output).equals(weights(inMemory.output))).toBe(true)
})

test('held-out losses are those of the written model, and windows held out leave the model as it is', async () => {
  const made = windows(7, 32, 8)
  const [used, heldOut] = [made.windows.slice(0, 5), made.windows.slice(5)]
  const texts = [
    { name: 'a', tokens: 99, available: 4, used: 3, heldOut: 1 },
    { name: 'b', tokens: 99, available: 3, used: 2, heldOut: 1 },
  ]
  const settings = { sparsity: 0.3, method: 'plain:scope=ffn+rotate:repair=aligned', dtype: 'F32' } as const
  const { output, result } = await run(DENSE, {
    ...settings,
    calibration: { ...made, windows: used, heldOut, texts },
  })
  const without = await run(DENSE, { ...settings, calibration: { ...made, windows: used } })
  const weights = (folder: string) => readFileSync(join(folder, 'model.safetensors'))
  expect(weights(output).equals(weights(without.output))).toBe(true)
  const loss = (path: string, window: Int32Array) =>
    withModel(path, async model => {
      const one = { seqLen: 32, windows: [window], texts: made.texts }
      return Math.log((await finish(perplexity(model, engine, one, 'evaluate'))).perplexity)
    })
  for (const [i, [on, held]] of [
    [used[0], heldOut[0]],
    [used[3], heldOut[1]],
  ].entries())
    for (const [side, window] of [
      ['calibratedOn', on],
      ['heldOut', held],
    ] as const) {
      const found = result.calibration.texts[i].loss![side]
      expect(found.windows).toBe(1)
      expect(found.dense).toBeCloseTo(await loss(DENSE, window), 4)
      expect(found.pruned).toBeCloseTo(await loss(output, window), 4)
    }
  expect(without.result.calibration.texts[0].loss).toBeUndefined()
  for (const { ffn } of without.result.layers) expect(ffn!.heldOutError).toBeUndefined()
})

test.each([
  ['tiny-llama', 'best'],
  ['tiny-llama', 'stock:repair=dense:alpha=1'],
  ['tiny-llama', 'flap'],
  ['tiny-opt', 'stock:repair=pruned:center'],
] as const)('%s, %s: held-out windows that are those calibrated on have the same error', async (name, method) => {
  const { texts, ...made } = windows(4, 32, 8)
  const held = { ...made, heldOut: made.windows, texts: [{ ...texts[0], heldOut: 4 }] }
  const { result } = await run(name === 'tiny-opt' ? TINY_OPT : DENSE, {
    sparsity: 0.3,
    method,
    dtype: 'F32',
    calibration: held,
  })
  const halves = result.layers.flatMap(({ attention, ffn }) => [attention, ffn]).filter(half => half !== undefined)
  expect(halves.length).toBeGreaterThan(1)
  for (const { errorAfter, heldOutError } of halves) {
    expect(heldOutError).toBeGreaterThan(0)
    expect(Math.abs(heldOutError! - errorAfter)).toBeLessThan(1e-4 + 0.01 * errorAfter)
  }
})

test('a dense target that nothing is taken from is the pruned target', async () => {
  const repaired = (repair: 'pruned' | 'dense', alpha?: number, memory?: number) => {
    const method = plain({ scope: 'ffn+ragged', repair, alpha })
    return run(DENSE, { sparsity: 0.3, method, memory, calibration: windows(3, 64, 2) })
  }
  const [pruned, dense, spilled, half] = [
    await repaired('pruned'),
    await repaired('dense', 0),
    await repaired('dense', 0, 0),
    await repaired('dense'),
  ]
  const weights = ({ output }: typeof pruned) => readFileSync(join(output, 'model.safetensors'))
  for (const same of [dense, spilled]) expect(weights(same).equals(weights(pruned))).toBe(true)
  expect(weights(half).equals(weights(pruned))).toBe(false)
})

test('with a dense target, what keeps all is repaired, and without one it stays byte for byte', async () => {
  const repaired = (options: Parameters<typeof plain>[0]) =>
    run(DENSE, { sparsity: 0.3, method: plain(options), calibration: windows(3, 64, 2) })
  const tensors = async ({ output }: { output: string }, name: string, layer = 1) => {
    const file = await openSafetensors(await openFile(join(output, 'model.safetensors')))
    const bytes = await file.bytes(`model.layers.${layer}.self_attn.${name}.weight`)
    await file.close()
    return Buffer.from(bytes)
  }
  const [pruned, dense, aligned] = [
    await repaired({}),
    await repaired({ repair: 'dense' }),
    await repaired({ repair: 'aligned' }),
  ]
  const source = { output: DENSE }
  expect(pruned.result.layers[1].attention).toBeUndefined()
  for (const { result } of [dense, aligned])
    for (const { attention } of result.layers.slice(1)) {
      expect(attention!.kept.length).toBe(2 * 32)
      expect(attention!.errorAfter).toBeLessThan(attention!.errorBefore)
    }
  const same = async (model: typeof pruned, name: string) =>
    (await tensors(model, name)).equals(await tensors(source, name))
  for (const name of ['q_proj', 'v_proj', 'o_proj']) expect(await same(pruned, name)).toBe(true)
  expect(await same(dense, 'o_proj')).toBe(false)
  for (const name of ['q_proj', 'v_proj']) {
    expect(await same(dense, name)).toBe(true)
    expect(await same(aligned, name)).toBe(false)
  }
  // Up to the first cut both streams are one, whatever the damping.
  const undamped = await repaired({ repair: 'aligned', damp: 0 })
  for (const name of ['q_proj', 'k_proj', 'v_proj', 'o_proj'])
    expect((await tensors(undamped, name, 0)).equals(await tensors(source, name, 0))).toBe(true)
  expect(undamped.result.layers[0].attention).toBeUndefined()
  expect(undamped.result.layers[0].ffn!.errorBefore).toBeGreaterThan(0)
  for (const { result } of [dense, aligned]) expect(result.layers[0]).toEqual(pruned.result.layers[0])
})

test('removing columns that are exactly zero changes no logit', async () => {
  // A model with dead neurons and value rows of its own: what is removed must be just those.
  const dead = { neurons: 96, values: 8 }
  const source = newOutput()
  const { output } = await run(DENSE, { sparsity: 0, dtype: 'F32', calibration: windows(1, 16, 3) })
  await copyWithZeros(output, source, dead)
  const kept = 1 - dead.neurons / 384
  // 25 % of the neurons and of the value channels: the cut that scope ffn+vo takes at this sparsity.
  const sparsity = await withModel(DENSE, async ({ architecture: a }) => {
    const [{ heads, kvHeads, headSize }] = attentionHalves(a)
    const qk = a.hiddenSize * (heads + kvHeads) * headSize
    const ffn = 3 * a.hiddenSize * a.ffnWidth
    return ((1 - kept) * (qk + ffn)) / (2 * qk + ffn)
  })
  for (const [layout, repair, tolerance] of [
    ['padded', 'pruned', 0],
    ['padded', 'none', 0],
    ['stock', 'pruned', 5e-5], // narrower products add in another order: float32 rounding of logits near 20
  ] as const) {
    const pruned = await run(source, {
      sparsity,
      method: plain({ scope: 'ffn+per-head', multiple: 1, layout, repair }),
      calibration: windows(3, 64, 4),
    })
    expect(pruned.result.widths.after).toEqual(Array(2).fill({ ffn: 384 - dead.neurons, value: 32 - dead.values }))
    expect(largestDifference(await logitsOf(pruned.output), await logitsOf(source))).toBeLessThanOrEqual(tolerance)
  }
})

test('a layer whose activations are all zero is pruned without complaint', async () => {
  const source = newOutput()
  const { output } = await run(DENSE, { sparsity: 0, dtype: 'F32', calibration: windows(1, 16, 3) })
  await copyWithZeros(output, source, { neurons: 384, values: 32 }) // all of them, in every layer
  for (const damp of [0, 0.01]) {
    const { result } = await run(source, {
      sparsity: 0.3,
      method: plain({ scope: 'ffn+ragged', damp }),
      calibration: windows(2, 32, 4),
    })
    expect(result.layers.flatMap(l => [l.attention!.errorAfter, l.ffn!.errorAfter])).toEqual(Array(4).fill(0))
    expect(result.layers[0].ffn!.damp).toBe(damp)
  }
})

test('damping that had to be raised to choose or to turn is in the result, and said, where the restoration took what was asked', async () => {
  const source = newOutput()
  const { output } = await run(DENSE, { sparsity: 0, dtype: 'F32', calibration: windows(1, 16, 3) })
  await copyWithZeros(output, source, { neurons: 96, values: 0 })
  const chosen = (score: 'column' | 'eliminate') => {
    const method = plain({ score, multiple: 1, damp: 0 })
    return run(source, { sparsity: 0.3, method, calibration: windows(10, 64, 4) })
  }
  const damps = (result: PruneResult) => result.layers.map(({ ffn }) => ffn!.damp)
  const [column, eliminate] = [await chosen('column'), await chosen('eliminate')]
  expect(damps(column.result)).toEqual(Array(2).fill(0))
  expect(damps(eliminate.result)).toEqual(Array(2).fill(1e-8))
  expect(eliminate.result.notices).toContain(
    'Layer 1, ffn: the Gram matrix could not be factored with damping 0; 1e-8 was used.',
  )
})

/** Copies a folder, zeroing every 4th neuron (in the matrices before it) and value row. */
async function copyWithZeros(from: string, to: string, { neurons, values }: { neurons: number; values: number }) {
  cpSync(from, to, { recursive: true })
  const tensors = await openSafetensors(await openFile(join(from, 'model.safetensors')))
  const {
    header,
    tensors: places,
    byteLength,
  } = layoutSafetensors([...tensors.tensors.values()].map(t => ({ ...t, dtype: 'F32' as const })))
  const file = new Uint8Array(byteLength)
  file.set(header)
  for (const { name, offset, shape } of places.values()) {
    const data = (await tensors.float32(name)).slice()
    const every = /gate_proj|up_proj/.test(name) ? 384 / neurons : /v_proj/.test(name) ? 32 / values : 0
    for (let row = 0; every > 0 && row < shape[0]; row += every) data.fill(0, row * shape[1], (row + 1) * shape[1])
    file.set(fromFloat32(data, 'F32'), offset)
  }
  await tensors.close()
  writeFileSync(join(to, 'model.safetensors'), file)
}
