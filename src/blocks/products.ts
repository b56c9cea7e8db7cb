// How the streams are multiplied by weights.
import type { Engine } from '../engine/engine.ts'
import { checkInt8 } from './int8.ts'

export const PRODUCTS = ['float32', 'bf16', 'int8'] as const

export type Products = (typeof PRODUCTS)[number]

/** @throws UsageError where the engine has no such products */
export async function checkProducts(engine: Engine, products: Products): Promise<void> {
  if (products === 'int8') await checkInt8(engine)
  if (products === 'bf16') engine.bf16()
}
