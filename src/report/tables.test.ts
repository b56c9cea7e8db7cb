import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MACHINE, madeResult } from '../../test/report/made-result.ts'
import { withoutWeights } from '../../test/without-weights.ts'
import { perplexityChange } from '../base/display.ts'
import { prunedText } from '../checkpoint/pruning-record.ts'
import { inspect } from '../evaluate/inspect.ts'
import { describeModel } from '../model/model.ts'
import type { HalfResult } from '../result/result.ts'
import { layerCharts } from './charts.ts'
import { headline, tilesOf } from './headline.ts'
import { reportHtml } from './html.ts'
import { decimal } from './labels.ts'
import { layerNumbers, layerRows } from './layers.ts'
import { madeLines } from './made.ts'
import { apart } from './plot.ts'
import type { PrunedRun, Run } from './result-file.ts'
import { fitted, PLAIN } from './table.ts'
import { healingTables, lossTable, measuredRuns, resultMarkdown, sampleTable, textTables } from './tables.ts'
import {
  comparisonText,
  inspectionText,
  layerLines,
  layersText,
  measuresText,
  resultText,
  sparkline,
} from './terminal.ts'

const result = madeResult()

test('inspect keeps to 80 columns, of mixtures, too', () => {
  const path = new URL('../../test/fixtures/families/mixtral/config.json', import.meta.url)
  const mixtral = JSON.parse(readFileSync(path, 'utf8'))
  for (const config of [mixtral, { ...mixtral, hidden_size: 2048, num_local_experts: 128, vocab_size: 151936 }]) {
    const text = inspectionText(inspect(describeModel(withoutWeights({}, [], config))))
    expect(text).toContain('3 layers, hidden size ')
    expect(text.replaceAll('\n', ' ')).toContain(
      `of ${config.num_local_experts} experts, 2 to a token, 4 heads of ${config.hidden_size / 4} (2 for keys and values), vocabulary `,
    )
    for (const line of text.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80)
  }
})

test('all of a text in one table, a row for each run', () => {
  const [wiki, c4, ...none] = textTables(result)
  expect(none).toEqual([])
  expect([wiki, c4].map(({ title }) => title)).toEqual([
    'Perplexity: wikitext2-test.txt, 24 × 1024',
    'Perplexity: c4-like.txt, 16 × 1024',
  ])
  expect(wiki.rows).toHaveLength(26) // what failed has none
  expect(wiki.rows[0]).toEqual(['model', 'perplexity', 'than dense', 'bits per byte', 'KL', 'same token'])
  expect(wiki.rows[1]).toEqual(['dense', '23.27 ± 1.86', '–', '1.0559', '–', '–'])
  expect(wiki.note).toMatch(/no BOS token\. .* Calibrated on a text of the same corpus/)
  const runs = [result.runs[0]].map(run => ({
    ...run,
    perplexity: run.perplexity.map(({ bitsPerByte, ...one }) => one),
  }))
  expect(textTables({ runs })[0].rows).toEqual([
    ['model', 'perplexity'],
    ['dense', '23.27 ± 1.86'],
  ])
})

test('numbers that are none', () => {
  expect([Number.NaN, Number.POSITIVE_INFINITY, 1234.5, 51234.5].map(n => decimal(n))).toEqual([
    '–',
    '–',
    '1234.50',
    '51,235',
  ])
})

test('loss: used and held-out windows beside each other', () => {
  const { rows } = lossTable(result)
  expect(rows[0]).toEqual([
    'model',
    ...['wikitext2-valid.txt', 'novels.txt'].flatMap(n => [`${n}, used`, `${n}, held out`]),
  ])
  expect(rows).toHaveLength(25) // the dense model has none
})

test('loss of what was healed later is of before that, and says so', () => {
  const runs = result.runs.slice(1, 3).map((run, i) => ({ ...run, healed: i === 1 ? 4096 : undefined }))
  const [, ...rows] = lossTable({ runs }).rows
  expect(rows.map(([name]) => name)).toEqual(['preset best 10 %', 'preset best 20 %, before healing'])
})

