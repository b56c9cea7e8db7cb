// What a prune of tiny-llama by `plain` moves between this machine and a device, whichever reaches it: Node or a page.
import { expect } from 'vitest'
import type { PruneResult } from '../src/result/result.ts'

/** Neurons of a layer of tiny-llama. */
export const FFN = 384

type Moving = Pick<PruneResult, 'layers' | 'moved'>

/** A layer moves the same for any text, but for sums and places of a batch, which `two` has more than `one`. */
export function expectSameForAnyText(one: Moving, two: Moving): void {
  expect(two.moved!.layers.length).toBe(two.layers.length)
  for (const [layer, { ffn }] of two.layers.entries()) {
    if (layer === 0) continue // the rows go over with it
    const [before, after] = [one, two].map(({ moved }) => moved!.layers[layer])
    expect(after.fromDevice - before.fromDevice).toBe(4 * FFN) // Σ H
    expect(after.toDevice - before.toDevice).toBe(4 * ffn!.kept.length) // which columns are left
  }
  for (const way of ['toDevice', 'fromDevice'] as const)
    expect(two.moved![way]).toBeGreaterThanOrEqual(two.moved!.layers.reduce((bytes, layer) => bytes + layer[way], 0))
}
