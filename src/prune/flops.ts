// Work of a run, from the shapes: a multiplication and an addition are 2 FLOPs. Keys are kinds of graph that the engine
// times. No exact method does with less than a pass: each window through every layer, a Gram matrix a half-block.
import { total } from '../base/clock.ts'
import type { Architecture } from '../model/architecture.ts'
import { expertCount, groupSize, hiddenWidth, type Linear } from '../model/half-block.ts'
import type { ResolvedOptions } from '../options/options.ts'
import type { Plan } from '../options/plan.ts'
import type { LayerResult } from '../result/result.ts'

export type Flops = Readonly<Record<string, number>>

/**
 * One pass of `tokens` tokens in windows of `seqLen` through all layers, at full widths. Half of the causal scores and
 * weighted sums of attention count, and half of a symmetric Gram matrix.
 */
export function passFlops(a: Architecture, tokens: number, seqLen: number): Flops {
  const flops = { attention: 0, ffn: 0, gram: 0, residual: 0 }
  const linear = (layers: readonly Linear[]) => layers.reduce((n, l) => n + 2 * l.in * l.out, 0) * tokens
  for (const half of a.halves) {
    const times = half.kind === 'ffn' ? (half.experts?.active ?? 1) : 1 // a token goes to so many
    flops[half.kind] += times * linear(half.inputs)
    if (half.kind === 'attention')
      flops.attention += 2 * Math.min(seqLen, half.window ?? seqLen) * hiddenWidth(half) * tokens
    flops.gram += times * half.output.in ** 2 * tokens
    flops.residual += times * linear([half.output])
  }
  return flops
}

/** Of the repair of one output layer, of which so many columns stay. */
const solveFlops = ({ in: width, out }: Linear, kept: number) => ({
  product: 2 * out * (width - kept) * kept,
  energy: out * (kept ** 2 + (width - kept) ** 2),
  gemm64: kept ** 3 / 3 + 2 * out * kept ** 2,
})

/** How many columns stay of each half-block that is cut: of a result, or of a plan. */
export type Kept = { readonly [Half in keyof LayerResult]: { readonly kept: { readonly length: number } } }

/**
 * The repairs: `W_P G_PM` for right-hand sides and half of `W_MᵀW_M` and `W_PᵀW_P` for errors in float32; the Cholesky
 * factor of `G_MM` and two triangular solves in float64.
 */
export function repairFlops(a: Architecture, layers: readonly Kept[]): Flops {
  const flops = { product: 0, energy: 0, gemm64: 0 }
  const add = (output: Linear, kept: number) => {
    const { product, energy, gemm64 } = solveFlops(output, kept)
    flops.product += product
    flops.energy += energy
    flops.gemm64 += gemm64
  }
  for (const half of a.halves) {
    if (expertCount(half) > 0) continue // results say which experts stay
    const kept = layers[half.layer]?.[half.kind]?.kept.length // of layers that all stay
    if (kept !== undefined) add(half.output, half.kind === 'ffn' ? kept : kept * groupSize(half))
  }
  return flops
}

/**
 * Work of a run before it begins, in float32 and float64, to be divided by the rates of `product-rate.ts`: a pass of
 * each stream, the products of writing its own text, the repairs, and the logits of both models on held-out windows.
 */
export function runFlops(
  a: Architecture,
  { widths }: Pick<Plan, 'widths'>,
  { windows, heldOut, seqLen }: Pick<ResolvedOptions, 'windows' | 'heldOut' | 'seqLen'>,
  writes: boolean,
): { readonly float32: number; readonly float64: number } {
  const tokens = (windows + heldOut) * seqLen
  const { gram, ...pass } = passFlops(a, tokens, seqLen)
  const one = total(pass)
  const { before, after } = widths
  const kept = after.map(({ ffn, value, kvHeads = before.kvHeads ?? 1 }): Kept => {
    const attention = value < before.value ? { attention: { kept: { length: value * kvHeads } } } : {}
    return { ...attention, ...(ffn < before.ffn && { ffn: { kept: { length: ffn } } }) }
  })
  const { gemm64, ...repairs } = repairFlops(a, kept)
  const own = writes ? one + headFlops(a, tokens) : 0
  const losses = 2 * headFlops(a, heldOut * seqLen)
  return { float32: 2 * one + gram + total(repairs) + own + losses, float64: gemm64 }
}

/** Logits of `tokens` tokens. */
export const headFlops = (a: Architecture, tokens: number): number => 2 * tokens * a.hiddenSize * a.vocabularySize

/**
 * Work in float32 of the distance between both models on held-out windows (`distanceOn`): a pass of each, here at full
 * widths; logits of the dense model for its perplexity and again beside those of the other.
 */
export function distanceFlops(
  a: Architecture,
  { heldOut, seqLen }: Pick<ResolvedOptions, 'heldOut' | 'seqLen'>,
): number {
  const tokens = heldOut * seqLen
  const { gram: _, ...pass } = passFlops(a, tokens, seqLen)
  return 2 * total(pass) + 3 * headFlops(a, tokens)
}
