// Float64 matrix products on the engine: `C ← C + α·op(A)·op(B)`, in place on row-major views.
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'

/** A row-major matrix; `data` may be a view of whole rows of a larger one. */
export interface Matrix {
  readonly data: Float64Array<ArrayBuffer>
  readonly rows: number
  readonly columns: number
}

export const matrix = (rows: number, columns: number, data = new Float64Array(rows * columns)): Matrix => ({
  data,
  rows,
  columns,
})

/** Rows `from` (included) to `to` (excluded): a view. */
export const rowsOf = (m: Matrix, from: number, to = m.rows): Matrix =>
  matrix(to - from, m.columns, m.data.subarray(from * m.columns, to * m.columns))

export interface GemmOptions {
  readonly transA?: boolean
  readonly transB?: boolean
  /** @default 1 */
  readonly alpha?: 1 | -1
  /** Add to `c` instead of overwriting it. @default false */
  readonly accumulate?: boolean
}

export async function gemm(engine: Engine, a: Matrix, b: Matrix, c: Matrix, options: GemmOptions = {}): Promise<void> {
  const { transA = false, transB = false, alpha = 1, accumulate = false } = options
  const { blas } = engine
  if (blas) {
    const operands = [
      { ...a, transposed: transA },
      { ...b, transposed: transB },
    ] as const
    return engine.timed('gemm64', () => blas.gemm(...operands, c.data, alpha, accumulate ? 1 : 0))
  }
  const build = () => {
    const g = new Graph('gemm')
    const inputs = ['a', 'b', ...(accumulate ? ['c'] : [])].map(name =>
      g.input(name, 'float64', [`${name}0`, `${name}1`]),
    )
    const attributes = { transA: transA ? 1 : 0, transB: transB ? 1 : 0, alpha: { float: alpha } }
    g.output('y', g.op('Gemm', inputs, attributes), 'float64', ['y0', 'y1'])
    return g
  }
  const [A, B, C] = [a, b, c].map(m => values(m.data, [m.rows, m.columns]))
  await engine.run(
    `gemm64 ${transA} ${transB} ${alpha} ${accumulate}`,
    build,
    { a: A, b: B, ...(accumulate ? { c: C } : {}) },
    { y: C },
  )
}
