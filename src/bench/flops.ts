// Work of one run, counted from the shapes: a multiplication and an addition are 2 FLOPs. Keys are the kinds of graph that the engine
// times. One pass is what no exact method can leave out: each window once through every layer, and one Gram matrix a half-block.
import { type Architecture, halfBlocks, type Linear } from '../model/architecture.ts'
import type { LayerResult } from '../result.ts'

export type Flops = Readonly<Record<string, number>>

/**
 * One pass of `tokens` tokens in windows of `seqLen` through all layers, at full widths. Scores and weighted sums of the attention are
 * causal, so half of them count; a Gram matrix is symmetric, so half of it counts.
 */
export function passFlops(a: Architecture, tokens: number, seqLen: number): Flops {
  const [attention, ffn] = halfBlocks(a, 0)
  const linear = (layers: readonly Linear[]) => layers.reduce((n, l) => n + 2 * l.in * l.out, 0)
  const perToken = {
    attention: linear(attention.inputs) + 2 * seqLen * a.heads * a.headSize,
    ffn: linear(ffn.inputs),
    gram: attention.output.in ** 2 + ffn.output.in ** 2,
    residual: linear([attention.output, ffn.output]),
  }
  return Object.fromEntries(Object.entries(perToken).map(([kind, n]) => [kind, n * tokens * a.layers]))
}

/**
 * The repairs after it: `W_P G_PM` for right-hand sides, half of `W_MᵀW_M` and `W_PᵀW_P` for errors in float32, the Cholesky factor of
 * `G_MM` and two triangular solves in float64.
 */
export function repairFlops(a: Architecture, layers: readonly LayerResult[]): Flops {
  const flops = { product: 0, energy: 0, gemm64: 0 }
  const add = ({ in: width, out }: Linear, kept: number) => {
    flops.product += 2 * out * (width - kept) * kept
    flops.energy += out * (kept ** 2 + (width - kept) ** 2)
    flops.gemm64 += kept ** 3 / 3 + 2 * out * kept ** 2
  }
  const [{ output: o }, { output: down }] = halfBlocks(a, 0)
  for (const { attention, ffn } of layers) {
    if (attention) add(o, attention.kept.length * (a.heads / a.kvHeads))
    if (ffn) add(down, ffn.kept.length)
  }
  return flops
}
