import type { Floats } from '../../formats/tensors.ts'

/** `sums ← sums + more`, as two accumulators are put together. */
export function addTo(sums: Float32Array, more: Float32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] += more[i]
}

/** `⟨a, b⟩`, summed in float64. */
export function dot(a: Floats | Float64Array, b: Floats | Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i]
  return sum
}
