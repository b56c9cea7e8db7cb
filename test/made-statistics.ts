// Statistics of activations that a test makes, summed in float64.
import type { Statistics } from '../src/method/statistics/gram.ts'

/** Aᵀ B in float64 for row-major `a` [n, p], `b` [n, q]. */
export function product(a: ArrayLike<number>, b: ArrayLike<number>, n: number): Float64Array<ArrayBuffer> {
  const [p, q] = [a.length / n, b.length / n]
  const result = new Float64Array(p * q)
  for (let t = 0; t < n; t++)
    for (let i = 0; i < p; i++) for (let j = 0; j < q; j++) result[i * q + j] += a[t * p + i] * b[t * q + j]
  return result
}

/** @param h activations [tokens, width] @param gap αD [tokens, out] */
export function statisticsOf(h: ArrayLike<number>, tokens: number, gap?: ArrayLike<number>): Statistics {
  const ones = new Float64Array(tokens).fill(1 / tokens)
  return {
    width: h.length / tokens,
    tokens,
    gram: Float32Array.from(product(h, h, tokens)),
    mean: product(ones, h, tokens),
    gap: gap && {
      cross: Float32Array.from(product(h, gap, tokens)),
      mean: product(ones, gap, tokens),
      energy: Array.from(gap).reduce((sum, v) => sum + v * v, 0),
    },
  }
}
