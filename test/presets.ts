// Presets where a device computes, held against the same where the CPU does: on trained models, on few short windows.
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { PruneResult } from '../src/result/result.ts'
import type { Windows } from '../src/text/windows.ts'
import { expectNear, expectSameUpToTies } from './near.ts'
import { goldenOf, type TinyModel } from './tiny.ts'

/** Of 4 layers: with norms of heads, and with norms after half-blocks, too, and layers that see a window. */
export const TRAINED = ['tiny-qwen3', 'tiny-gemma3']
export const trainedModel = (name: string) => fileURLToPath(new URL(`fixtures/trained/${name}`, import.meta.url))

/** Tokens of a window. */
export const LENGTH = 128
/** Of errors, as parts of the CPU's. */
const NEAR = 2e-3

/** 4 windows of a golden, of which 2 are checked, and 2 others. tiny-llama's tokenizer is that of the trained models. */
export function shortWindows(of: TinyModel = 'tiny-llama'): Windows {
  const rows: number[][] = goldenOf(of).calibration_windows
  const taken = (from: number, to: number) => rows.slice(from, to).map(ids => Int32Array.from(ids.slice(0, LENGTH)))
  return {
    ...{ seqLen: LENGTH, windows: taken(0, 4), heldOut: taken(4, 6) },
    texts: [{ name: 'golden', tokens: 0, available: 6, used: 4, heldOut: 2 }],
  }
}

/** What a run has told of half-blocks, and found. */
export interface Chosen extends Pick<PruneResult, 'layers'> {
  readonly selected: readonly {
    readonly half: string
    readonly scores: ArrayLike<number>
    readonly kept: ArrayLike<number>
  }[]
}

/** @param floor what errors may differ by, however small they are */
export function expectSameChoice(found: Chosen, expected: Chosen, floor?: number): void {
  expect(found.selected.map(({ half }) => half)).toEqual(expected.selected.map(({ half }) => half))
  for (const [i, { scores, kept }] of expected.selected.entries())
    expectSameUpToTies(Array.from(found.selected[i].kept), Array.from(kept), Float64Array.from(scores))
  for (const [layer, halves] of expected.layers.entries())
    for (const [kind, half] of Object.entries(halves))
      for (const error of ['errorBefore', 'errorAfter', 'heldOutError'] as const)
        if (half) expectNear(found.layers[layer][kind as 'ffn']![error]!, half[error]!, NEAR, floor)
}
