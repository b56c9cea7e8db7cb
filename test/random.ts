/** Deterministic values in [-1, 1). */
export function random(length: number, seed: number): Float32Array<ArrayBuffer> {
  let state = seed + 1
  return Float32Array.from({ length }, () => (state = (state * 48271) % 2147483647) / 1073741823.5 - 1)
}
