// A basis for the value channels in which the first k channels of each KV head are the best k directions, for every k.
// A change of basis B of a KV head loses nothing: attention mixes tokens, so that V' = B V and O'_i = O_i Bᵀ for its r
// query heads give the same output.
//   S = Σ_i O_iᵀ O_i,  Ḡ = mean_i G_ii = Fᵀ F,  F S Fᵀ = Uᵀ diag(σ²) U,  B = Gram–Schmidt of the rows of U F⁻ᵀ
// With A the outputs of a head, Ḡ = AᵀA, the best rank-k approximation of A Oᵀ is A Bᵀ C where the rows of B span the
// rows of U_k F⁻ᵀ (Eckart & Young, Psychometrika 1936, in the metric Ḡ), and Σ_{j > k} σ_j² is its error: exact for r =
// 1, by the mean Ḡ for grouped queries.
import type { Engine } from '../../engine/engine.ts'
import { type Matrix, matrix, rowsOf } from '../../engine/linalg/matrix.ts'
import { transposed } from '../../engine/linalg/scatter.ts'
import { dot } from '../../engine/linalg/sums.ts'
import type { Floats } from '../../formats/tensors.ts'
import type { PrunedOutput } from '../../forward/runner.ts'
import type { HalfWeights, LinearWeights } from '../../forward/weights.ts'
import { type AttentionHalf, groupSize } from '../../model/half-block.ts'
import { countedRows, type Statistics } from '../statistics/gram.ts'
import { allColumns } from './top.ts'

/** The least eigenvalue of Ḡ, as a part of the largest: directions that never fire must not divide by zero. */
const FLOOR = 1e-9

interface Rotation {
  /** B [e, e] of each KV head, orthonormal rows. */
  readonly bases: readonly Matrix[]
  /** σ² of each value row [k·e], the cost of its removal, descending in each KV head. */
  readonly scores: Float64Array<ArrayBuffer>
}

/** An attention half-block in the basis of its rotation. */
export interface RotatedValues extends Rotation {
  readonly weights: HalfWeights
  readonly statistics: Statistics
}

export async function rotateValues(
  engine: Engine,
  half: AttentionHalf,
  weights: HalfWeights,
  statistics: Statistics,
): Promise<RotatedValues> {
  const { width, gap } = statistics
  const rotation = await valueRotation(engine, half, countedRows(weights.output.weight, statistics), statistics)
  const { bases } = rotation
  const perHead = bases.flatMap(basis => new Array<Matrix>(groupSize(half)).fill(basis))
  const [q, k, v] = weights.inputs
  const turned = transposed(await rotatedRows(engine, perHead, statistics.gram), width) // T G, with T = diag(B)
  const output = await rotatedRows(engine, perHead, transposed(weights.output.weight, width))
  const value = {
    weight: await rotatedRows(engine, bases, v.weight),
    bias: v.bias && (await rotatedRows(engine, bases, v.bias)),
  }
  return {
    ...rotation,
    weights: {
      ...weights,
      inputs: [q, k, value],
      output: { ...weights.output, weight: transposed(output, half.output.out) },
    },
    statistics: {
      ...statistics,
      gram: await rotatedRows(engine, perHead, turned),
      mean: Float64Array.from(await rotatedRows(engine, perHead, Float32Array.from(statistics.mean))),
      gap: gap && { ...gap, cross: await rotatedRows(engine, perHead, gap.cross) },
    },
  }
}

/** o_proj [d, h·k'] on the first k' channels of each head → [d, h·e] on the columns that `H` has, all of them. */
export async function unrotateOutput(
  engine: Engine,
  { heads, kvHeads, headSize: e, output: { out: d } }: AttentionHalf,
  { bases }: RotatedValues,
  { weight, bias }: LinearWeights,
): Promise<PrunedOutput> {
  const width = weight.length / d
  const kept = width / heads
  const full = new Float32Array(d * heads * e)
  for (let head = 0; head < heads; head++) {
    const basis = rowsOf(bases[Math.floor((head * kvHeads) / heads)], 0, kept)
    const product = matrix(d, e)
    await engine.linalg.gemm(columnBlock(weight, d, width, head * kept, kept), basis, product)
    for (let o = 0; o < d; o++) full.set(product.data.subarray(o * e, (o + 1) * e), (o * heads + head) * e)
  }
  return { output: { weight: full, bias }, columns: allColumns(heads * e) }
}

