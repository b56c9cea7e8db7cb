// How fast the engine multiplies matrices here: what the stages of a run are held against.
import { type Engine, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import { type Architecture, halfBlocks } from '../model/architecture.ts'

/** `[m, k] × [k, n]`, the second as [n, k], as weights are. */
export type Product = readonly [m: number, k: number, n: number]

export interface ProductRate {
  readonly type: 'float32' | 'float64'
  readonly shape: Product
  /** 10⁹ FLOPs a second: the best of the runs. */
  readonly gflops: number
}

const LARGE: Product = [2048, 2048, 2048]
/** Float64 is slower and soon at its rate. */
const LARGE_64: Product = [1024, 1024, 1024]
/** Rows of the products with weights: about what a run of the pipeline has. */
const TOKENS = 2048
/** A product runs at least so often and, where it is short, for so long. */
const MIN_RUNS = 3
const MIN_SECONDS = 0.5

/** The rates at a large square product in float32 and float64, and at the model's own shapes. */
export async function measureProducts(engine: Engine, a: Architecture): Promise<ProductRate[]> {
  const linears = halfBlocks(a, 0).flatMap(half => [half.inputs[0], half.output])
  const shapes = new Map(linears.map(l => [`${l.in} ${l.out}`, [TOKENS, l.in, l.out] as const]))
  const rates = [await measure(engine, 'float32', LARGE)]
  for (const shape of shapes.values()) rates.push(await measure(engine, 'float32', shape))
  return [...rates, await measure(engine, 'float64', LARGE_64)]
}

/** A product small enough that a page may wait for it. */
const SHORT: Product = [512, 1024, 1024]
const SHORT_64: Product = [384, 384, 384]

/** 10⁹ FLOPs a second in both types, in a second or two. */
export async function shortRates(engine: Engine): Promise<Readonly<Record<ProductRate['type'], number>>> {
  const { gflops: float32 } = await measure(engine, 'float32', SHORT)
  return { float32, float64: (await measure(engine, 'float64', SHORT_64)).gflops }
}

async function measure(engine: Engine, type: ProductRate['type'], shape: Product): Promise<ProductRate> {
  const [m, k, n] = shape
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
  return { type, shape, gflops: (2 * m * k * n) / best / 1e6 }
}

function rateGraph(type: ProductRate['type']): Graph {
  const g = new Graph('rate')
  const [a, b] = ['a', 'b'].map(name => g.input(name, type, [`${name}0`, `${name}1`]))
  g.output('y', g.op('Gemm', [a, b], { transB: 1 }), type, ['a0', 'b0'])
  return g
}
