// A product whose entries are known: what a driver gets wrong, or cannot do, shows here, before a long run.
import { Graph } from '../formats/onnx.ts'
import { type Engine, values } from './engine.ts'

const TRIED = 64

/**
 * Tries an engine, such as one on the GPU of a page, by a product in float32 and one in float64.
 * @throws Error that says what it gets wrong, or what its runtime throws
 */
export async function tryEngine(engine: Engine): Promise<void> {
  for (const [type, Values] of [
    ['float32', Float32Array],
    ['float64', Float64Array],
  ] as const) {
    const square = (value: number) => values(new Values(TRIED * TRIED).fill(value), [TRIED, TRIED])
    const y = square(0)
    await engine.run(`try ${type}`, () => tryGraph(type), { a: square(1), b: square(2) }, { y })
    if (y.data.some((value: number) => Math.abs(value - 2 * TRIED) > 1e-2 * TRIED))
      throw new Error(`a product in ${type} is wrong`)
  }
}

function tryGraph(type: 'float32' | 'float64'): Graph {
  const g = new Graph('try')
  const [a, b] = ['a', 'b'].map(name => g.input(name, type, [`${name}0`, `${name}1`]))
  g.output('y', g.op('MatMul', [a, b]), type, ['a0', 'b1'])
  return g
}
