// Devices beside the CPU: what the golden tests do not reach, and what is said where there is no such device.
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as runtime from 'onnxruntime-node'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Device } from '../src/engine/device.ts'
import type { Engine } from '../src/engine/engine.ts'
import { HalfBlockRunner } from '../src/forward/runner.ts'
import { type HalfWeights, readHalf } from '../src/forward/weights.ts'
import { halfBlockGraph } from '../src/graphs/half-block.ts'
import { attentionHalves, halfBlocks } from '../src/model/architecture.ts'
import { describeModel, MemorySink, openCheckpoint, openEngine, prune } from '../src/node.ts'
import { prune as pruneModel } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import type { PruneResult } from '../src/result/result.ts'
import type { PrunePathOptions } from '../src/verbs/prune.node.ts'
import { CUDA, describeOn, devices, isWanted } from './devices.ts'
import { generate, perplexity } from './evaluation.ts'
import { refused, run, TINY_LLAMA, workplaces } from './fasp.ts'
import { finish } from './finish.ts'
import { expectSameForAnyText, FFN } from './moved.ts'
import { nightly, someOf } from './nightly.ts'
import { withModel } from './opened.ts'
import { expectSameChoice, LENGTH, shortWindows, TRAINED, trainedModel } from './presets.ts'
import { asWindows, goldenOf } from './tiny.ts'

const workplace = workplaces()
const PROMPT = [1, 300, 200, 100, 50]
/** Beyond the 32 tokens from which ONNX Runtime's attention on a GPU takes another way. */
const LONG_PROMPT = Array.from({ length: 40 }, (_, i) => (i * 37) % 1000)

async function continued(device: Device, prompt: readonly number[]): Promise<number[]> {
  const engine = openEngine({ device })
  const checkpoint = await openCheckpoint(TINY_LLAMA)
  try {
    const ids: number[] = []
    for await (const id of generate(describeModel(checkpoint), engine, prompt, { maxTokens: 12 })) ids.push(id)
    return ids
  } finally {
    await engine.close()
    await checkpoint.close()
  }
}

/** Bytes in float32 of what a half-block has: its layers, norms before them, and tables of positions. */
const constantBytes = ({ inputs, output, norms }: HalfWeights, tables: number) => {
  const layers = [...inputs, output].flatMap(({ weight, bias }) => [weight, ...(bias ? [bias] : [])])
  const ofNorms = Object.values(norms).flatMap(feeds => Object.values(feeds).map(({ data }) => data))
  return 4 * ([...layers, ...ofNorms].reduce((sum, { length }) => sum + length, 0) + tables)
}

/** A driver in software shares the cores with other tests. */
const LIMIT = 240_000
/** Of 16 windows. */
const TOKENS = 4096
/** 16 of 256 tokens; a batch has 8. */
const WINDOWS: number[][] = goldenOf('tiny-llama').calibration_windows

/** tiny-llama, on some of the windows. */
async function pruned(device: Device, windows: number, options: Partial<PrunePathOptions> = {}, deviceMemory?: number) {
  const calibration = asWindows(WINDOWS.slice(0, windows))
  const output = join(await workplace(), device)
  const engine = { device, deviceMemory }
  const given = { sparsity: 0.2, method: 'plain', engine, calibration, output }
  return await prune(TINY_LLAMA, { ...given, ...options, saveEvery: 3600 }) // rows that are saved come here
}

const [, webgpu] = await devices()
describeOn(webgpu, 'what goes over to the device and comes back', () => {
  test.runIf(process.platform === 'linux').each([0, 1])('half-block %i: weights once, rows each time', async i => {
    await using engine = openEngine({ device: 'webgpu' })
    await using checkpoint = await openCheckpoint(TINY_LLAMA)
    const model = describeModel(checkpoint)
    const { halves, hiddenSize } = model.architecture
    const weights = await readHalf(model, halves[i])
    const [windows, length, batches] = [2, 32, 3]
    const runner = new HalfBlockRunner(engine, length)
    const tables = weights.half.kind === 'attention' ? length * weights.half.headSize : 0
    const rows = windows * length * hiddenSize
    for (let batch = 0; batch < batches; batch++)
      await runner.forward(weights, new Float32Array(rows).fill(0.1), windows)
    expect(engine.moved).toEqual({
      toDevice: constantBytes(weights, tables) + batches * 4 * rows,
      fromDevice: batches * 4 * rows,
    })
  })

  test.runIf(process.platform === 'linux')(
    'a layer: the same for any text, but for sums and places of a batch',
    { timeout: LIMIT },
    async () => {
      const options = { saveEvery: 1e9 } // on a slow machine saving would bring rows here
      const [one, two] = [await pruned('webgpu', 8, options), await pruned('webgpu', 16, options)]
      expectSameForAnyText(one, two)
    },
  )
})

