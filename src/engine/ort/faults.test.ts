// A device that fails while it runs: on the CPU, taken for one, whose calls are made to fail with what ONNX Runtime said where Vulkan's were.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import * as runtime from 'onnxruntime-node'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { snapshot, TINY_LLAMA, workplaces } from '../../../test/fasp.ts'
import { nightly } from '../../../test/nightly.ts'
import { asWindows, goldenOf } from '../../../test/tiny.ts'
import { DeviceError } from '../../base/errors.ts'
import { Graph } from '../../formats/onnx.ts'
import { type ProgressEvent, prune } from '../../node.ts'
import { createEngine, type Engine } from '../engine.ts'
import type { GraphRuntime } from '../graph-runtime.ts'
import { matrix } from '../linalg/matrix.ts'
import { nativeOn } from '../native.node.ts'
import { onnxRuntimeC } from './c.node.ts'
import { faultOf } from './faults.ts'
import { RUNTIME_VERSION } from './package.node.ts'

const workplace = workplaces()

const DOWNLOAD =
  '/onnxruntime_src/onnxruntime/core/providers/webgpu/buffer_manager.cc:641 void onnxruntime::webgpu::BufferManager::Download(WGPUBuffer, void*, size_t) const map_async_result.status == wgpu::MapAsyncStatus::Success was false. Failed to download data from buffer. wgpu::MapAsyncStatus value: '
const LOST = `${DOWNLOAD}4, message: [Device] is lost.\n`
const NO_BUFFER =
  'WebGPU validation failed. [Invalid Buffer (unlabeled)] is invalid due to a previous error.\n - While encoding [CommandEncoder (unlabeled)].CopyBufferToBuffer([Invalid Buffer (unlabeled)], 0, [Invalid Buffer (unlabeled)], 0, 268435456).\n'

describe('what is said', () => {
  test.each([
    ['lost', LOST],
    [
      'lost',
      "failed to call OrtRun(). ERROR_CODE: 1, ERROR_MESSAGE: Failed to execute 'mapAsync' on 'GPUBuffer': [Device] is lost.",
    ],
    ['no room left', NO_BUFFER],
    ['no room left', `${DOWNLOAD}3, message: [Invalid Buffer (unlabeled)] is invalid due to a previous error.`],
    [
      'no room left',
      'CUDA failure 2: out of memory ; GPU=0 ; hostname=one ; file=cuda_allocator.cc ; line=52 ; expr=cudaMalloc((void**)&p, size);',
    ],
    ['no room left', 'bfc_arena.cc:376 Failed to allocate memory for requested buffer of size 268435456'],
    ['took too long', 'CUDA failure 702: the launch timed out and was terminated ; GPU=0 ; hostname=one'],
    ['lost', 'CUDA failure 719: unspecified launch failure ; GPU=0 ; hostname=one'],
  ])('%s: %s', (means, said) => {
    const fault = faultOf('webgpu', new Error(said))
    expect(fault?.message).toContain(means)
    expect(fault?.message).toMatch(/^webgpu: while it ran: .*--resume goes on.* ONNX Runtime said: [^/]+$/)
  })

  test('what is wrong with a graph is no fault of the device', () => {
    const said =
      'Non-zero status code returned while running Add node. axis == 1 || axis == largest was false. Attempting to broadcast'
    expect(faultOf('webgpu', new Error(said))).toBeUndefined()
  })
})

