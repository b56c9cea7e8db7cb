// Systems in float64 on an NVIDIA card, without one: bindings against headers, and what calls them on libraries that do the same in this
// machine's memory (cuda.ts).
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as runtime from 'onnxruntime-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { cudaLinalg } from '../../src/device-linalg/cuda.node.ts'
import { deviceError } from '../../src/engine/device.ts'
import { openEngine } from '../../src/engine/engine.node.ts'
import { createEngine, type Engine } from '../../src/engine/engine.ts'
import type { Linalg, Timed } from '../../src/engine/linalg.ts'
import { RUNNING } from '../../src/errors.ts'
import type { RowReader } from '../../src/linalg/cholesky.ts'
import { type Matrix, matrix } from '../../src/linalg/matrix.ts'
import { CUDA_ENUMS, CUDA_FUNCTIONS, CUSOLVER_STATUSES, openCuda } from '../../src/native/cuda.node.ts'
import { prune } from '../../src/node.ts'
import { buildStub, hasCompiler, stubOf } from '../cuda.ts'
import { CPU } from '../devices.ts'
import { TINY_LLAMA, workplaces } from '../fasp.ts'
import { enumsOf, prototypeOf } from '../headers.ts'
import { random } from '../random.ts'
import { asWindows, goldenOf } from '../tiny.ts'

const HEADERS = [
  'cuda_runtime_api.h',
  'driver_types.h',
  'library_types.h',
  'cublas_api.h',
  'cusolver_common.h',
  'cusolverDn.h',
]
/** The excerpt, and whole headers below folders that somebody has. */
const includes = (process.env.FASP_CUDA_INCLUDE ?? '').split(':').filter(Boolean)
const sources: [name: string, text: string][] = [
  ['the excerpt', readFileSync(new URL('../fixtures/cuda/prototypes.h', import.meta.url), 'utf8')],
  ...includes.map((folder): [string, string] => {
    const files = HEADERS.map(name => join(folder, name)).filter(existsSync)
    return [folder, files.map(file => readFileSync(file, 'utf8')).join('\n')]
  }),
]

describe.each(sources)('as the headers have it: %s', (_, text) => {
  const functions = Object.values(CUDA_FUNCTIONS).flatMap(part => Object.entries<readonly string[]>(part))

  test.each(functions)('%s', (name, declared) => {
    expect(declared.map(type => type.replace(/^_Out_ |const /g, '').replace(/^\w+ (\*+)$/, '$1'))).toEqual(
      prototypeOf(text, name),
    )
  })

  test('enumerations', () => {
    const enums = enumsOf(text)
    for (const [name, value] of Object.entries(CUDA_ENUMS)) expect(enums.get(name), name).toBe(value)
    for (const [value, name] of CUSOLVER_STATUSES.entries())
      expect(enums.get(`CUSOLVER_STATUS_${name}`), name).toBe(value)
  })
})

test.each([
  // By ONNX Runtime 1.30 with its provider, without a driver, and with one that has no card.
  [
    '/onnxruntime_src/onnxruntime/core/session/provider_bridge_ort.cc:1988 onnxruntime::Provider& onnxruntime::ProviderLibrary::Get() ' +
      '[ONNXRuntimeError] : 1 : FAIL : Failed to load library /ort/libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot ' +
      'open shared object file: No such file or directory',
    'Failed to load library /ort/libonnxruntime_providers_cuda.so with error: libcuda.so.1: cannot open shared object file: No such file or directory',
  ],
  [
    '/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:154 std::conditional_t<THRW, void, onnxruntime::common::Status> ' +
      'onnxruntime::CudaCall(ERRTYPE, const char*, const char*, SUCCTYPE, const char*, const char*, int) [with ERRTYPE = cudaError; bool ' +
      'THRW = true; SUCCTYPE = cudaError; std::conditional_t<THRW, void, common::Status> = void] CUDA failure 35: CUDA driver version is ' +
      'insufficient for CUDA runtime version ; GPU=-1 ; hostname=vm ; file=/onnxruntime_src/onnxruntime/core/providers/cuda/' +
      'cuda_execution_provider.cc ; line=352 ; expr=cudaSetDevice(info_.device_id);',
    'CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version',
  ],
])('of what ONNX Runtime says of CUDA users are told what they can mend: %#', (said, problem) => {
  const { message } = deviceError('cuda', new Error(said))
  expect(message).toBe(
    `cuda: ONNX Runtime cannot use it: ${problem}. ${message.slice(message.indexOf('It needs Linux x64'))}`,
  )
})

