/** `sums ← sums + more`, as two accumulators are put together. */
export function addTo(sums: Float32Array, more: Float32Array): void {
  for (let i = 0; i < sums.length; i++) sums[i] += more[i]
}