test('what models were healed on is a column of its own in every table of models, and in each part of one', async () => {
  const [dense, pruned] = result.runs as [Run, PrunedRun]
  const curve = [0, 1].map(step => ({ step, kl: 0.3 - 0.1 * step }))
  const healed = [4096, 262144].map((tokens): Run => {
    const heal = { tokens, step: 1, steps: 1, dense: 'dense', kl: { before: 0.3, after: 0.2 }, curve }
    return { ...pruned, healed: tokens, heal }
  })
  const both = { ...result, runs: [dense, pruned, ...healed] }
  const markdown = resultMarkdown(both)
  const heads = markdown.match(/(?<=\n\n)\| model \|.*/g)!
  const unhealed = heads.filter(head => !head.startsWith('| model | healed |'))
  expect(unhealed).toEqual([`| model | ${lossTable(both).rows[0].slice(1).join(' | ')} |`]) // that is of before
  expect(heads.length).toBeGreaterThan(5)
  for (const cells of ['dense | –', 'preset best 10 % | –', 'preset best 10 % | 262,144 tokens'])
    expect(markdown.split(`\n| ${cells} |`).length, cells).toBeGreaterThan(5)
  expect(markdown).toContain('| preset best 10 % | 4,096 tokens | 1 of 1 | 0.3000 | 0.2000 |')
  const [, steps] = healingTables(both)
  expect(steps.rows[0]).toEqual(['step', ...['4,096', '262,144'].map(n => `preset best 10 %, healed, ${n} tokens`)])

  const parts = comparisonText(both).split('\n\n')
  expect(parts.length).toBeGreaterThan(5)
  for (const table of parts) {
    expect(table).toMatch(/^model +healed {2}.*$/m)
    expect(table).toMatch(/^preset best 10 % {2}262,144 tokens {2}/m)
  }
  const text = resultText(both)
  for (const line of [...parts, text].join('\n').split('\n')) expect([...line].length, line).toBeLessThanOrEqual(80)
  expect(text.match(/^model +healed {2}/gm)!.length).toBeGreaterThan(text.match(/^model {2,}(?!.*healed)/gm)!.length)
  expect(text).not.toMatch(/^preset best 10 %, healed/m)
  expect(parts.at(-1)!.replace(/\s+/g, ' ')).toContain('Time: of pruning and healing alone.')
  const html = await reportHtml(both)
  expect(html).toContain('<tr><th scope="row">preset best 10 %</th><th scope="row">262,144 tokens</th><td>')
  for (const none of [resultMarkdown(result), comparisonText(result), await reportHtml(result)])
    expect(none).not.toMatch(/\bhealed\b/i)
})

test('a healed model beside the dense one says on how many tokens', () => {
  const { perplexity, divergence, tasks } = result.runs[1]
  const measures = { perplexity, divergence, tasks, dense: result.runs[0].perplexity }
  const text = (healed?: number) => measuresText(measuredRuns({ ...measures, healed }, 'smaller'))
  expect(text(4096)).toMatch(/^model +healed .*\ndense +– .*\nsmaller +4,096 tokens /m)
  expect(text()).not.toContain('healed')
  expect([prunedText({}), prunedText({ healed: { tokens: 4096 } })]).toEqual(['pruned', 'healed, 4,096 tokens'])
})

test('what is said first: sizes, speed and loss in words, or that nothing was held out', () => {
  const [dense, run] = result.runs.map(({ tokensPerSecond, ...one }) => one) as [Run, PrunedRun]
  const sizes = '269.0 MB → 247.8 MB, 134.5 M → 123.9 M parameters'
  const texts = run.perplexity.map(({ perplexity, file }, i) => {
    const before = dense.perplexity[i].perplexity
    const change = `+${(100 * (perplexity / before - 1)).toFixed(0)} %`
    return `${change} perplexity on ${file} (${before.toFixed(2)} → ${perplexity.toFixed(2)})`
  })
  const held = '+15 % perplexity on held-out text'
  expect(headline(dense, run)).toBe([sizes, held, ...texts].join(', '))
  const speeds = [310.4, 352.2].map(tokensPerSecond => ({ tokensPerSecond }))
  const alone = { ...run, ...speeds[1], perplexity: [] }
  expect(headline({ ...dense, ...speeds[0] }, alone)).toBe(`${sizes}, a prompt at 310 → 352 tokens/s here, ${held}`)
  const texts2 = run.prune.calibration.texts.map(({ loss, ...text }) => text)
  const none = { ...alone, prune: { ...run.prune, calibration: { ...run.prune.calibration, texts: texts2 } } }
  expect(headline(undefined, none)).toBe(`${sizes}, loss not measured, as nothing was held out`)
  expect([0.001, 0.3, 1, 3, -0.05].map(perplexityChange)).toEqual(['+0.1 %', '+35 %', '2.7 ×', '20 ×', '−4.9 %'])
})

