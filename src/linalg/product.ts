// Float32 matrix products on the engine, where G and what comes of it are float32 already.
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'

type Floats = Float32Array<ArrayBuffer>

/** `a b`, with `b` [n, columns] and `a` [.., n]; or `aᵀ b`, with `a` [n, ..]. */
export async function multiply(engine: Engine, a: Floats, b: Floats, columns: number, transA = false): Promise<Floats> {
  const n = b.length / columns
  const rows = a.length / n
  const y = new Float32Array(rows * columns)
  const feeds = { a: values(a, transA ? [n, rows] : [rows, n]), b: values(b, [n, columns]) }
  await engine.run(`product ${transA}`, () => productGraph(transA), feeds, { y: values(y, [rows, columns]) })
  return y
}

function productGraph(transA: boolean): Graph {
  const g = new Graph('product')
  const [a, b] = ['a', 'b'].map(name => g.input(name, 'float32', [`${name}0`, `${name}1`]))
  g.output('y', g.op('Gemm', [a, b], { transA: transA ? 1 : 0 }), 'float32', ['y0', 'b1'])
  return g
}