/** @param output weight of o_proj [d, h·e] */
async function valueRotation(
  engine: Engine,
  half: AttentionHalf,
  output: Floats,
  { gram, width }: Statistics,
): Promise<Rotation> {
  const { kvHeads, headSize: e } = half
  const d = half.output.out
  const group = groupSize(half)
  const bases: Matrix[] = []
  const scores = new Float64Array(kvHeads * e)
  for (let g = 0; g < kvHeads; g++) {
    const energy = matrix(e, e) // S
    const mean = matrix(e, e) // Ḡ
    for (let head = g * group; head < (g + 1) * group; head++) {
      const block = columnBlock(output, d, width, head * e, e)
      await engine.linalg.gemm(block, block, energy, { transA: true, accumulate: true })
      for (let i = 0; i < e; i++)
        for (let j = 0; j < e; j++) mean.data[i * e + j] += gram[(head * e + i) * width + head * e + j] / group
    }
    const { values: lambda, vectors: axes } = await engine.linalg.eigh(mean)
    const roots = lambda.map(l => Math.sqrt(Math.max(l, FLOOR * lambda[0])) || 1) // all zero: any basis will do
    const F = scaledRows(axes, roots)
    const half = matrix(e, e)
    await engine.linalg.gemm(F, energy, half)
    const metric = matrix(e, e)
    await engine.linalg.gemm(half, F, metric, { transB: true })
    const { values, vectors } = await engine.linalg.eigh(metric)
    const basis = matrix(e, e)
    const inverses = roots.map(root => 1 / root)
    await engine.linalg.gemm(vectors, scaledRows(axes, inverses), basis)
    orthonormalise(basis)
    bases.push(basis)
    scores.set(values, g * e)
  }
  return { bases, scores }
}

/** `diag(bases) X` for `X` [Σ e, m]. */
async function rotatedRows(engine: Engine, bases: readonly Matrix[], x: Floats): Promise<Floats> {
  const rotated = new Float32Array(x.length)
  const size = x.length / bases.length
  for (const [i, basis] of bases.entries()) {
    const block = matrix(basis.rows, size / basis.rows, Float64Array.from(x.subarray(i * size, (i + 1) * size)))
    const product = matrix(block.rows, block.columns)
    await engine.linalg.gemm(basis, block, product)
    rotated.set(product.data, i * size)
  }
  return rotated
}

const scaledRows = ({ data, rows, columns }: Matrix, scales: Float64Array): Matrix =>
  matrix(
    rows,
    columns,
    data.map((v, i) => v * scales[Math.floor(i / columns)]),
  )

/** Modified Gram–Schmidt, each row twice (Giraud et al., Numer. Math. 2005). Rows are independent. */
function orthonormalise({ data, rows, columns }: Matrix): void {
  const row = (i: number) => data.subarray(i * columns, (i + 1) * columns)
  for (let i = 0; i < rows; i++) {
    const x = row(i)
    for (let pass = 0; pass < 2; pass++) {
      const length = Math.sqrt(dot(x, x))
      for (let c = 0; c < columns; c++) x[c] /= length
      for (let j = 0; j < i; j++) {
        const y = row(j)
        const part = dot(x, y)
        for (let c = 0; c < columns; c++) x[c] -= part * y[c]
      }
    }
    const length = Math.sqrt(dot(x, x))
    for (let c = 0; c < columns; c++) x[c] /= length
  }
}

/** Columns `from` to `from + count` of [rows, width] in float64. */
function columnBlock(data: Floats, rows: number, width: number, from: number, count: number): Matrix {
  const block = matrix(rows, count)
  for (let i = 0; i < rows; i++) block.data.set(data.subarray(i * width + from, i * width + from + count), i * count)
  return block
}