test('samples of two models are side by side, of many below each other', () => {
  expect(sampleTable({ runs: result.runs.slice(0, 2) }).rows[0]).toEqual(['prompt', 'dense', 'preset best 10 %'])
  expect(sampleTable(result).rows.map(row => row[0])[1]).toBe('dense')
})

test('a prompt that was a message to a chat model is marked', () => {
  const asked = result.runs.slice(0, 2).map(run => ({
    ...run,
    samples: run.samples.map(sample => ({ ...sample, chat: true })),
  }))
  const [, ...plain] = sampleTable({ runs: result.runs.slice(0, 2) }).rows
  expect(sampleTable({ runs: asked }).rows.slice(1)).toEqual(
    plain.map(([prompt, ...texts]) => [`user: ${prompt}`, ...texts]),
  )
})

test('layers that stay keep their numbers', () => {
  const layers = [{}, {}, {}]
  expect(
    layerNumbers({
      layers,
      removedLayers: [
        { layer: 3, cost: 1 },
        { layer: 1, cost: 2 },
      ],
    }),
  ).toEqual([0, 2, 4])
})

test('Markdown: every row of a table has as many cells', () => {
  const odd = { ...result, runs: result.runs.map(run => ({ ...run, name: run.name.replace('plain', 'a|b\nc') })) }
  const tables = resultMarkdown(odd)
    .split('\n\n')
    .filter(part => part.startsWith('|'))
  expect(tables.length).toBeGreaterThan(5)
  for (const table of tables) {
    const cells = table
      .trim()
      .split('\n')
      .map(line => line.replace(/\\\|/g, '').split('|').length)
    expect(new Set(cells).size, table).toBe(1)
  }
})

test('machines: once where all runs agree, otherwise with the runs made there', async () => {
  const made = { fasp: '0.1.0', created: '2026-11-25T20:00:00Z', machine: MACHINE }
  const slow = { ...made, created: '2026-11-27T20:00:00Z', machine: { ...MACHINE, threads: undefined } }
  const [dense, first, second] = result.runs
  const runs = [{ ...dense, made }, { ...first, made: slow }, second]
  const text = (cores: string, when: string) =>
    `fasp 0.1.0, ${when}, Node 20.20.2, ONNX Runtime 1.30.0; AMD EPYC 9R14, ${cores}, 16.00 GB, linux x64, cpu`
  expect(madeLines({ ...made, runs: [dense, { ...first, made: { ...slow, machine: MACHINE } }] })).toEqual([
    text('2 of 2 cores', '2026-11-25 to 2026-11-27'),
  ])
  const lines = [
    `dense, preset best 20 %: ${text('2 of 2 cores', '2026-11-25')}`,
    `preset best 10 %: ${text('2 cores', '2026-11-27')}`,
  ]
  const mixed = { ...result, ...made, runs }
  expect(madeLines(mixed)).toEqual(lines)
  const reports = [resultText(mixed), comparisonText(mixed), resultMarkdown(mixed), await reportHtml(mixed)]
  for (const report of reports) for (const line of lines) expect(report.replace(/\s+/g, ' ')).toContain(line)
  for (const line of comparisonText(mixed).split('\n')) expect([...line].length, line).toBeLessThanOrEqual(80)
})

test('two texts of one name are told apart by their folders, in every report', async () => {
  const first = textTables({ runs: result.runs.slice(0, 2) })
  const files = ['a/test.txt', '/data/b/test.txt']
  const named = <T extends { readonly file: string }>(texts: readonly T[]) =>
    texts.map((one, i) => ({ ...one, file: files[i], windows: 8, bos: true }))
  const runs = result.runs.slice(0, 2).map(run => ({
    ...run,
    ...{ perplexity: named(run.perplexity), divergence: run.divergence && named(run.divergence) },
  }))
  const tables = textTables({ runs })
  expect(tables.map(({ title }) => title)).toEqual(
    ['a/test.txt', 'b/test.txt'].map(file => `Perplexity: ${file}, 8 × 1024`),
  )
  expect(tables.map(({ rows }) => rows)).toEqual(first.map(({ rows }) => rows))
  const both = { ...result, runs }
  for (const text of [comparisonText(both), measuresText(runs), resultMarkdown(both), await reportHtml(both)])
    expect(text).toMatch(/a\/test.*b\/test/s)
})

