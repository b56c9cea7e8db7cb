// How the streams are multiplied by weights.
import type { Engine, Precision } from '../engine/engine.ts'
import { checkInt8 } from './int8.ts'

export const PRODUCTS = ['float32', 'bf16', 'int8'] as const

export type Products = (typeof PRODUCTS)[number]

/** Of the engine: products in 8 bits are operators of graphs in float32. */
export const precisionOf = (products: Products): Precision => (products === 'bf16' ? 'bf16' : 'float32')

/** @throws UsageError where the engine has no such products */
export async function checkProducts(engine: Engine, products: Products = 'float32'): Promise<void> {
  if (products === 'int8') await checkInt8(engine)
  engine.inPrecision(precisionOf(products))
}
