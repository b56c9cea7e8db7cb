// CUDA's libraries of linear algebra, called through FFI (koffi): where they are, what is used of them, and what they say when they fail.
// Sources: cuda_runtime_api.h, cublas_api.h, cusolverDn.h and cusolver_common.h of CUDA 12 and 13 (test/fixtures/cuda).
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type * as Koffi from 'koffi'
import { DeviceError, RUNNING } from '../errors.ts'
import { problemOf } from '../onnxruntime/faults.ts'
import { entries, packageFolders } from './python.node.ts'

/** Of one version of CUDA each, newest first: its run time, cuBLAS, cuSOLVER. */
export const CUDA_LIBRARIES = [
  { cudart: 'libcudart.so.13', cublas: 'libcublas.so.13', cusolver: 'libcusolver.so.12' },
  { cudart: 'libcudart.so.12', cublas: 'libcublas.so.12', cusolver: 'libcusolver.so.11' },
] as const

// Functions: what they return, and the types of their arguments. A status is an int, and so are enumerations.
const [P, OUT, OUT_INT, INT, SIZE, TEXT] = ['void *', '_Out_ void **', '_Out_ int *', 'int', 'size_t', 'const char *']
export const CUDA_FUNCTIONS = {
  cudart: {
    cudaMalloc: [INT, OUT, SIZE],
    cudaFree: [INT, P],
    cudaMemcpy: [INT, P, P, SIZE, INT],
    cudaGetLastError: [INT],
    cudaGetErrorName: [TEXT, INT],
    cudaGetErrorString: [TEXT, INT],
  },
  cublas: {
    cublasCreate_v2: [INT, OUT],
    cublasDtrsm_v2: [INT, P, INT, INT, INT, INT, INT, INT, P, P, INT, P, INT],
    cublasDgemm_v2: [INT, P, INT, INT, INT, INT, INT, P, P, INT, P, INT, P, P, INT],
    cublasGetStatusName: [TEXT, INT],
  },
  cusolver: {
    cusolverGetProperty: [INT, INT, OUT_INT],
    cusolverDnCreate: [INT, OUT],
    cusolverDnDpotrf_bufferSize: [INT, P, INT, INT, P, INT, OUT_INT],
    cusolverDnDpotrf: [INT, P, INT, INT, P, INT, P, INT, P],
    cusolverDnDpotri_bufferSize: [INT, P, INT, INT, P, INT, OUT_INT],
    cusolverDnDpotri: [INT, P, INT, INT, P, INT, P, INT, P],
  },
} as const
type Part = keyof typeof CUDA_FUNCTIONS
const PARTS = Object.keys(CUDA_FUNCTIONS) as Part[]

// Values of its enumerations.
export const CUDA_ENUMS = {
  ...{ cudaMemcpyHostToDevice: 1, cudaMemcpyDeviceToHost: 2, cudaErrorMemoryAllocation: 2 },
  ...{ CUBLAS_STATUS_ALLOC_FAILED: 3, CUSOLVER_STATUS_ALLOC_FAILED: 2 },
  ...{ CUBLAS_OP_N: 0, CUBLAS_OP_T: 1, CUBLAS_FILL_MODE_LOWER: 0, CUBLAS_SIDE_RIGHT: 1, CUBLAS_DIAG_NON_UNIT: 0 },
  ...{ MAJOR_VERSION: 0, MINOR_VERSION: 1, PATCH_LEVEL: 2 },
} as const
const E = CUDA_ENUMS
/** The card has no room left. */
const NO_ROOM = {
  cudart: E.cudaErrorMemoryAllocation,
  cublas: E.CUBLAS_STATUS_ALLOC_FAILED,
  cusolver: E.CUSOLVER_STATUS_ALLOC_FAILED,
}
/** cuSOLVER's statuses from 0 on: it has no function that names them. */
export const CUSOLVER_STATUSES = [
  ...['SUCCESS', 'NOT_INITIALIZED', 'ALLOC_FAILED', 'INVALID_VALUE', 'ARCH_MISMATCH', 'MAPPING_ERROR'],
  ...['EXECUTION_FAILED', 'INTERNAL_ERROR', 'MATRIX_TYPE_NOT_SUPPORTED', 'NOT_SUPPORTED'],
]

/** What a failure that says nothing of its cause means. */
const FAILED =
  'a call to its libraries failed. See what the driver says (nvidia-smi; from the start, --blas none solves on the host)'

/** A call to CUDA has failed. */
export class CudaError extends DeviceError {
  /** @param lacksRoom whether the card's memory is full, and nothing else is wrong */
  constructor(
    call: string,
    status: string,
    readonly lacksRoom: boolean,
  ) {
    super('cuda', problemOf(`${status}, by ${call}`, 'CUDA', FAILED), undefined, RUNNING)
  }
}

