// Random numbers that a seed repeats: of sampled text, of the method random, of made models.

/** Uniform numbers in [0, 1) from a seed: mulberry32, which passes the usual tests and is three lines. */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}
