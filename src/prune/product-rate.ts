// How fast the engine multiplies matrices here: the work of a run (flops.ts) over it is the time foretold.
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'

/** `[m, k] × [k, n]`, the second as [n, k], as weights are; small enough that a page may wait for it. */
const SHAPES = { float32: [512, 1024, 1024], float64: [384, 384, 384] } as const
type NumberType = keyof typeof SHAPES

/** A product runs at least so often and, where it is short, for so long. */
const MIN_RUNS = 3
const MIN_SECONDS = 0.5

/** 10⁹ FLOPs a second in both types, the best of the runs, in a second or two. */
export const shortRates = async (engine: Engine): Promise<Readonly<Record<NumberType, number>>> => ({
  float32: await measure(engine, 'float32'),
  float64: await measure(engine, 'float64'),
})

async function measure(engine: Engine, type: NumberType): Promise<number> {
  const [m, k, n] = SHAPES[type]
  const array = (length: number) => (type === 'float32' ? new Float32Array(length) : new Float64Array(length))
  const filled = (rows: number, columns: number) =>
    values(
      array(rows * columns).map((_, i) => ((i % 17) - 8) / 8),
      [rows, columns],
    )
  const feeds = { a: filled(m, k), b: filled(n, k) }
  const outputs = { y: values(array(m * n), [m, n]) }
  const run = () => engine.run(`rate ${type}`, () => rateGraph(type), feeds, outputs)
  await run() // makes the session, touches the memory
  let best = Number.POSITIVE_INFINITY
  const started = performance.now()
  for (let runs = 0; runs < MIN_RUNS || performance.now() - started < 1000 * MIN_SECONDS; runs++) {
    const before = performance.now()
    await run()
    best = Math.min(best, performance.now() - before)
  }
  return (2 * m * k * n) / best / 1e6
}

function rateGraph(type: NumberType): Graph {
  const g = new Graph('rate')
  const [a, b] = ['a', 'b'].map(name => g.input(name, type, [`${name}0`, `${name}1`]))
  g.output('y', g.op('Gemm', [a, b], { transB: 1 }), type, ['a0', 'b0'])
  return g
}