/** Column-major matrices in float64 on the card, by their addresses. Calls block, and throw a CudaError. */
export interface Cuda {
  /** cuSOLVER with its version. */
  readonly name: string
  allocate(bytes: number): bigint
  /** Throws nothing: what is wrong with the card another call has said, or will. */
  free(at: bigint): void
  toCard(to: bigint, from: Float64Array): void
  toHost(to: Float64Array | Int32Array, from: bigint): void
  /** The lower half of a symmetric matrix [n, n] becomes that of its Cholesky factor L. @returns whether it is positive definite */
  factor(a: bigint, n: number): boolean
  /** The lower half of L becomes that of (L Lᵀ)⁻¹. @returns false where there is a zero on the diagonal of L */
  invert(l: bigint, n: number): boolean
  /** `B ← B (L Lᵀ)⁻¹` @param b [m, n] */
  solve(l: bigint, n: number, b: bigint, m: number): void
  /** `C ← α op(A) op(B) + β C`. @param a, b with their leading dimensions and whether they are transposed @param c [m, n] */
  multiply(m: number, n: number, k: number, alpha: number, a: Operand, b: Operand, beta: number, c: bigint): void
}
export type Operand = readonly [at: bigint, leading: number, transposed: boolean]

/** By path of cuSOLVER. */
const opened = new Map<string, Cuda>()

/**
 * Looks for the libraries where CUDA_PATH says, then where the system's loader does, then beside Python's packages. Uses no card yet.
 * @throws DeviceError where they, or functions in them, are missing
 */
export function openCuda(): Cuda {
  let koffi: typeof Koffi
  try {
    koffi = createRequire(import.meta.url)('koffi')
  } catch (cause) {
    throw new DeviceError('cuda', 'the package koffi is not there. Install it beside fasp: npm install koffi.', {
      cause,
    })
  }
  const problems: string[] = []
  for (const names of CUDA_LIBRARIES) {
    const found = PARTS.map(part => load(koffi, names[part], problems))
    const [cudart, cublas, cusolver] = found
    if (!cudart || !cublas || !cusolver) continue
    const known = opened.get(cusolver.path)
    if (known) return known
    const cuda = bind({ cudart, cublas, cusolver })
    opened.set(cusolver.path, cuda)
    return cuda
  }
  throw new DeviceError(
    'cuda',
    `${problems[0]}. Install CUDA with cuBLAS and cuSOLVER (pip install nvidia-cusolver nvidia-cuda-runtime), or name its folder in CUDA_PATH.`,
  )
}

interface Loaded {
  readonly path: string
  readonly handle: Koffi.LibraryHandle
}

function load(koffi: typeof Koffi, name: string, problems: string[]): Loaded | undefined {
  const { CUDA_PATH } = process.env
  const named = CUDA_PATH ? ['lib64', 'lib'].map(lib => join(CUDA_PATH, lib, name)) : []
  let problem = ''
  for (const path of [...named, name, ...inPackages(name)])
    try {
      return { path, handle: koffi.load(path) }
    } catch (error) {
      problem = (error as Error).message.trim() // of the last: a package that is there and lacks another
    }
  problems.push(`no ${name} can be loaded (${problem})`)
  return undefined
}

/** What CUDA's provider of ONNX Runtime is linked with, or opens, in an order in which each finds what it needs; as onnxruntime-gpu 1.30. */
const OF_PROVIDER = [
  'libcudart.so.13',
  'libnvJitLink.so.13',
  'libnvrtc.so.13',
  'libcublasLt.so.13',
  'libcublas.so.13',
  'libcurand.so.10',
  'libcufft.so.12',
  'libcudnn.so.9',
]

/** Loads these from Python's packages, where they are there: the system's loader does not look there, but takes what is loaded. */
export function loadCuda(): void {
  for (const path of OF_PROVIDER.flatMap(name => inPackages(name).slice(0, 1)))
    try {
      createRequire(import.meta.url)('koffi').load(path)
    } catch {} // what is missing ONNX Runtime says
}

/** Packages of CUDA 13 share one folder, `nvidia/cu13`; those of CUDA 12 have one each. */
const inPackages = (name: string): string[] =>
  packageFolders()
    .map(folder => join(folder, 'nvidia'))
    .flatMap(nvidia => entries(nvidia).map(part => join(nvidia, part, 'lib')))
    .filter(lib => entries(lib).includes(name))
    .map(lib => join(lib, name))

type Call = (...args: unknown[]) => unknown
type Calls = { [L in Part]: Record<keyof (typeof CUDA_FUNCTIONS)[L], Call> }

