// Looks at what this machine may compute with, one kind of thing each. They load libraries and drivers: child.node.ts calls them.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type * as Koffi from 'koffi'
import { chooseBlas } from '../engine/blas.node.ts'
import type { Device } from '../engine/device.ts'
import { openEngine } from '../engine/engine.node.ts'
import { openOpenVino } from '../engine/openvino.node.ts'
import { Graph } from '../formats/onnx.ts'
import { libraryName, OPEN_MPI, OTHERS } from '../group/mpi.node.ts'
import { LIBRARIES } from '../native/blas.node.ts'
import { pluginPath } from '../native/openvino.node.ts'
import { cudaProvider } from '../native/providers.node.ts'
import { vulkanAdapters } from '../native/vulkan.node.ts'
import { onnxRuntime, RUNTIME_VERSION } from '../onnxruntime.node.ts'
import { values } from '../values.ts'
import type { Found } from './found.ts'

const require = createRequire(import.meta.url)

/** A library of this machine. */
export interface Library {
  /** What the system's loader calls it. */
  readonly library: string
  readonly path: string
  /** With its version, as it says. */
  readonly name: string
}

export const PROBES = {
  runtime,
  blas,
  openvino,
  mpi: (_?: undefined) => libraries([...OPEN_MPI, ...OTHERS], 'MPI_Init', (_, handle) => libraryName(handle)),
  vulkan: (_?: undefined) => vulkanAdapters(),
  product,
}

/** ONNX Runtime: how graphs reach it, what providers it knows, and where CUDA's would be. */
async function runtime(_?: undefined) {
  const folder = onnxRuntime()
  await using engine = openEngine({ blas: false })
  const before = tasks()
  await multiply(engine, 'first')
  const supported: { name: string; bundled: boolean }[] = require(folder).listSupportedBackends()
  const { onnxruntime: version, graphs } = engine.facts
  return {
    ...{ version, folder, graphs },
    providers: supported.filter(({ bundled }) => bundled).map(({ name }) => name),
    /** Of one operator where none are asked for: those that it has started, and the one that calls. */
    threads: graphs === 'C interface' ? tasks() - before + 1 : undefined,
    cuda: cudaProvider(),
  }
}

function blas(_?: undefined) {
  const found = libraries(LIBRARIES[process.platform] ?? [], 'cblas_sgemm', blas => chooseBlas({ blas })!.name)
  return { libraries: found, unasked: chooseBlas({})?.name, auto: attempt(() => chooseBlas({ blas: 'auto' })!.name) }
}

/** Of products in bf16; the problem has what this CPU or machine lacks. */
function openvino(_?: undefined) {
  const { name, graphs } = openOpenVino(RUNTIME_VERSION)
  graphs()
  return { name, path: pluginPath() }
}

/** Relative error of a product, in the norm of Frobenius: TF32 has 4e-4 of it. */
const TOLERANCE = 2e-3

/** Throws where a device gives another product than the CPU does. Of attention: what its trial found (docs/devices.md). */
async function product(device: Device) {
  await using cpu = openEngine({ blas: false })
  await using engine = openEngine({ device, blas: false })
  const [right, given] = [await multiply(cpu, 'right'), await multiply(engine, 'given')]
  const error = Math.hypot(...right.map((r, i) => r - given[i])) / Math.hypot(...right)
  if (!(error <= TOLERANCE)) throw new Error(`a product there is not the CPU's: ${error.toPrecision(2)} off`)
  const isTried = engine.facts.graphs === 'C interface'
  const attention = !isTried ? 'not tried' : engine.dialect.attention === 'operator' ? 'right' : 'wrong'
  return { error, attention } as const
}

async function multiply(engine: ReturnType<typeof openEngine>, name: string): Promise<Float32Array> {
  const [m, k, n] = [48, 64, 80]
  const build = () => {
    const g = new Graph(name)
    g.output('c', g.op('MatMul', [g.input('a', 'float32', [m, k]), g.input('b', 'float32', [k, n])]), 'float32', [m, n])
    return g
  }
  const some = (rows: number, columns: number) =>
    values(
      Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i)),
      [rows, columns],
    )
  const c = values(new Float32Array(m * n), [m, n])
  await engine.run(name, build, { a: some(m, k), b: some(k, n) }, { c })
  return c.data
}

/** Threads of this process, on Linux. */
const tasks = (): number => (process.platform === 'linux' ? readdirSync('/proc/self/task').length : Number.NaN)

/** Those of `names` that the system's loader finds. @param symbol that each has @param name its name; throws where it cannot be used */
function libraries(
  names: readonly string[],
  symbol: string,
  name: (library: string, handle: Koffi.LibraryHandle) => string,
): Library[] {
  const koffi: typeof Koffi = require('koffi')
  return names.flatMap(library => {
    try {
      const handle = koffi.load(library)
      const path = fileAt(koffi.address(handle.symbol(symbol, 'char'))) ?? library
      return [{ library, path, name: name(library, handle) }]
    } catch {
      return []
    }
  })
}

/** Of the file that lies at an address of this process. */
function fileAt(address: bigint): string | undefined {
  const maps = existsSync('/proc/self/maps') ? readFileSync('/proc/self/maps', 'utf8') : ''
  for (const [, from, to, path] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) .*?(\/.*)$/gm))
    if (BigInt(`0x${from}`) <= address && address < BigInt(`0x${to}`)) return path
  return undefined
}

function attempt<T>(look: () => T): Found<T> {
  try {
    return { found: look() }
  } catch (error) {
    return { problem: (error as Error).message }
  }
}
