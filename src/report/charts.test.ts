import { expect, test } from 'vitest'
import { madeResult } from '../../test/report/made-result.ts'
import { count } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import type { PruneResult } from '../result/result.ts'
import { chartFile } from './charts.ts'
import { runLabel } from './labels.ts'
import { lineChart } from './plot.ts'
import { type ResultFile, type Run, resultFile } from './result-file.ts'

/** The runs again, calibrated on twice the text and with half the perplexity. */
function withTwice(result: ResultFile): ResultFile {
  const twice = result.runs.flatMap((run): Run[] => {
    if (!run.prune) return []
    const texts = run.prune.calibration.texts.map(text => ({ ...text, used: 2 * text.used }))
    const prune = { ...run.prune, calibration: { ...run.prune.calibration, texts } }
    return [{ ...run, prune, perplexity: run.perplexity.map(p => ({ ...p, perplexity: p.perplexity / 2 })) }]
  })
  return resultFile({ ...result, runs: [...result.runs, ...twice] })
}

test('perplexity against calibration tokens: a line for each method and cut, on each text', () => {
  const result = madeResult()
  const svg = chartFile(withTwice(result), 'tokens')
  const run = result.runs.find(one => one.prune && one.perplexity.length === 2)!
  const { texts, seqLen } = run.prune!.calibration
  const tokens = seqLen * texts.reduce((n, { used }) => n + used, 0)
  for (const { perplexity } of run.perplexity)
    for (const [size, value] of [
      [tokens, perplexity],
      [2 * tokens, perplexity / 2],
    ])
      expect(svg).toContain(`${runLabel(run)}, ${count(size)} tokens: ${value.toFixed(2)}`)
})

test('says so where all runs were calibrated on as much', () => {
  expect(() => chartFile(madeResult(), 'tokens')).toThrow(UsageError)
})

test('steps of healing are whole numbers', () => {
  const [run] = madeResult().runs.filter(one => one.prune)
  const curve = [0, 1, 2].map(step => ({ step, kl: 0.3 - 0.1 * step }))
  const healed = { curve } as unknown as PruneResult['healed']
  const svg = chartFile({ ...madeResult(), runs: [{ ...run, prune: { ...run.prune!, healed } }] }, 'healing')
  for (const { step } of curve) expect(svg).toContain(`>${step}</text>`)
})

test('steps of the same model on several numbers of tokens are told apart, and numbers below do not crowd', () => {
  const [run] = madeResult().runs.filter(one => one.prune)
  const healed = [10, 20].map(n => {
    const curve = Array.from({ length: n }, (_, i) => ({ step: 3 * i + n, kl: 1 / (n + i) }))
    return { ...run, healed: n, prune: { ...run.prune!, healed: { curve } as unknown as PruneResult['healed'] } }
  })
  const svg = chartFile({ ...madeResult(), runs: healed }, 'healing')
  for (const n of [10, 20]) expect(svg).toContain(`${runLabel(run)}, ${n} tokens</text>`)
  expect(svg.match(/<text[^>]*>\d+<\/text>/g)!.length).toBeLessThan(20)
})

test.each([
  [37.4, 31.7, ['31', '32', '33', '34', '35', '36', '37', '38', '39']],
  [1.25, 1.21, ['1.16', '1.18', '1.2', '1.22', '1.24', '1.26', '1.28', '1.3']],
  [180, 100, ['100', '110', '120', '130', '140', '150', '160', '170', '180']],
  [90, 20, ['20', '25', '30', '40', '50', '60', '70', '80', '90']],
])('a logarithmic scale from %f to %f has round numbers', (first, last, ticks) => {
  const points = [first, last].map((y, x) => ({ x, y, title: '' }))
  const y = { type: 'log', tickFormat: String } as const
  const svg = lineChart({ title: 'made', x: { ticks: [] }, y, series: [{ name: 'one', points }] })
  expect([...svg.matchAll(/<text[^>]*>([\d.]+)<\/text>/g)].map(([, tick]) => tick)).toEqual(ticks)
})

test('perplexity against tokens of healing: a line from the model that is not healed, on each text', () => {
  const result = madeResult()
  const run = result.runs.find(one => one.prune && one.perplexity.length === 2)!
  const healed = [100, 300].map(tokens => ({
    ...{ ...run, healed: tokens },
    perplexity: run.perplexity.map(p => ({ ...p, perplexity: p.perplexity - tokens / 100 })),
  }))
  const svg = chartFile({ ...result, runs: [run, ...healed] }, 'healing')
  for (const { perplexity } of run.perplexity) {
    expect(svg).toContain(`${runLabel(run)}: ${perplexity.toFixed(2)}`)
    for (const one of healed) expect(svg).toContain(`${runLabel(one)}: ${(perplexity - one.healed / 100).toFixed(2)}`)
  }
  expect(() => chartFile({ ...result, runs: [run, healed[0]] }, 'healing')).toThrow(UsageError) // two points are no curve
})

test('lines are named where they end, apart from each other', () => {
  const to = (x: number, y: number) => [0, x].map((at, i) => ({ x: at, y: i * y, title: '' }))
  const series = [
    { name: 'short', points: to(3, 9) },
    { name: 'near', points: to(3.01, 9) },
    { name: 'long', points: to(5, 9) },
  ]
  const svg = lineChart({ title: 'made', x: {}, y: { type: 'linear' }, series })
  const place = (name: string) =>
    new RegExp(`translate\\(([\\d.]+),([\\d.]+)\\)"[^>]*>${name}</text>`).exec(svg)!.slice(1).map(Number)
  const [short, near, long] = ['short', 'near', 'long'].map(place)
  expect(short[0]).toBeLessThan(long[0] - 100)
  expect(Math.abs(short[1] - near[1])).toBeGreaterThan(12)
})