function bind(libraries: Record<Part, Loaded>): Cuda {
  const calls = Object.fromEntries(PARTS.map(part => [part, declare(part, libraries[part])])) as unknown as Calls
  const { cudart, cublas } = calls
  const nameOf = {
    cudart: (status: number) =>
      `CUDA failure ${status}: ${cudart.cudaGetErrorString(status)} (${cudart.cudaGetErrorName(status)})`, // as ONNX Runtime
    cublas: (status: number) => String(cublas.cublasGetStatusName(status)),
    cusolver: (status: number) => `CUSOLVER_STATUS_${CUSOLVER_STATUSES[status] ?? status}`,
  }
  const forget = () => cudart.cudaGetLastError() // or ONNX Runtime takes it for its own
  const check = <L extends Part>(part: L, name: keyof Calls[L] & string, ...args: unknown[]): void => {
    const status = (calls[part][name] as Call)(...args) as number
    if (status === 0) return
    if (part === 'cudart') forget()
    throw new CudaError(name, nameOf[part](status), status === NO_ROOM[part])
  }
  const make = (call: (made: [bigint | null]) => void): bigint => {
    const made: [bigint | null] = [null]
    call(made)
    return made[0]!
  }
  let [blasHandle, solverHandle]: bigint[] = []
  const blas = () => (blasHandle ??= make(made => check('cublas', 'cublasCreate_v2', made)))
  const solver = () => (solverHandle ??= make(made => check('cusolver', 'cusolverDnCreate', made)))
  const version = [E.MAJOR_VERSION, E.MINOR_VERSION, E.PATCH_LEVEL].map(which => {
    const value = [0]
    check('cusolver', 'cusolverGetProperty', which, value)
    return value[0]
  })
  const allocate = (bytes: number) => make(made => check('cudart', 'cudaMalloc', made, bytes))
  const free = (at: bigint) => {
    if (cudart.cudaFree(at) !== 0) forget()
  }
  const toHost: Cuda['toHost'] = (to, from) =>
    check('cudart', 'cudaMemcpy', to, from, to.byteLength, E.cudaMemcpyDeviceToHost)
  /** Calls with room for so many bytes. */
  const within = (bytes: number, call: (at: bigint) => void): void => {
    const at = allocate(bytes)
    try {
      call(at)
    } finally {
      free(at)
    }
  }
  /** Calls LAPACK's on a lower half. @returns whether it came to its end */
  const lapack = (name: 'cusolverDnDpotrf' | 'cusolverDnDpotri', a: bigint, n: number): boolean => {
    const [length, info] = [[0], new Int32Array(1)]
    const on = [solver(), E.CUBLAS_FILL_MODE_LOWER, n, a, n]
    check('cusolver', `${name}_bufferSize`, ...on, length)
    within(8 * Math.max(1, length[0]), work =>
      within(info.byteLength, at => {
        check('cusolver', name, ...on, work, length[0], at)
        toHost(info, at)
      }),
    )
    if (info[0] < 0) throw new CudaError(name, `a refusal of its argument number ${-info[0]}`, false)
    return info[0] === 0
  }
  const op = (transposed: boolean) => (transposed ? E.CUBLAS_OP_T : E.CUBLAS_OP_N)
  return {
    ...{ allocate, free, toHost, name: `cuSOLVER ${version.join('.')}` },
    toCard: (to, from) => check('cudart', 'cudaMemcpy', to, from, from.byteLength, E.cudaMemcpyHostToDevice),
    factor: (a, n) => lapack('cusolverDnDpotrf', a, n),
    invert: (l, n) => lapack('cusolverDnDpotri', l, n),
    solve(l, n, b, m) {
      const [half, one] = [[E.CUBLAS_SIDE_RIGHT, E.CUBLAS_FILL_MODE_LOWER], Float64Array.of(1)]
      for (const trans of [E.CUBLAS_OP_T, E.CUBLAS_OP_N])
        check('cublas', 'cublasDtrsm_v2', blas(), ...half, trans, E.CUBLAS_DIAG_NON_UNIT, m, n, one, l, n, b, m)
    },
    multiply(m, n, k, alpha, [a, lda, ta], [b, ldb, tb], beta, c) {
      const [by, add] = [Float64Array.of(alpha), Float64Array.of(beta)]
      check('cublas', 'cublasDgemm_v2', blas(), op(ta), op(tb), m, n, k, by, a, lda, b, ldb, add, c, m)
    },
  }
}

/** @throws DeviceError where a function is missing */
function declare(part: Part, { path, handle }: Loaded): Record<string, Call> {
  const declared = Object.entries(CUDA_FUNCTIONS[part]).map(([name, [result, ...types]]) => {
    try {
      return [name, handle.func(name, result, types)]
    } catch (cause) {
      throw new DeviceError(
        'cuda',
        `${path} has no ${name}. Install a newer CUDA, or solve on the host (--blas none).`,
        {
          cause,
        },
      )
    }
  })
  return Object.fromEntries(declared)
}