describeOn(webgpu, 'what the CPU finds', () => {
  const expectSame = (found: PruneResult, expected: PruneResult) => {
    const removed = ({ removedLayers = [] }: PruneResult) => removedLayers.map(({ layer }) => layer)
    expect(removed(found)).toEqual(removed(expected))
    for (const [layer, halves] of expected.layers.entries())
      for (const [kind, half] of Object.entries(halves)) {
        const own = found.layers[layer][kind as 'ffn']
        expect(own?.kept, `${kind} ${layer}`).toEqual(half?.kept)
        if (half) expect(own?.errorAfter).toBeCloseTo(half.errorAfter, 4)
      }
  }

  const methods = ['plain', 'paper', 'stock', 'best', 'flap', 'shortgpt']
  test.each(someOf(methods, method => method === 'best'))('%s', { timeout: LIMIT }, async method => {
    expectSame(await pruned('webgpu', 16, { method }), await pruned('cpu', 16, { method }))
  })

  nightly('with room for a few batches, here and there', { timeout: LIMIT }, async () => {
    const options = { method: 'stock', memory: 1e-3 }
    const found = await pruned('webgpu', 16, options, 4e-3)
    expectSame(found, await pruned('cpu', 16, options))
    expect(found.moved!.layers[1].fromDevice).toBeGreaterThan(2 * 4 * TOKENS * FFN)
  })
})

describeOn(webgpu, 'attention by products', () => {
  test.each(['cache', 'branches'] as const)('with %s all of it runs there', async special => {
    await withModel(TINY_LLAMA, async ({ architecture }) => {
      const half = { ...attentionHalves(architecture)[0], cap: 2, ...(special === 'cache' && { window: 9 }) }
      const graph = halfBlockGraph(half, { by: 'products', windows: 2, length: 200, with: special })
      const providers = { executionProviders: ['webgpu'], extra: { session: { disable_cpu_ep_fallback: '1' } } }
      await (await runtime.InferenceSession.create(graph.bytes(), providers)).release()
    })
  })
})

/** Of the trained models. */
const [D, NEURONS] = [96, 288]
/** Of weights as parts of the largest, of losses in nats a token. */
const NEAR = { weight: 1e-4, loss: 1e-5 }
const calibration = shortWindows()

describeOn(webgpu, 'trained models', () => {
  const engines: Record<string, Engine> = {}
  beforeAll(() => {
    engines.cpu = openEngine({ blas: false })
    engines.webgpu = openEngine({ device: 'webgpu' })
  })
  afterAll(async () => {
    for (const engine of Object.values(engines)) await engine.close()
  })

  async function prunedOn(device: string, name: string, method: string) {
    const output = join(await workplace(), device)
    const selected: { half: string; scores: Float64Array; kept: Int32Array }[] = []
    const options = { sparsity: 0.3, method, dtype: 'F32', calibration, output, engine: engines[device] } as const
    const { layers } = await prune(trainedModel(name), {
      ...options,
      onEvent: event => event.type === 'selected' && selected.push(event),
    })
    return await withModel(output, async model => {
      const { halves } = model.architecture
      const weights: Float32Array[] = [] // of rotated values each direction may be turned round
      for (const { kind, output } of halves)
        if (kind === 'ffn') weights.push(await model.checkpoint.tensors.float32(`${output.name}.weight`))
      const windows = asWindows(goldenOf('tiny-llama').evaluation_windows.slice(0, 2))
      const evaluated = await finish(perplexity(model, engines.cpu, windows, 'evaluate'))
      return { layers, selected, weights, loss: Math.log(evaluated.perplexity) }
    })
  }

  const cases = [
    ...TRAINED.flatMap(name => ['plain', 'paper', 'stock', 'best'].map(method => [name, method])),
    ...['plain', 'stock', 'plain:scope=experts', 'stock:scope=experts', 'reap'].map(method => ['tiny-mixture', method]),
  ]
  test.each(someOf(cases, ([name, method]) => name === 'tiny-mixture' && method === 'stock'))(
    '%s, %s: as the CPU prunes them',
    { timeout: LIMIT },
    async (name, method) => {
      const [found, expected] = [await prunedOn('webgpu', name, method), await prunedOn('cpu', name, method)]
      expectSameChoice(found, expected)
      for (const [i, weights] of expected.weights.entries()) {
        const allowed = NEAR.weight * weights.reduce((most, w) => Math.max(most, Math.abs(w)), 0)
        const most = weights.reduce((most, w, at) => Math.max(most, Math.abs(found.weights[i][at] - w)), 0)
        expect(most).toBeLessThan(allowed)
      }
      expect(Math.abs(found.loss - expected.loss)).toBeLessThan(NEAR.loss)
    },
  )

  test.runIf(process.platform === 'linux')(
    'norms after half-blocks: no rows come here, statistics do, and what is kept goes',
    { timeout: LIMIT },
    () =>
      withModel(trainedModel('tiny-gemma3'), async model => {
        const prepared = prepare(model, { sparsity: 0.3, method: 'plain' }, { windows: calibration })
        const { layers, moved } = await finish(pruneModel(prepared, { engine: engines.webgpu, sink: new MemorySink() }))
        for (const layer of [1, 2]) {
          const kept = layers[layer].ffn!.kept.length
          const gone = NEURONS - kept
          const gram = 3 * (NEURONS / 2) ** 2 // two squares on its diagonal, and what is above
          const energies = kept ** 2 + gone ** 2
          const sums = NEURONS + 1 // Σ H, Σ r²
          const checked = 3 // error, energy and Σ r² of windows held out
          expect(moved!.layers[layer].fromDevice).toBe(4 * (gram + energies + kept * D + sums + checked))
          const halves = await Promise.all(halfBlocks(model.architecture, layer).map(half => readHalf(model, half)))
          const weights = halves.reduce((sum, half) => sum + constantBytes(half, 0), 0)
          const repair = kept * gone + 2 * gone * D + kept * D // G_MP, W_P for it and for its energy, W_M
          const norms = 2 * 4 * D // γ, which are tiny, β and b, for either stream
          const left = kept * D + 2 * kept // W', and M for either
          const check = kept + 3 * D + 4 * LENGTH + 1 // M, γ and biases, which tokens are held out, α
          expect(moved!.layers[layer].toDevice).toBe(weights + 4 * (repair + norms + left + check))
        }
      }),
  )
})

