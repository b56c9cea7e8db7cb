// What goes beyond the paper, against a second statement of it in PyTorch (test/fixtures/quality/make.py), on the tiny models.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { describe, expect, test } from 'vitest'
import { best, plain, prune } from '../src/node.ts'

import { perplexity } from './evaluation.ts'
import { finish } from './finish.ts'
import { expectNear, TOLERANCE } from './near.ts'
import { someOf } from './nightly.ts'
import { engineAndFolder, withModel } from './opened.ts'
import { asWindows, goldenOf, TINY_MODELS, type TinyModel } from './tiny.ts'

interface OracleHalf {
  readonly kept: readonly number[] | null
  readonly errors: readonly [before: number, after: number]
}

interface OracleCase {
  readonly model: TinyModel
  readonly case: string
  readonly options: {
    readonly vo?: 'per-head' | 'rotate'
    readonly score?: 'eliminate'
    readonly target?: 'dense'
    readonly inputs?: 'aligned'
    readonly allocate?: 'sensitivity'
    readonly center?: boolean
  }
  readonly probeTokens?: number
  readonly sensitivity?: readonly { layer: number; kind: string; kl: number; costs: Record<string, number> }[]
  readonly layers: readonly { attention?: OracleHalf; ffn?: OracleHalf }[]
  readonly widths: readonly [ffn: number, value: number][]
  readonly perplexity: number
}

const oracle: { sparsity: number; cases: OracleCase[] } = JSON.parse(
  readFileSync(fileURLToPath(new URL('fixtures/quality/oracle.json', import.meta.url)), 'utf8'),
)

function methodOf({ options: { vo, score, target, inputs, allocate, center }, probeTokens }: OracleCase) {
  const parts = {
    scope: `ffn+${vo ?? 'ragged'}`,
    score: score ?? 'column',
    repair: inputs ?? target ?? 'pruned',
    center,
    multiple: 1,
    layout: 'compact',
  } as const
  // As the oracle has them; named, they hold for as few tokens as it has.
  const asGiven = { damp: 0.01, ...(parts.repair !== 'pruned' && { alpha: 0.5 }) }
  return allocate ? best({ ...parts, probeTokens, ...asGiven }) : plain({ ...parts, ...asGiven })
}

/** Columns with almost equal scores may change places where G is rounded to float32. */
const OTHER_COLUMNS = 0.02

const { engine, folder } = engineAndFolder()

const perplexityOn = (rows: number[][], output: string) =>
  withModel(output, async model => (await finish(perplexity(model, engine, asWindows(rows), 'evaluate'))).perplexity)

/** In every run: cases that have each option between them. */
const STANDS: Readonly<Record<TinyModel, readonly string[]>> = {
  'tiny-llama': ['sensitivity-ragged'],
  'tiny-opt': ['all-aligned'],
}

describe('agrees with the oracle', () => {
  const cases = someOf(oracle.cases, c => STANDS[c.model].includes(c.case))
  test.each(cases.map(c => [`${c.model}, ${c.case}`, c] as const))('%s', async (name, expected) => {
    const golden = goldenOf(expected.model)
    const output = join(folder, name)
    const { allocation, ...result } = await prune(TINY_MODELS[expected.model], {
      method: methodOf(expected),
      sparsity: oracle.sparsity,
      dtype: 'F32',
      calibration: asWindows(golden.calibration_windows),
      output,
    })
    expect(result.widths.after).toEqual(expected.widths.map(([ffn, value]) => ({ ffn, value })))
    expect(allocation?.halfBlocks.length).toBe(expected.sensitivity?.length)
    for (const [i, { layer, kind, probe, curve }] of allocation?.halfBlocks.entries() ?? []) {
      const other = expected.sensitivity![i]
      expect([layer, kind]).toEqual([other.layer, other.kind])
      expectNear(probe.cost, other.kl, TOLERANCE.kl)
      const compared = curve.filter(({ width }) => other.costs[width] !== undefined)
      expect(compared.length).toBeGreaterThan(0)
      for (const { width, cost } of compared) expectNear(cost, other.costs[width], TOLERANCE.kl)
    }
    for (const [i, layer] of result.layers.entries())
      for (const kind of ['attention', 'ffn'] as const) {
        const [ours, theirs] = [layer[kind], expected.layers[i][kind]]
        expect(ours === undefined).toBe(theirs === undefined)
        if (!ours || !theirs) continue
        const different = theirs.kept ? ours.kept.filter(row => !theirs.kept!.includes(row)).length : 0
        expect(different).toBeLessThanOrEqual(OTHER_COLUMNS * ours.kept.length)
        expectNear(ours.errorBefore, theirs.errors[0], TOLERANCE.error)
        expectNear(ours.errorAfter, theirs.errors[1], TOLERANCE.error)
      }
    expectNear(await perplexityOn(golden.evaluation_windows, output), expected.perplexity, TOLERANCE.perplexity)
  })
})
