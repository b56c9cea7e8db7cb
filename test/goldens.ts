// Cases of the goldens: what they ask for, and how what was chosen is held against them.
import { expect } from 'vitest'
import { type LayerResult, type PruneOptions, plain } from '../src/node.ts'
import { expectNear, expectSameUpToTies, TOLERANCE } from './near.ts'
import type { TinyModel } from './tiny.ts'

const CASES = ['paper-0.3', 'paper-0.2', 'per-head-0.3', 'ffn-0.3-multiple-32', 'paper-0.3-no-restore']
/** Those of a model; beside them `dense`. */
export const casesOf = (name: TinyModel) => (name === 'tiny-opt' ? [...CASES, 'paper-0.3-center'] : CASES)

/** Of those, the ones that are in every run where the CPU computes in one more way. */
export const stands = (name: string) => name === 'paper-0.3' || name === 'per-head-0.3'

const LOGITS_TOLERANCE = 2e-4
/** On all devices. */
const PERPLEXITY_TOLERANCE = 2 * TOLERANCE.perplexity

export interface GoldenCase {
  readonly name: string
  readonly options: { sparsity?: number; scope?: 'ffn'; vo?: 'per-head'; rnd?: number; on?: boolean; center?: boolean }
  readonly perplexity: { readonly 'prose-heldout': number }
  readonly layers?: readonly { v_rows?: number[]; o_error?: number[]; neurons?: number[]; down_error?: number[] }[]
}

export const optionsOf = ({ sparsity, scope, vo, rnd, on, center }: GoldenCase['options']): PruneOptions => ({
  sparsity: sparsity!,
  method: plain({
    scope: scope ?? (vo ? `ffn+${vo}` : 'ffn+ragged'),
    multiple: rnd ?? 1,
    repair: on === false ? 'none' : 'pruned',
    center,
    layout: 'padded',
  }),
  dtype: 'F32',
  seqLen: 256,
})

/** @param scores of each half-block that is cut, in their order */
export function expectChosen(
  { layers, scores }: { readonly layers: readonly LayerResult[]; readonly scores: readonly ArrayLike<number>[] },
  golden: GoldenCase,
): void {
  const left = [...scores]
  layers.forEach((layer, i) => {
    const { v_rows, o_error, neurons, down_error } = golden.layers![i]
    for (const [half, kept, errors] of [
      [layer.attention, v_rows, o_error],
      [layer.ffn, neurons, down_error],
    ] as const) {
      expect(half === undefined).toBe(kept === undefined)
      if (!half) continue
      expectSameUpToTies(half.kept, kept!, Float64Array.from(left.shift()!))
      expectNear(half.errorBefore, errors![0], TOLERANCE.error)
      expectNear(half.errorAfter, errors![1], TOLERANCE.error)
    }
  })
}

/** @param ours logits of the prompt, and perplexity @param theirs logits */
export function expectMeasured(
  ours: { readonly rows: ArrayLike<number>; readonly perplexity: number },
  theirs: Float32Array,
  golden: GoldenCase,
): void {
  expect(ours.rows.length).toBe(theirs.length)
  const worst = theirs.reduce((most, v, i) => Math.max(most, Math.abs(v - ours.rows[i])), 0)
  expect(worst).toBeLessThan(LOGITS_TOLERANCE)
  expectNear(ours.perplexity, golden.perplexity['prose-heldout'], PERPLEXITY_TOLERANCE)
}
