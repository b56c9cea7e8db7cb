// Float32 matrix products on the engine, where G and what comes of it are float32 already.

import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'

/** Rows that a product makes at once: taller ones are a fifth slower, as `a` leaves the cache while `b` passes. */
const ROWS = 1024

/** `a b`, with `a` [.., n] and `b` [n, columns]. */
export async function multiply(engine: Engine, a: Floats, b: Floats, columns: number): Promise<Floats> {
  const n = b.length / columns
  const rows = a.length / n
  const y = new Float32Array(rows * columns)
  const { blas } = engine
  if (blas) {
    const operands = [
      { data: a, rows, columns: n },
      { data: b, rows: n, columns },
    ] as const
    await engine.timed('product', () => blas.gemm(...operands, y, 1, 0))
    return y
  }
  for (let from = 0; from < rows; from += ROWS) {
    const to = Math.min(rows, from + ROWS)
    const feeds = { a: values(a.subarray(from * n, to * n), [to - from, n]), b: values(b, [n, columns]) }
    const part = values(y.subarray(from * columns, to * columns), [to - from, columns])
    await engine.run('product', productGraph, feeds, { y: part })
  }
  return y
}

function productGraph(): Graph {
  const g = new Graph('product')
  const [a, b] = ['a', 'b'].map(name => g.input(name, 'float32', [`${name}0`, `${name}1`]))
  g.output('y', g.op('Gemm', [a, b]), 'float32', ['a0', 'b1'])
  return g
}
