// Linear algebra by a BLAS and LAPACK library of this machine, called through FFI (koffi): products (Dongarra et al.,
// ACM TOMS 16, 1990), factorisations and solves. Calls block, so that JavaScript takes no core from the library's
// threads, which spin while they wait for each other (bench/log.md).
import { UsageError } from '../../base/errors.ts'
import type { EngineOptions } from '../options.ts'
import { type BlasLibrary, HINT, loadBlas, measuredBlas, nameOf, setThreads } from './blas-library.node.ts'
import { kindOf, type Library, multiplyBy } from './linalg.ts'
import { type Gemm, matrix } from './matrix.ts'
import { mirrorUpper } from './scatter.ts'
import { UpperSum } from './syrk.ts'

// Values of the C interface (cblas.h).
const [ROW_MAJOR, NO_TRANS, TRANS, UPPER, NON_UNIT, LEFT] = [101, 111, 112, 121, 131, 141]
/** A row-major upper triangle is a column-major lower one, and LAPACK is column-major. */
const LAPACK_LOWER = 'L'

/** The library of the options. @default one that was measured to be faster, if installed @throws UsageError */
export function chooseBlas({ device = 'cpu', threads, blas }: EngineOptions): Library | undefined {
  if (blas === false || blas === 'none') return undefined
  if (blas === undefined) return device === 'cpu' ? bindMeasured(threads) : undefined
  if (device !== 'cpu') throw new UsageError(`blas works on the CPU, and device is "${device}". Leave one of them out.`)
  return bind(loadBlas(blas), threads)
}

function bindMeasured(threads?: number): Library | undefined {
  const lib = measuredBlas()
  try {
    return lib && bind(lib, threads)
  } catch {
    return undefined // without LAPACK
  }
}

/** @throws UsageError where a routine is missing */
function bind(lib: BlasLibrary, threads?: number): Library {
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
  /** Whether the routine succeeded. */
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