test('a comparison has bits per byte and word perplexity, where they were measured', () => {
  const [dense, ...pruned] = result.runs
  const text = comparisonText(result)
  const bits = dense.perplexity.map(one => one.bitsPerByte!.toFixed(4))
  for (const part of [...bits, pruned[0].wordPerplexity!.wordPerplexity.toFixed(2), '0.9300'])
    expect(text).toMatch(new RegExp(`(^| )${part}( |$)`, 'm'))
  expect(text).toMatch(/^WikiText a word\nmodel +word perplexity +byte perplexity +bits per byte$/m)
  const runs = [dense].map(run => ({ ...run, perplexity: run.perplexity.map(({ bitsPerByte, ...one }) => one) }))
  expect(comparisonText({ ...result, runs })).not.toMatch(/bits per byte|WikiText|KL/)
  for (const line of text.split('\n')) expect([...line].length, line).toBeLessThanOrEqual(80)
})

test('text fits 80 columns, whatever there is', () => {
  for (const line of resultText(result).split('\n')) expect([...line].length, line).toBeLessThanOrEqual(80)
  expect(resultText(result)).not.toMatch(/\p{Cc}\[|[▁-█]/u)
})

test('lines of 80 columns with long names and reasons, and no error of one item', () => {
  const [dense, pruned] = result.runs
  const failed = 'its process ended (SIGKILL). Was the memory full? A lower --memory and fewer --windows take less.'
  const runs = [dense, { ...pruned, failed, name: 'best:alpha=0.25' }]
  const text = resultText({ ...result, runs })
  expect(text.replace(/\s+/g, ' ')).toContain(`Failed model why best:alpha=0.25 10 % ${failed}`)
  expect(text).toMatch(/^Failed\nmodel {17}why\nbest:alpha=0\.25 10 % {2}its process ended .*\n {22}\S.*$/m)
  const [accuracy] = dense.tasks
  const one = { value: 1, standardError: Number.NaN }
  const measured = measuresText([{ ...pruned, tasks: [{ ...accuracy, items: 1, accuracy: one, accuracyNorm: one }] }])
  expect(measured).toMatch(/^Zero-shot accuracy\nmodel +arc_easy +mean\npreset best 10 % +100\.0 +100\.0$/m)
  const texts = [text, measured, comparisonText({ ...result, runs })]
  for (const line of texts.join('\n').split('\n')) expect([...line].length, line).toBeLessThanOrEqual(80)
})

test('widths of layers are told where what is kept is not', () => {
  const { prune } = result.runs[1]
  const strip = (half: HalfResult) => ({ ...half, kept: [] })
  const layers = prune!.layers.map(({ attention, ffn }) => ({ attention: strip(attention!), ffn: strip(ffn!) }))
  const { before, after } = prune!.widths
  const widths = { before: { ...before, kvHeads: 3 }, after: [...after.slice(1), { ...after[0], kvHeads: 2 }] }
  const [head, ...rows] = layerRows({ ...prune!, layers, widths })
  const shown = (name: string) => rows.map(row => Number(row[head.indexOf(name)]))
  expect(shown('neurons')).toEqual(widths.after.map(({ ffn }) => ffn))
  expect(shown('V rows')).toEqual(widths.after.map(({ value }, i) => value * (i === 29 ? 2 : 3)))
  expect(layerRows(prune!)[1][1]).toBe(String(prune!.layers[0].attention!.kept.length))
})

test('no column, line or panel for what keeps all, and the largest errors on held-out windows where layers are some', () => {
  const { prune } = result.runs[1]
  const { before, after } = prune!.widths
  const stock = { ...prune!, widths: { before, after: after.map(({ ffn }) => ({ ffn, value: before.value })) } }
  const [head, ...rows] = layerRows(stock, 3)
  expect(head).toEqual(['layer', 'neurons', 'error', 'restored', 'held out'])
  const errors = prune!.layers.map(({ ffn }) => ffn!.heldOutError!)
  const worst = [...errors.keys()].sort((a, b) => errors[b] - errors[a]).slice(0, 3)
  expect(rows.map(row => Number(row[0]))).toEqual(worst.sort((a, b) => a - b))
  expect(rows[0][4]).toBe(`${(100 * errors[worst[0]]).toFixed(1)} %`)
  expect(layerLines(stock, PLAIN)).toMatch(/^FFN neurons .*\nFFN restored .*\nFFN held out .*$/)
  const run = { ...result.runs[1], prune: stock }
  for (const { svg } of layerCharts(run)) {
    expect(svg).toContain('FFN')
    expect(svg).not.toContain('value channels')
  }
  const none = { ...prune!, widths: { before, after: after.map(() => before) } }
  expect([layerRows(none), layersText(none, true, PLAIN)]).toEqual([[['layer']], undefined])
})

test('columns that do not fit go below', () => {
  const rows = [
    ['name', 'aaaaaaaa', 'bbbbbbbb', 'cccccccc'],
    ['x', '1', '2', '3'],
  ]
  expect(fitted(rows, 25)).toBe('name  aaaaaaaa  bbbbbbbb\nx            1         2\n\nname  cccccccc\nx            3')
})

test('sparklines on a terminal, ranges elsewhere', () => {
  expect(sparkline([0, 1, 2, 3, 4, 5, 6, 7, 8])).toBe('▁▂▃▄▅▆▇██')
  expect(sparkline([1, 3, 1, 3], 4, 2)).toBe('▅▅')
  expect(sparkline([0, 0])).toBe('▁▁')
  const { prune } = result.runs[3]
  const style = { columns: 80, blocks: true, bold: false }
  const lines = layerLines(prune!, style).split('\n')
  expect(lines[0]).toMatch(/^FFN neurons {4}[▁-█]{30} {2}\d+–\d+ of 1536$/)
  expect(layerLines(prune!, { ...style, blocks: false })).toMatch(/^FFN neurons {4}\d+–\d+ of 1536$/m)
  const many = { widths: { before: { ffn: 8, value: 4 }, after: Array(200).fill({ ffn: 4, value: 4 }) }, layers: [] }
  expect(layerLines(many, style).length).toBeLessThanOrEqual(80)
})

test('names of lines keep their order and their distance, where there is room', () => {
  const wanted = fc.array(fc.double({ min: 0, max: 400, noNaN: true }), { minLength: 1, maxLength: 20 })
  fc.assert(
    fc.property(wanted, places => {
      const spread = apart(places, 15, 0, 400)
      const order = [...places.keys()].sort((a, b) => spread[a] - spread[b])
      for (const [i, index] of order.entries()) {
        expect(spread[index]).toBeGreaterThanOrEqual(-1e-9)
        expect(spread[index]).toBeLessThanOrEqual(400)
        if (i > 0) expect(spread[index] - spread[order[i - 1]]).toBeGreaterThanOrEqual(15 - 1e-9)
        if (i > 0) expect(places[index]).toBeGreaterThanOrEqual(places[order[i - 1]])
      }
    }),
  )
})

test('tiles of a comparison: the text that most runs were measured on, and cuts that differ', () => {
  const result = madeResult()
  const [dense, ...pruned] = result.runs
  const [first] = pruned
  const alone = { ...first, perplexity: first.perplexity.map(text => ({ ...text, windows: 1, perplexity: 1 })) }
  const tiles = tilesOf({ ...result, runs: [dense, alone, ...pruned] })
  expect(tiles).toEqual(tilesOf(result))
  const { prune } = first
  const narrower = { ...prune!.sizes.decoderLinears, after: prune!.sizes.decoderLinears.after / 2 }
  const uneven = { ...first, prune: { ...prune!, sizes: { ...prune!.sizes, decoderLinears: narrower } } }
  const [{ more }] = tilesOf({ ...result, runs: [dense, uneven, ...pruned.slice(1)] })
  expect(more).toMatch(/; [\d.]+ % and [\d.]+ % are cut$/)
  expect(tiles[0].more).not.toMatch(/are cut$/)
})
