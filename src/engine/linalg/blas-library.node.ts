// BLAS and LAPACK libraries of this machine, called through FFI (koffi): their places, names and threads.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename } from 'node:path'
import type * as Koffi from 'koffi'
import { UsageError } from '../../base/errors.ts'

/** Where `auto` looks, in this order. All have both BLAS and LAPACK, with 32-bit integers. */
export const LIBRARIES: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  linux: ['libopenblas.so.0', 'libopenblas.so', 'libmkl_rt.so.3', 'libmkl_rt.so.2'],
  darwin: ['/System/Library/Frameworks/Accelerate.framework/Accelerate'],
  win32: ['libopenblas.dll', 'openblas.dll', 'mkl_rt.3.dll', 'mkl_rt.2.dll'],
}

export const HINT =
  'Install one (Debian, Ubuntu: apt-get install libopenblas0-pthread), or give the path of a library that has BLAS ' +
  'and LAPACK.'

/** How long a library's threads spin after a call, in its units: they would keep cores from the engine. */
const WAITS = { OPENBLAS_THREAD_TIMEOUT: '4', KMP_BLOCKTIME: '0' }

/** The library that was measured, with threads of its own: a value of openblas_get_parallel. */
const [MEASURED, PTHREADS] = ['libopenblas.so.0', 1]

/** Whether OpenBLAS was measured to be faster than ONNX Runtime on such a machine (bench/README.md). */
function helps(): boolean {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false
  const flags = readFileSync('/proc/cpuinfo', 'utf8')
  return /\bavx2\b/.test(flags) && !/\bavx512f\b/.test(flags)
}

/** An installed library that was measured to be faster here. */
export function measuredBlas(): BlasLibrary | undefined {
  if (!helps()) return undefined
  try {
    const lib = loadBlas(MEASURED)
    return callIfThere(lib.handle, 'int openblas_get_parallel()') === PTHREADS ? lib : undefined
  } catch {
    return undefined
  }
}

export interface BlasLibrary {
  readonly path: string
  readonly handle: Koffi.LibraryHandle
}

/** @param library path, name for the system's loader, or `auto` @throws UsageError where there is none */
export function loadBlas(library: string): BlasLibrary {
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

/** Calls a function that not every library has. @returns undefined where the library lacks it */
function callIfThere(handle: Koffi.LibraryHandle, declaration: string, ...args: unknown[]): unknown {
  try {
    return handle.func(declaration)(...args)
  } catch {
    return undefined
  }
}

/** The libraries' own numbers of threads, by path. */
const ownThreads = new Map<string, unknown>()

/** Sets the threads of a library for the whole process. @param threads @default its own number */
export function setThreads({ path, handle }: BlasLibrary, threads: number | undefined): void {
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

/** From OpenBLAS: `OpenBLAS 0.3.21 … Zen MAX_THREADS=64`; from others the name of the file. */
export function nameOf({ handle, path }: BlasLibrary): string {
  const said = callIfThere(handle, 'const char *openblas_get_config()')
  const core = callIfThere(handle, 'const char *openblas_get_corename()')
  return typeof said === 'string' ? `${said.split(' ', 2).join(' ')} (${core})` : basename(path)
}
