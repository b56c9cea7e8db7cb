// Which columns go, by chance: a method must be better. Numbers from mulberry32, with a seed for each half-block.
import { randomNumbers } from '../../base/random.ts'
import type { HalfBlock } from '../../model/half-block.ts'

/** 2³² / φ: neighbours have seeds far apart. */
const STRIDE = 0x9e3779b9

export function randomScores(seed: number, { layer, kind }: HalfBlock, width: number): Float64Array<ArrayBuffer> {
  const random = randomNumbers(seed + STRIDE * (2 * layer + (kind === 'ffn' ? 1 : 0)))
  return Float64Array.from({ length: width }, random)
}
