// Matrix products in 8-bit integers: of `x Wᵀ`, each row of x (a token) and each row of W (an output) is rounded to 255 steps of its own.
//   x_ij ≈ s_i a_ij,  s_i = max_j |x_ij| / 127;  W likewise;  y_ik ≈ s_i t_k Σ_j a_ij b_kj, the sum exact (below 66,000 terms)
// CPUs with dot products of bytes (AVX-512 VNNI, AVX VNNI, Arm dot product) take a third of the time of float32 for it. The kernels want x
// unsigned, so 128 is added to its codes. Source: LLM.int8() (arXiv 2208.07339), §2.1, row-wise (“vector-wise”) quantisation.
import { type Engine, type Values, values } from '../engine/engine.ts'
import { UsageError } from '../errors.ts'
import { Graph, type Value } from '../formats/onnx.ts'
import type { Layer } from './linear.ts'

type Floats = Float32Array<ArrayBuffer>

/** W [out, input] for `linearInt8`. */
export interface Int8Weight {
  readonly codes: Values<Int8Array> // [input, out]
  readonly step: Values<Float32Array> // [out]
}

/** `x Wᵀ + b` [n, out]. Its weights become the inputs `<name>.codes` [input, out] and `<name>.step` [out]. */
export const linearInt8: Layer = (g, x, name, out, input, bias) => {
  const { codes, step } = toCodes(g, x, 'uint8')
  const weight = g.input(`${name}.codes`, 'int8', [input, out])
  const weightStep = g.input(`${name}.step`, 'float32', [out])
  const inputs = [codes, weight, g.constant('float32', [1]), weightStep, zero(g, 'uint8')]
  const sums = g.op('com.microsoft.MatMulIntegerToFloat', inputs)
  const y = g.op('Mul', [sums, g.op('Unsqueeze', [step, g.constant('int64', [1])])])
  return bias ? g.op('Add', [y, g.input(`${name}.bias`, 'float32', [out])]) : y
}

const zero = (g: Graph, type: 'uint8' | 'int8') => g.cast(g.constant('int32', [type === 'uint8' ? 128 : 0]), type)

/** Adds the codes of `x` [n, m], and the step of each row [n], NaN where the row has one. No operator here makes another matrix of floats. */
function toCodes(g: Graph, x: Value, type: 'uint8' | 'int8'): { codes: Value; step: Value } {
  const [high, low, sum] = ['ReduceMax', 'ReduceMin', 'ReduceSum'].map(reduction =>
    g.op(reduction, [x, g.constant('int64', [1])], { keepdims: 0 }),
  )
  const largest = g.op('Max', [high, g.op('Neg', [low]), g.constant('float32', [1e-30])])
  const notFinite = g.op('Mul', [sum, g.constant('float32', [0])]) // 0 or NaN: the largest and the least pass over NaNs
  const step = g.op('Add', [g.op('Div', [largest, g.constant('float32', [127])]), notFinite])
  const zeros = g.op('Expand', [zero(g, type), g.op('Shape', [step])])
  return { codes: g.op('QuantizeLinear', [x, step, zeros], { axis: 0 }), step }
}

/** @param weight W [out, input] */
export async function toInt8(engine: Engine, weight: Floats, input: number): Promise<Int8Weight> {
  const out = weight.length / input
  const made = { codes: values(new Int8Array(weight.length), [input, out]), step: values(new Float32Array(out), [out]) }
  await engine.run('int8', weightGraph, { weight: values(weight, [out, input]) }, made)
  return made
}

function weightGraph(): Graph {
  const g = new Graph('int8')
  const { codes, step } = toCodes(g, g.input('weight', 'float32', ['out', 'in']), 'int8')
  g.output('codes', g.op('Transpose', [codes], { perm: [1, 0] }), 'int8', ['in', 'out'])
  g.output('step', step, 'float32', ['out'])
  return g
}

/** Rows and columns of the product that shows whether integers add up. */
const SIZE = 64

/**
 * Whether sums of products of bytes are exact here: ONNX Runtime's kernels for x86 without VNNI cut pairs of them to 16 bits.
 * @throws UsageError where they are not, or are not computed on the CPU
 */
export async function checkInt8(engine: Engine): Promise<void> {
  if (engine.device !== 'cpu')
    throw new UsageError(`products int8 runs on the CPU only, and device is ${engine.device}. Leave one of them out.`)
  const shape = [SIZE, SIZE]
  const ones = new Float32Array(SIZE * SIZE).fill(1)
  const { codes, step } = await toInt8(engine, ones, SIZE)
  const build = () => {
    const g = new Graph('int8 check')
    g.output('y', linearInt8(g, g.input('x', 'float32', shape), 'ones', SIZE, SIZE, false), 'float32', shape)
    return g
  }
  const y = values(new Float32Array(SIZE * SIZE), shape)
  await engine.run('int8 check', build, { x: values(ones, shape), 'ones.codes': codes, 'ones.step': step }, { y })
  if (y.data.some(sum => Math.abs(sum - SIZE) > 0.01))
    throw new UsageError(
      'products int8 needs a CPU that multiplies bytes exactly (x86 with AVX-512 VNNI or AVX VNNI, or Arm), and this one does not. Leave it out.',
    )
}