for (const on of (await devices()).filter(({ device }) => device !== 'cpu'))
  describeOn(on, 'generates with a cache what the CPU does', () => {
    test.each([
      ['a short prompt', PROMPT],
      ['a long prompt', LONG_PROMPT],
    ])('%s', { timeout: LIMIT }, async (_, prompt) => {
      expect(await continued(on.device, prompt)).toEqual(await continued('cpu', prompt))
    })
  })

test('a device that does not exist is a wrong usage', () => {
  expect(() => openEngine({ device: 'tpu' as Device })).toThrow('device is "tpu"; it must be one of cpu, webgpu, cuda.')
})

test.skipIf(CUDA)('cuda without its libraries says what is missing, and leaves nothing behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'fasp-devices-'))
  const pruning = prune(TINY_LLAMA, {
    engine: { device: 'cuda' },
    sparsity: 0.2,
    windows: 1,
    seqLen: 16,
    output: join(folder, 'out'),
  })
  const error = await pruning.catch(e => e)
  expect(error).toMatchObject({ name: 'DeviceError', code: 'DEVICE', device: 'cuda' })
  expect(error.message).toMatch(/^cuda: ONNX Runtime cannot use it: .*Install them \(docs\/devices\.md\)/)
  expect(await readdir(folder)).toEqual([])
  await rm(folder, { recursive: true })
})

/** What Dawn, under WebGPU, says where Mesa's driver opens; docs/devices.md calls it harmless. */
const DAWN = /^.*maxDynamic\w+ artificially reduced.*\n/gm

test('inspect --devices lists what opens here, and auto takes no WebGPU that may be a driver in software', async () => {
  const folder = await workplace()
  const { stdout, stderr } = await run(folder, 'inspect', '--devices', '--json')
  const { cpu, memory, runtime, blas, openvino, webgpu, cuda, auto } = JSON.parse(stdout)
  expect(stderr.replace(DAWN, '')).toBe('')
  expect(cpu.cores).toBeGreaterThan(0)
  expect(memory.total).toBeGreaterThan(memory.free)
  expect(runtime.found.version).toBe('1.30.0')
  expect(runtime.found.providers).toContain('cpu')
  if (process.platform === 'linux') expect(runtime.found.threads).toBeGreaterThan(0)
  const opened = openEngine()
  expect(blas.unasked).toBe(opened.facts.blas)
  await opened.close()
  expect(blas.auto.found ?? blas.auto.problem).toMatch(/blas/i)
  expect(openvino.found ?? openvino.problem).toMatch(/openvino/i)
  if (isWanted('webgpu')) expect(webgpu.problem).toBeUndefined()
  if (webgpu.found) expect(webgpu.found.attention).toMatch(/^by (ONNX Runtime’s operator|products)$/)
  if (!CUDA) expect(cuda.problem).toMatch(/^cuda: ONNX Runtime cannot use it/)
  if (process.platform === 'linux' && !CUDA) expect(auto.device).toBe('cpu')
})

test('--device auto says what it takes, and takes it', async () => {
  const folder = await workplace()
  const args = ['generate', TINY_LLAMA, '-p', 'The night', '--max-tokens', '4', '--device']
  const { stdout, stderr } = await run(folder, ...args, 'auto')
  expect(stderr).toMatch(/^--device auto takes (the CPU|webgpu|cuda): .+\.\n$/)
  expect(stderr).not.toContain('vkEnumeratePhysicalDevices')
  expect(stdout).toBe((await run(folder, ...args, 'cpu')).stdout)
})

test.each([[[TINY_LLAMA, '--devices']], [['--devices', '--tensors']]])('inspect %j asks for two things', async args => {
  await refused(await workplace(), ['inspect', ...args], { code: 2, says: ['--devices is of this machine'] })
})
