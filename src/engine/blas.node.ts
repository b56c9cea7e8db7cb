// A BLAS and LAPACK library of this machine, called through FFI (koffi). Calls block: on threads of Node's pool they would run beside
// JavaScript, and the library's threads wait for each other awake, so that what takes one of their cores costs them both (docs/log.md).
import { createRequire } from 'node:module'
import { basename } from 'node:path'
import type * as Koffi from 'koffi'
import { UsageError } from '../errors.ts'
import type { Blas, Operand } from './blas.ts'

/** Where `auto` looks, in this order. All have both BLAS and LAPACK, with 32-bit integers. */
const LIBRARIES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['libopenblas.so.0', 'libopenblas.so', 'libmkl_rt.so.2'],
  darwin: ['/System/Library/Frameworks/Accelerate.framework/Accelerate'],
  win32: ['libopenblas.dll', 'openblas.dll', 'mkl_rt.2.dll'],
}

const HINT =
  'Install one (Debian, Ubuntu: apt-get install libopenblas0-pthread), or give the path of a library that has BLAS and LAPACK.'

/** How long the library's own threads wait awake for the next call, in its units: they would take the cores from the engine's. */
const WAITS = { OPENBLAS_THREAD_TIMEOUT: '4', KMP_BLOCKTIME: '0' }

// Values of the C interface (cblas.h).
const [ROW_MAJOR, NO_TRANS, TRANS, UPPER, NON_UNIT, LEFT] = [101, 111, 112, 121, 131, 141]
/** A row-major upper triangle is a column-major lower one, and LAPACK is column-major. */
const LAPACK_LOWER = 'L'

/** @param library its path, its name where the system's loader finds it, or `auto` @throws UsageError where there is none */
export function openBlas(library: string, threads?: number): Blas {
  const lib = load(library)
  const operand = 'void *'
  const gemm = (type: string) =>
    ['int', 'int', 'int', 'int', 'int', 'int', type, operand, 'int', operand, 'int', type, operand, 'int'] as const
  const declare = (name: string, types: readonly string[]) => {
    try {
      return lib.handle.func(name, 'void', [...types])
    } catch (cause) {
      throw new UsageError(`blas: ${lib.path} has no ${name}. ${HINT}`, { cause })
    }
  }
  const sgemm = declare('cblas_sgemm', gemm('float'))
  const dgemm = declare('cblas_dgemm', gemm('double'))
  const ssyrk = declare('cblas_ssyrk', [
    'int',
    'int',
    'int',
    'int',
    'int',
    'float',
    operand,
    'int',
    'float',
    operand,
    'int',
  ])
  const dtrsm = declare('cblas_dtrsm', [
    ...['int', 'int', 'int', 'int', 'int', 'int', 'int'],
    ...['double', operand, 'int', operand, 'int'],
  ])
  const [dpotrf, dpotri] = ['dpotrf_', 'dpotri_'].map(name =>
    declare(name, ['const char *', operand, operand, operand, operand]),
  )
  const info = (routine: typeof dpotrf, a: Float64Array, n: number): number => {
    const [size, result] = [Int32Array.of(n), new Int32Array(1)]
    routine(LAPACK_LOWER, size, a, size, result)
    return result[0]
  }
  setThreads(lib.handle, threads)
  return {
    name: nameOf(lib),
    gemm(a, b, c, alpha, beta) {
      const [m, k] = a.transposed ? [a.columns, a.rows] : [a.rows, a.columns]
      const n = b.transposed ? b.rows : b.columns
      const trans = (o: Operand) => (o.transposed ? TRANS : NO_TRANS)
      const routine = c instanceof Float32Array ? sgemm : dgemm
      const operands = [alpha, a.data, a.columns, b.data, b.columns, beta, c, n]
      routine(ROW_MAJOR, trans(a), trans(b), m, n, k, ...operands)
    },
    syrk(a, c, n) {
      const k = a.length / n
      ssyrk(ROW_MAJOR, UPPER, NO_TRANS, n, k, 1, a, k, 1, c, n)
    },
    potrf: (a, n) => info(dpotrf, a, n) === 0,
    potrs(u, n, b) {
      const m = b.length / n
      for (const trans of [TRANS, NO_TRANS]) dtrsm(ROW_MAJOR, LEFT, UPPER, trans, NON_UNIT, n, m, 1, u, n, b, m)
    },
    potri(u, n) {
      info(dpotri, u, n)
    },
  }
}

interface Library {
  readonly path: string
  readonly handle: Koffi.LibraryHandle
}

function load(library: string): Library {
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
  const problem = library === 'auto' ? `no library found (${candidates.join(', ')})` : `cannot load ${library}`
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

function setThreads(handle: Koffi.LibraryHandle, threads: number | undefined): void {
  if (threads === undefined) return
  for (const name of ['openblas_set_num_threads', 'MKL_Set_Num_Threads'])
    callIfThere(handle, `void ${name}(int threads)`, threads)
}

/** As OpenBLAS puts it: `OpenBLAS 0.3.21 … Zen MAX_THREADS=64`; of others the name of the file. */
function nameOf({ handle, path }: Library): string {
  const said = callIfThere(handle, 'const char *openblas_get_config()')
  const core = callIfThere(handle, 'const char *openblas_get_corename()')
  return typeof said === 'string' ? `${said.split(' ', 2).join(' ')} (${core})` : basename(path)
}
