// Linear algebra by a BLAS and LAPACK library of this machine, called through FFI (koffi): products (Dongarra et al., ACM TOMS 16, 1990),
// factorisations and solves. Calls block: on threads of Node's pool they would run beside JavaScript, and the library's threads wait for each
// other awake, so that what takes one of their cores costs them both (docs/log.md).
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename } from 'node:path'
import type * as Koffi from 'koffi'
import { UsageError } from '../errors.ts'
import { type Gemm, matrix } from '../linalg/matrix.ts'
import { mirrorUpper } from '../linalg/scatter.ts'
import { kindOf, type Library, multiplyBy } from './linalg.ts'
import type { EngineOptions } from './options.ts'
import { UpperSum } from './syrk.ts'

/** Where `auto` looks, in this order. All have both BLAS and LAPACK, with 32-bit integers. */
export const LIBRARIES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['libopenblas.so.0', 'libopenblas.so', 'libmkl_rt.so.3', 'libmkl_rt.so.2'],
  darwin: ['/System/Library/Frameworks/Accelerate.framework/Accelerate'],
  win32: ['libopenblas.dll', 'openblas.dll', 'mkl_rt.3.dll', 'mkl_rt.2.dll'],
}

const HINT =
  'Install one (Debian, Ubuntu: apt-get install libopenblas0-pthread), or give the path of a library that has BLAS and LAPACK.'

/** How long the library's own threads wait awake for the next call, in its units: they would take the cores from the engine's. */
const WAITS = { OPENBLAS_THREAD_TIMEOUT: '4', KMP_BLOCKTIME: '0' }

// Values of the C interface (cblas.h).
const [ROW_MAJOR, NO_TRANS, TRANS, UPPER, NON_UNIT, LEFT] = [101, 111, 112, 121, 131, 141]
/** A row-major upper triangle is a column-major lower one, and LAPACK is column-major. */
const LAPACK_LOWER = 'L'

/** Products of it are those that were measured, with threads of its own: what openblas_get_parallel says. */
const [MEASURED, PTHREADS] = ['libopenblas.so.0', 1]

/** The library that the options ask for; where they say nothing of it, one that is known to help and there. @throws UsageError */
export function chooseBlas({ device = 'cpu', threads, blas }: EngineOptions): Library | undefined {
  if (blas === false || blas === 'none') return undefined
  if (blas === undefined) return device === 'cpu' && helps() ? findMeasured(threads) : undefined
  if (device !== 'cpu') throw new UsageError(`blas works on the CPU, and device is "${device}". Leave one of them out.`)
  return bind(load(blas), threads)
}

/** Whether OpenBLAS is known to be faster than ONNX Runtime here: on x64 with AVX2 and without AVX-512 (bench/README.md). */
function helps(): boolean {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false
  const flags = readFileSync('/proc/cpuinfo', 'utf8')
  return /\bavx2\b/.test(flags) && !/\bavx512f\b/.test(flags)
}

function findMeasured(threads?: number): Library | undefined {
  try {
    const lib = load(MEASURED)
    return callIfThere(lib.handle, 'int openblas_get_parallel()') === PTHREADS ? bind(lib, threads) : undefined
  } catch {
    return undefined // not there, or without LAPACK
  }
}

