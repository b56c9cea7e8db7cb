// Float32 matrix products on the engine, where G and what comes of it are float32 already.
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'

type Floats = Float32Array<ArrayBuffer>

/** `a b`, with `a` [rows, n] and `b` [n, m]. */
export async function multiply(engine: Engine, a: Floats, b: Floats, rows: number): Promise<Floats> {
  const n = a.length / rows
  const y = new Float32Array((rows * b.length) / n)
  const feeds = { a: values(a, [rows, n]), b: values(b, [n, b.length / n]) }
  await engine.run('product', productGraph, feeds, { y: values(y, [rows, b.length / n]) })
  return y
}

function productGraph(): Graph {
  const g = new Graph('product')
  const [a, b] = ['a', 'b'].map(name => g.input(name, 'float32', [`${name}0`, `${name}1`]))
  g.output('y', g.op('MatMul', [a, b]), 'float32', ['a0', 'b1'])
  return g
}