const workplace = workplaces()

describe.runIf(hasCompiler)('on a card that is made up', () => {
  let root: string
  let stub: ReturnType<typeof stubOf>
  let host: Engine
  beforeAll(async () => {
    root = await mkdtemp(join(tmpdir(), 'fasp-cuda-'))
    buildStub(join(root, 'lib64'))
    stub = stubOf(join(root, 'lib64'))
    host = openEngine(CPU)
  })
  afterAll(async () => {
    await host.close()
    await rm(root, { recursive: true })
  })
  beforeEach(() => {
    stub.reset()
    vi.stubEnv('CUDA_PATH', root)
    vi.stubEnv('VIRTUAL_ENV', '')
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    expect(stub.used()).toBe(0) // whatever went wrong
  })

  const SIZES = { least: 8, trial: 64, sides: 8 }
  /** Loses every trial. */
  const slowed = (linalg: Linalg): Linalg => ({
    ...linalg,
    async gemm(a, b, c, options) {
      if (options?.kind === 'trial') await new Promise(resolve => setTimeout(resolve, 50))
      return linalg.gemm(a, b, c, options)
    },
  })
  function linalg() {
    const moved = { toDevice: 0, fromDevice: 0 }
    const kinds: string[] = []
    const timed: Timed = async (kind, call) => {
      kinds.push(kind)
      return call()
    }
    return { moved, kinds, ...cudaLinalg(openCuda(), timed, slowed(host.linalg), moved, SIZES) }
  }

  const doubles = (rows: number, columns: number, seed: number) =>
    matrix(rows, columns, Float64Array.from(random(rows * columns, seed)))
  const reader =
    ({ data, columns }: Matrix): RowReader =>
    (i, j, row) =>
      row.set(data.subarray(i * columns + j, i * columns + j + row.length))
  /** XᵀX + I / 2 */
  async function gram(n: number, seed: number): Promise<Matrix> {
    const [x, a] = [doubles(n + 3, n, seed), matrix(n, n)]
    await host.linalg.gemm(x, x, a, { transA: true })
    for (let i = 0; i < n; i++) a.data[i * (n + 1)] += 0.5
    return a
  }
  const worst = (a: Matrix, b: Matrix) => a.data.reduce((most, v, i) => Math.max(most, Math.abs(v - b.data[i])), 0)

  test('it is called by its name and version, and a GPU’s engine has it where it is wanted', async () => {
    expect(openCuda()).toBe(openCuda())
    for (const [options, solver] of [
      [{ device: 'cuda' }, 'cuSOLVER 12.4.1'],
      [{ device: 'cuda', blas: 'none' }, undefined],
      [{ device: 'webgpu' }, undefined],
      [CPU, undefined],
    ] as const) {
      const engine = openEngine(options)
      expect(engine.facts.solver).toBe(solver)
      await engine.close()
    }
  })

  test('A X = B, A⁻¹ and L, as the host has them', async () => {
    const [n, m] = [40, 7]
    const on = linalg()
    const [a, b] = [await gram(n, 1), doubles(n, m, 2)]
    const factors = [await on.factor(n, reader(a)), await host.linalg.factor(n, reader(a))]
    const before = { ...on.moved }
    const x = [matrix(n, m, b.data.slice()), matrix(n, m, b.data.slice())]
    for (const [i, factor] of factors.entries()) await factor!.solve(x[i])
    expect(worst(x[0], x[1])).toBeLessThan(1e-12)
    expect(on.moved.toDevice - before.toDevice).toBe(8 * n * m) // the factor is there
    expect(on.moved.fromDevice - before.fromDevice).toBe(8 * n * m)
    const [upper, expected] = factors.map(factor => factor!.upper())
    for (let i = 0; i < n; i++)
      for (let j = i; j < n; j++) expect(upper.data[i * n + j]).toBeCloseTo(expected.data[i * n + j], 12)
    expect(stub.used()).toBe(0) // who has it here needs it there no more
    const inverse = await factors[0]!.invert()
    expect(worst(inverse, await factors[1]!.invert())).toBeLessThan(1e-12)
    expect(inverse.data.every((v, at) => v === inverse.data[(at % n) * n + Math.floor(at / n)])).toBe(true)
    expect(new Set(on.kinds)).toEqual(new Set(['trial', 'cusolver']))
  })

  test('one factor is there at a time; an earlier one is made again', async () => {
    const on = linalg()
    const [a, b] = [await gram(20, 1), await gram(30, 2)]
    const [first, second] = [await on.factor(20, reader(a)), await on.factor(30, reader(b))]
    expect(stub.used()).toBe(8 * 30 ** 2)
    const x = matrix(
      20,
      1,
      a.data.filter((_, i) => i % 20 === 0),
    ) // A e
    await first!.solve(x)
    expect([...x.data].map(v => Math.round(v * 1e12) / 1e12 + 0)).toEqual([1, ...new Array(19).fill(0)])
    expect(stub.used()).toBe(8 * 20 ** 2)
    second!.drop!()
    expect(stub.used()).toBe(8 * 20 ** 2)
    first!.drop!()
  })

  test.each([
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ])('C ± op(A) op(B), transposed %s and %s', async (transA, transB) => {
    const on = linalg()
    const [m, k, n] = [9, 11, 13]
    const a = transA ? doubles(k, m, 1) : doubles(m, k, 1)
    const b = transB ? doubles(n, k, 2) : doubles(k, n, 2)
    for (const options of [{}, { alpha: -1, accumulate: true }] as const) {
      const c = [doubles(m, n, 3), doubles(m, n, 3)]
      for (const [i, { gemm }] of [on, host.linalg].entries()) await gemm(a, b, c[i], { transA, transB, ...options })
      expect(worst(c[0], c[1])).toBeLessThan(1e-14)
    }
    expect(on.kinds).toContain('cusolver')
  })

  test('what is not positive definite has no factor', async () => {
    const on = linalg()
    const a = await gram(12, 1)
    a.data[5 * 13] = -1
    expect(await on.factor(12, reader(a))).toBeUndefined()
    a.data[5 * 13] = Number.NaN
    expect(await on.factor(12, reader(a))).toBeUndefined()
  })

  test('what is small or in float32 is the host’s, and asks for no trial', async () => {
    const on = linalg()
    const a = await gram(7, 1)
    expect(await on.factor(7, reader(a))).toBeDefined()
    await on.gemm(a, a, matrix(7, 7))
    const x = matrix(16, 16, random(256, 1))
    await on.gemm(x, x, matrix(16, 16, new Float32Array(256)))
    expect(stub.calls()).toBe(0)
  })

  test.each([
    ['is slower', () => stub.beSlow(200)],
    ['is wrong', () => stub.beWrong()],
    ['cannot be used', () => stub.fail('cublasCreate_v2', 1)],
    ['cannot factor', () => stub.fail('cusolverDnDpotrf', 6)],
    ['has no room', () => stub.setRoom(8 * 64 ** 2)],
  ])('the host is kept where the card %s', async (what, set) => {
    const { openCuda: fresh } = await freshly()
    set()
    const kinds = new Set<string>()
    const timed: Timed = async (kind, call) => {
      kinds.add(kind)
      return call()
    }
    const on = cudaLinalg(fresh(), timed, host.linalg, undefined, SIZES)
    const a = await gram(20, 1)
    expect(await on.factor(20, reader(a)), what).toBeDefined()
    expect([...kinds]).toEqual(['trial'])
    const calls = stub.calls()
    expect(calls).toBeGreaterThan(0)
    await on.gemm(a, a, matrix(20, 20))
    await (await on.factor(20, reader(a)))!.invert()
    expect(stub.calls()).toBe(calls)
  })

  /** Bindings that have made no handle yet. */
  async function freshly(): Promise<typeof import('../../src/native/cuda.node.ts')> {
    vi.resetModules()
    return await import('../../src/native/cuda.node.ts')
  }

  test('where the card has no room left the host takes over, whenever that is', async () => {
    const on = linalg()
    const n = 20
    const [a, b] = [await gram(n, 1), doubles(n, 3, 2)]
    const expected = matrix(n, 3, b.data.slice())
    await (await host.linalg.factor(n, reader(a)))!.solve(expected)
    const solved = async (factor = on.factor(n, reader(a))) => {
      const x = matrix(n, 3, b.data.slice())
      await (await factor)!.solve(x)
      return worst(x, expected)
    }
    expect(await solved()).toBeLessThan(1e-12)
    for (const room of [8 * n * n - 1, 8 * n * n, 8 * n * n + 8 * n + 4]) {
      // for the matrix, its work, a right-hand side
      const factor = room > 8 * n * n + 8 ? on.factor(n, reader(a)) : undefined
      await factor
      stub.setRoom(room)
      expect(await solved(factor)).toBeLessThan(1e-12)
      expect(stub.used()).toBe(0)
      expect(stub.last()).toBe(0) // ONNX Runtime would take it for its own
      stub.reset()
    }
    const c = [matrix(n, n), matrix(n, n)]
    stub.setRoom(8 * n * n)
    await on.gemm(a, a, c[0])
    await host.linalg.gemm(a, a, c[1])
    expect(worst(c[0], c[1])).toBe(0)
  })

  test('other failures say what failed, with what, and what to do', async () => {
    const on = linalg()
    const a = await gram(20, 1)
    ;(await on.factor(20, reader(a)))!.drop!()
    const fails = async (call: string, status: number, says: RegExp, sticks = false) => {
      stub.reset()
      stub.fail(call, status, sticks)
      const factored = on.factor(20, reader(a)).then(factor => factor!.invert())
      await expect(factored).rejects.toMatchObject({
        code: 'DEVICE',
        device: 'cuda',
        at: RUNNING,
        message: expect.stringMatching(says),
      })
      expect(stub.used()).toBe(0)
      expect(stub.last()).toBe(0)
    }
    const advice = '.*nvidia-smi.*--blas none.*--resume goes on.* CUDA said: '
    await fails('cusolverDnDpotrf', 6, RegExp(`${advice}CUSOLVER_STATUS_EXECUTION_FAILED, by cusolverDnDpotrf$`))
    await fails('cusolverDnDpotri', 77, RegExp(`${advice}CUSOLVER_STATUS_77, by cusolverDnDpotri$`))
    const unknown = '999: unknown error \\(cudaErrorUnknown\\), by cudaMemcpy$'
    await fails('cudaMemcpy', 999, RegExp(`it was lost.*--resume.* CUDA said: CUDA failure ${unknown}`))
    await fails('cudaMemcpy', 702, /its driver ended a run.*by cudaMemcpy$/)
    // What frees fails from then on as well, and is not what failed.
    await fails('cusolverDnDpotrf', 6, /by cusolverDnDpotrf$/, true)
    await fails('cusolverDnDpotri', 6, /by cusolverDnDpotri$/, true)
    await fails('cudaMemcpy', 999, /by cudaMemcpy$/, true)
    stub.reset()
    stub.fail('cublasDgemm_v2', 13, true)
    await expect(on.gemm(a, a, matrix(20, 20))).rejects.toThrow(/CUBLAS_STATUS_OTHER, by cublasDgemm_v2$/)
    stub.reset()
    const factor = await on.factor(20, reader(a))
    stub.fail('cublasDtrsm_v2', 13, true)
    await expect(factor!.solve(matrix(20, 1))).rejects.toThrow(/CUBLAS_STATUS_OTHER, by cublasDtrsm_v2$/)
  })

  const solver = {
    name: 'stub',
    linalg: (timed: Timed, graphs: Linalg) => cudaLinalg(openCuda(), timed, slowed(graphs), undefined, SIZES),
  }

  test('a run says where it failed', { timeout: 120_000 }, async () => {
    await using card = createEngine(runtime, {}, { solver })
    const a = await gram(20, 1)
    ;(await card.linalg.factor(20, reader(a)))!.drop!() // the trial
    stub.fail('cusolverDnDpotrf', 6)
    const calibration = asWindows(goldenOf('tiny-llama').calibration_windows.slice(0, 2))
    const options = { sparsity: 0.3, calibration, engine: card, output: join(await workplace(), 'failed') } as const
    await expect(prune(TINY_LLAMA, options)).rejects.toThrow(/^cuda: layer \d, (attention|ffn): .*--resume goes on/)
  })

  test('a run keeps the columns that the host’s keeps, and leaves nothing there', { timeout: 120_000 }, async () => {
    const calibration = asWindows(goldenOf('tiny-llama').calibration_windows.slice(0, 4))
    const kept = async (engine: Engine, name: string) => {
      const output = join(await workplace(), name)
      const options = { sparsity: 0.3, method: 'stock', calibration, engine, output } as const
      const { layers, engineSeconds } = await prune(TINY_LLAMA, options)
      return {
        columns: layers.map(({ ffn }) => ffn!.kept),
        errors: layers.map(({ ffn }) => ffn!.errorAfter),
        engineSeconds,
      }
    }
    await using card = createEngine(runtime, {}, { solver })
    const [found, expected] = [await kept(card, 'card'), await kept(host, 'host')]
    expect(found.engineSeconds.cusolver).toBeGreaterThan(0)
    expect(found.columns).toEqual(expected.columns)
    for (const [i, error] of found.errors.entries()) expect(error).toBeCloseTo(expected.errors[i], 6)
  })

  test('libraries are found beside Python’s packages, those of CUDA 12 in folders of their own, too', async () => {
    const venv = join(root, 'venv')
    buildStub(join(venv, 'lib/python3.12/site-packages/nvidia/cuda_runtime/lib'), [], 1)
    vi.stubEnv('CUDA_PATH', '')
    vi.stubEnv('VIRTUAL_ENV', venv)
    expect(openCuda().name).toMatch(/^cuSOLVER \d/)
  })

  test('where there are none, or one lacks a function, they say so', () => {
    vi.stubEnv('CUDA_PATH', join(root, 'old'))
    buildStub(join(root, 'old', 'lib'), ['-DWITHOUT_DTRSM'])
    expect(() => openCuda()).toThrow(
      /^cuda: .*old\/lib\/libcublas\.so\.13 has no cublasDtrsm_v2\. Install a newer CUDA, or solve on the host \(--blas none\)\.$/,
    )
    vi.stubEnv('CUDA_PATH', join(root, 'nowhere'))
    const missing =
      /^cuda: no libcudart\.so\.13 can be loaded \(.*No such file.*\)\. Install CUDA with cuBLAS and cuSOLVER/
    if (!existsSync('/proc/driver/nvidia')) expect(() => openCuda()).toThrow(missing)
    const engine = openEngine({ device: 'cuda' })
    if (!existsSync('/proc/driver/nvidia')) expect(engine.facts.solver).toBeUndefined()
  })
})