/** @throws UsageError where something is lacking */
function bind(lib: Loaded, threads?: number): Library {
  const declare = (prototype: string) => {
    try {
      return lib.handle.func(prototype)
    } catch (cause) {
      throw new UsageError(`blas: ${lib.path} has no ${/\w+(?=\()/.exec(prototype)}. ${HINT}`, { cause })
    }
  }
  const gemm = (name: string, real: string) =>
    declare(`void ${name}(int, int, int, int, int, int, ${real}, void *, int, void *, int, ${real}, void *, int)`)
  const [sgemm, dgemm] = [gemm('cblas_sgemm', 'float'), gemm('cblas_dgemm', 'double')]
  const ssyrk = declare('void cblas_ssyrk(int, int, int, int, int, float, void *, int, float, void *, int)')
  const dtrsm = declare('void cblas_dtrsm(int, int, int, int, int, int, int, double, void *, int, void *, int)')
  const dpotrf = declare('void dpotrf_(const char *, void *, void *, void *, void *)')
  const dpotri = declare('void dpotri_(const char *, void *, void *, void *, void *)')
  /** Whether the routine came to its end. */
  const ended = (name: string, routine: typeof dpotrf, a: Float64Array, n: number): boolean => {
    const [size, info] = [Int32Array.of(n), new Int32Array(1)]
    routine(LAPACK_LOWER, size, a, size, info)
    if (info[0] < 0) throw new Error(`${lib.path}: ${name} refuses its argument number ${-info[0]}.`)
    return info[0] === 0
  }
  setThreads(lib, threads)
  return {
    name: nameOf(lib),
    linalg(timed, graphs) {
      const gemm: Gemm = (a, b, c, options = {}) => {
        const { transA, transB, alpha = 1, accumulate, kind = kindOf(c) } = options
        const [m, k, n] = [c.rows, transA ? a.rows : a.columns, c.columns]
        const trans = [transA, transB].map(is => (is ? TRANS : NO_TRANS))
        const operands = [alpha, a.data, a.columns, b.data, b.columns, accumulate ? 1 : 0, c.data, n]
        const routine = c.data instanceof Float32Array ? sgemm : dgemm
        return timed(kind, () => {
          if (k === 0 && !accumulate) c.data.fill(0)
          if (m * n * k > 0) routine(ROW_MAJOR, ...trans, m, n, k, ...operands) // a leading dimension of 0 is an error
        })
      }
      return {
        ...graphs,
        gemm,
        multiply: multiplyBy(gemm),
        syrk: (n, kind) =>
          new UpperSum(n, (h, sum, beta) =>
            timed(kind, () => {
              const k = h.length / n
              if (n * k > 0) ssyrk(ROW_MAJOR, UPPER, NO_TRANS, n, k, 1, h, k, beta, sum, n)
            }),
          ),
        async factor(n, read) {
          if (n === 0) return graphs.factor(n, read)
          const u = matrix(n, n) // Lᵀ, on and above the diagonal
          for (let i = 0; i < n; i++) read(i, i, u.data.subarray(i * (n + 1), (i + 1) * n))
          const definite = await timed('gemm64', () => ended('dpotrf', dpotrf, u.data, n))
          // LAPACK may take a pivot that is not a number for a positive one.
          if (!definite || !Number.isFinite(u.data[n * n - 1])) return undefined
          return {
            solve: ({ data, columns: m }) =>
              timed('gemm64', () => {
                if (m === 0) return
                for (const trans of [TRANS, NO_TRANS])
                  dtrsm(ROW_MAJOR, LEFT, UPPER, trans, NON_UNIT, n, m, 1, u.data, n, data, m)
              }),
            async invert() {
              const data = u.data.slice()
              if (!(await timed('gemm64', () => ended('dpotri', dpotri, data, n))))
                throw new Error(`${lib.path}: dpotri finds a zero on the diagonal.`)
              mirrorUpper(data, n)
              return matrix(n, n, data)
            },
            upper: () => u,
          }
        },
      }
    },
  }
}

interface Loaded {
  readonly path: string
  readonly handle: Koffi.LibraryHandle
}

/** @param library its path, its name where the system's loader finds it, or `auto` @throws UsageError where there is none */
function load(library: string): Loaded {
  let koffi: typeof Koffi
  try {
    koffi = createRequire(import.meta.url)('koffi')
  } catch (cause) {
    throw new UsageError('blas: the package koffi is not there. Install it beside fasp: npm install koffi.', { cause })
  }
  for (const [name, value] of Object.entries(WAITS)) process.env[name] ??= value
  const candidates = library === 'auto' ? (LIBRARIES[process.platform] ?? []) : [library]
  let cause: unknown
  for (const path of candidates)
    try {
      return { path, handle: koffi.load(path) }
    } catch (error) {
      cause = error
    }
  const problem =
    library === 'auto'
      ? `no library found (${candidates.join(', ')})`
      : `cannot load ${library} (${(cause as Error).message})`
  throw new UsageError(`blas: ${problem}. ${HINT}`, { cause })
}

/** Calls a function of the library that other libraries lack. @returns its result, undefined where it is lacking */
function callIfThere(handle: Koffi.LibraryHandle, declaration: string, ...args: unknown[]): unknown {
  try {
    return handle.func(declaration)(...args)
  } catch {
    return undefined
  }
}

/** Threads that a library took by itself, by its path. */
const ownThreads = new Map<string, unknown>()

/** For all that use the library in this process. @param threads undefined for as many as it took by itself */
function setThreads({ path, handle }: Loaded, threads: number | undefined): void {
  for (const [get, set] of [
    ['openblas_get_num_threads', 'openblas_set_num_threads'],
    ['MKL_Get_Max_Threads', 'MKL_Set_Num_Threads'],
  ]) {
    const now = callIfThere(handle, `int ${get}()`)
    if (now === undefined) continue
    if (!ownThreads.has(path)) ownThreads.set(path, now)
    callIfThere(handle, `void ${set}(int threads)`, threads ?? ownThreads.get(path))
  }
}

/** As OpenBLAS puts it: `OpenBLAS 0.3.21 … Zen MAX_THREADS=64`; of others the name of the file. */
function nameOf({ handle, path }: Loaded): string {
  const said = callIfThere(handle, 'const char *openblas_get_config()')
  const core = callIfThere(handle, 'const char *openblas_get_corename()')
  return typeof said === 'string' ? `${said.split(' ', 2).join(' ')} (${core})` : basename(path)
}
