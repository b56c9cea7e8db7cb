// Linear algebra by graphs of one operator, on any ONNX Runtime: products, and all else by products.
import { elementType, Graph } from '../../formats/onnx.ts'
import type { Run } from '../graph-runtime.ts'
import { type ArrayOf, values } from '../values.ts'
import { cholesky } from './cholesky.ts'
import { kindOf, type Linalg, multiplyBy } from './linalg.ts'
import { type Gemm, rowsOf } from './matrix.ts'
import { symmetricEigen } from './symmetric-eigen.ts'
import { GraphSum } from './syrk.ts'

/** Rows of a product in float32 at a time: taller ones are a fifth slower, as `a` leaves the cache while `b` passes. */
const ROWS = 1024

export function graphLinalg(run: Run, array?: ArrayOf): Linalg {
  const gemm: Gemm = async (a, b, c, options = {}) => {
    const { transA = false, transB = false, alpha = 1, accumulate = false, kind = kindOf(c) } = options
    const type = elementType(c.data)
    const build = () => {
      const g = new Graph('gemm')
      const inputs = ['a', 'b', ...(accumulate ? ['c'] : [])].map(name => g.input(name, type, [`${name}0`, `${name}1`]))
      const attributes = { transA: transA ? 1 : 0, transB: transB ? 1 : 0, alpha: { float: alpha } }
      g.output('y', g.op('Gemm', inputs, attributes), type, ['y0', 'y1'])
      return g
    }
    const most = type === 'float32' && !transA ? ROWS : c.rows
    for (let from = 0; from < c.rows; from += most) {
      const to = Math.min(c.rows, from + most)
      const [A, B, C] = [transA ? a : rowsOf(a, from, to), b, rowsOf(c, from, to)].map(m =>
        values(m.data, [m.rows, m.columns]),
      )
      const feeds = { a: A, b: B, ...(accumulate ? { c: C } : {}) }
      await run(`${kind} ${type} ${transA} ${transB} ${alpha} ${accumulate}`, build, feeds, { y: C })
    }
  }
  return {
    gemm,
    multiply: multiplyBy(gemm),
    syrk: (n, kind) => new GraphSum(n, kind, run, undefined, array),
    factor: (n, read) => cholesky(gemm, n, read),
    eigh: async a => symmetricEigen(a),
  }
}