describe.runIf(process.platform === 'linux')('the CPU, taken for a device', () => {
  let engine: Engine
  afterEach(() => {
    vi.restoreAllMocks()
    return engine?.close()
  })
  let onHost = false
  const open = (room: number, isRight = true) => {
    const graphs = nativeOn({ device: 'webgpu', memory: 'Cpu', append() {} }, RUNTIME_VERSION, room)!
    const attention = () => graphs.attention!() && isRight
    const opened: GraphRuntime['open'] = async graph => {
      const session = await graphs.open(graph)
      const run: typeof session.run = async (...given) => {
        onHost = graph.isDouble
        try {
          await session.run(...given)
        } finally {
          onHost = false
        }
      }
      return { ...session, run }
    }
    engine = createEngine(runtime, { device: 'webgpu' }, { graphs: { ...graphs, open: opened, attention } })
    return engine
  }
  /** Calls of the device from the `from`th on fail, so many of them. @returns how many there were */
  const fail = (said: string, from: number, count = Number.POSITIVE_INFINITY) => {
    const api = onnxRuntimeC(RUNTIME_VERSION)!
    const { Run } = api
    let calls = 0
    vi.spyOn(api, 'Run').mockImplementation((...args) => {
      if (onHost) return Run(...args)
      calls++
      if (calls > from && calls <= from + count) throw new Error(said)
      Run(...args)
    })
    return () => calls
  }
  const negate = (x: ReturnType<Engine['array']>, y: typeof x) => {
    const build = () => {
      const g = new Graph('negative')
      g.output('y', g.op('Neg', [g.input('x', 'float32', ['n'])]), 'float32', ['n'])
      return g
    }
    return engine.run('negative', build, { x }, { y })
  }

  test('rows that cannot come back are not taken for what was here, then and later', async () => {
    const { array } = open(1e9)
    const [x, y] = [array([2], Float32Array.of(1, 2)), array([2], Float32Array.of(7, 8))]
    await negate(x, y)
    fail(LOST, 0)
    for (let i = 0; i < 2; i++) expect(() => y.data).toThrow(/^webgpu: .*was lost/)
    await expect(negate(x, x)).rejects.toThrow(DeviceError)
    expect([...x.data]).toEqual([1, 2]) // nothing newer was there
    await engine.close()
    vi.restoreAllMocks()
    expect(() => y.data).toThrow(/^webgpu: .*was lost/)
    y.drop?.()
    expect([...y.data]).toEqual([7, 8])
  })

  test('what fails on the host is no fault of the device', async () => {
    const { linalg } = open(1e9)
    vi.spyOn(onnxRuntimeC(RUNTIME_VERSION)!, 'Run').mockImplementation(() => {
      throw new Error('Failed to allocate memory')
    })
    const [one, y] = [matrix(1, 1, Float64Array.of(1)), matrix(1, 1)]
    await expect(linalg.gemm(one, one, y)).rejects.toThrow(/^Failed to allocate memory$/)
  })

  test('a copy that fails once is made when it is asked for again', async () => {
    const { array } = open(1e9)
    const y = array([2])
    await negate(array([2], Float32Array.of(1, 2)), y)
    fail(NO_BUFFER, 0, 1)
    expect(() => y.data).toThrow(DeviceError)
    expect([...y.data]).toEqual([-1, -2])
  })

  test('rows that make room for others and cannot come back stay', async () => {
    const { array } = open(3 * 8)
    const [a, b, c] = [1, 2, 3].map(value => array([2], Float32Array.of(value, value)))
    for (const rows of [a, b]) await negate(rows, rows)
    fail(LOST, 0, 1)
    await expect(negate(c, c)).rejects.toThrow(DeviceError)
    expect([a, b, c].map(({ data }) => data[0])).toEqual([-1, -2, 3])
  })

  nightly(
    'a run says where it failed, and resumed gives the bytes of one that did not',
    {
      timeout: 240_000,
    },
    async () => {
      const folder = await workplace()
      const calibration = asWindows(goldenOf('tiny-llama').calibration_windows.slice(0, 9))
      const notices: string[] = []
      const onEvent = (event: ProgressEvent) => event.type === 'notice' && notices.push(event.message)
      const pruned = async (name: string, resume = false, isRight = true) => {
        const output = join(folder, name)
        await using engine = open(4e6, isRight)
        const options = { sparsity: 0.2, method: 'stock', calibration, memory: 1e-3, saveEvery: 0, resume } as const
        await prune(TINY_LLAMA, { ...options, output, engine, onEvent })
        return (await snapshot(output)).map(line => line.slice(output.length))
      }
      const calls = fail('', Number.POSITIVE_INFINITY)
      const whole = await pruned('whole')
      vi.restoreAllMocks()
      for (const [part, said] of [
        [0.4, LOST],
        [0.8, NO_BUFFER],
      ] as const) {
        fail(said, Math.floor(part * calls()))
        await expect(pruned('stopped')).rejects.toThrow(/^webgpu: layer \d, (attention|ffn): it /)
        vi.restoreAllMocks()
        expect(await pruned('stopped', true)).toEqual(whole)
        await rm(join(folder, 'stopped'), { recursive: true })
      }
      expect(notices.join()).not.toContain('attention is')
      fail(LOST, Math.floor(0.8 * calls()))
      await expect(pruned('stopped')).rejects.toThrow(DeviceError)
      vi.restoreAllMocks()
      await pruned('stopped', true, false)
      expect(notices.join()).toContain('attention is "products", there "operator". Last bits may be others')
    },
  )
})
