// `fasp report`, and `--report` of the commands that measure, as a user runs them.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { parseResult, serializeResult } from '../src/index.ts'
import { put, QUICK, refused, run, workplaces } from './fasp.ts'
import { madeResult } from './report/made-result.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const MODEL = tinyOf2Layers()
const MADE = serializeResult(madeResult())

describe('prune and eval', () => {
  let folder: string
  beforeAll(async () => {
    folder = await workplace()
    const prune = ['prune', MODEL, '-s', '0.2', '-o', 'out', ...QUICK, '--method', 'best']
    const measured = [
      '--text',
      'text.txt',
      '--text-windows',
      '2',
      '--report',
      'out.html',
      '--report',
      'out.json',
      '--to',
      'gguf',
    ]
    const { stdout } = await run(folder, ...prune, ...measured, '--prompt', 'It was a <b>dark</b>')
    expect(stdout).toMatch(/\nWrote out, out\/gguf\/model\.gguf\nWrote out\.html\nWrote out\.json\n\nNext: /)
  })

  test('the result has both models, with everything about them', () => {
    const result = parseResult(readFileSync(join(folder, 'out.json'), 'utf8'), 'out.json')
    expect(result).toMatchObject({ command: 'prune', model: { name: 'tiny-llama', layers: 2, parameters: 524928 } })
    const [dense, pruned] = result.runs
    expect([dense.name, pruned.name, pruned.sparsity]).toEqual(['dense', 'best', 0.2])
    expect(pruned.prune!.allocation!.halfBlocks).toHaveLength(4)
    expect(pruned.exports).toMatchObject([{ to: 'gguf', folder: 'gguf/' }])
    // Of the export, and of a text that is calibrated on and measured on.
    expect(pruned.notices).toEqual(['gguf: ', 'text.txt: '].map(start => expect.stringContaining(start)))
    expect(Object.keys(pruned.seconds)).toEqual(expect.arrayContaining(['allocate', 'prune', 'evaluate pruned']))
    for (const { perplexity, samples } of result.runs) {
      expect(perplexity[0].perplexity).toBeGreaterThan(1)
      expect(samples.map(sample => sample.prompt)).toEqual(['It was a <b>dark</b>'])
      expect(samples[0].text.length).toBeGreaterThan(20)
    }
  })

  test('the page and the tables are made of nothing but the result', async () => {
    await run(folder, 'report', 'out.json', '-o', 'again.html')
    const [first, again] = ['out.html', 'again.html'].map(name => readFileSync(join(folder, name), 'utf8'))
    expect(again).toBe(first)
    expect(first).toContain('It was a &#60;b&#62;dark')
    expect(first).toContain('Allocation of best 20 %')
    const { stdout } = await run(folder, 'report', 'out.json')
    expect(stdout).toMatch(/^best 20 % +\d+\.\d+ ± \d+\.\d+ +[+−][\d.]+ % +\d\.\d{4}$/m)
    expect(stdout).toMatch(/^FFN neurons +\d+–\d+ of 384$/m)
  })

  test('eval keeps its result, too', async () => {
    const item = JSON.stringify({ goal: 'To rest', sol1: 'run', sol2: 'sleep', label: 1 })
    await put(folder, { 'data/piqa.jsonl': `${item}\n`.repeat(3) })
    const args = ['eval', 'out', '--text', 'text.txt', '--windows', '1', '--seq-len', '32', '--dense', MODEL]
    const tasks = ['--tasks', 'piqa', '--tasks-data', 'data', '--limit', '2']
    const { stdout } = await run(folder, ...args, ...tasks, '--report', 'eval.json', '--report', 'eval.md')
    expect(stdout).toMatch(/^Perplexity: text\.txt, 1 × 32\nmodel +perplexity .*\ndense .*\nout /m)
    const result = parseResult(readFileSync(join(folder, 'eval.json'), 'utf8'), 'eval.json')
    expect(result).toMatchObject({
      command: 'eval',
      runs: [
        { name: 'dense', sparsity: 0 },
        { name: 'best', sparsity: 0.2 },
      ],
    })
    const [dense, pruned] = result.runs
    const alone = await run(folder, 'eval', MODEL, ...args.slice(2, -2), '--json')
    expect(dense.perplexity[0].perplexity).toBeCloseTo(JSON.parse(alone.stdout).texts[0].perplexity, 9)
    expect(dense.samples.map(({ prompt }) => prompt)).toEqual(pruned.samples.map(({ prompt }) => prompt))
    const sha256 = expect.stringMatching(/^[0-9a-f]{64}$/)
    expect(result.evaluation).toEqual({
      ...{ dense: MODEL, limit: 2 },
      ...{ text: [{ file: 'text.txt', sha256 }], tasks: [{ file: 'piqa', sha256 }] },
    })
    expect(pruned.notices).toEqual([
      expect.stringContaining('piqa: 3 items, where'),
      expect.stringContaining('text.txt'),
    ])
    await run(folder, 'report', 'eval.json', '-o', 'eval.html')
    const page = readFileSync(join(folder, 'eval.html'), 'utf8')
    for (const part of ['piqa: 3 items, where', `Distances are from ${MODEL}`, 'What was read'])
      expect(page).toContain(part)
    expect(pruned.perplexity[0].standardError).toBeNaN() // of one window
    expect(readFileSync(join(folder, 'eval.md'), 'utf8')).toMatch(
      /^\| best 20 % \| [\d.]+ \| [+−][\d.]+ % \| [\d.]+ \| [\d.]+ \| [\d.]+ % \|$/m,
    )
  })
})

describe('report', () => {
  test('text of 80 columns, Markdown, and every chart', async () => {
    const folder = await workplace({ 'r.json': MADE })
    const { stdout } = await run(folder, 'report', 'r.json')
    expect(stdout.split('\n').filter(line => [...line].length > 80)).toEqual([])
    expect(stdout).toMatch(/^osscar 50 % +The process ran out of memory\.$/m)
    await run(folder, 'report', 'r.json', '-o', 'r.md')
    expect(readFileSync(join(folder, 'r.md'), 'utf8')).toContain('\n| plain 10 % | 29.97 ± 2.40 | +29 % |')
    for (const chart of ['perplexity', 'accuracy', 'layers']) {
      await run(folder, 'report', 'r.json', '-o', `${chart}.svg`, '--chart', chart)
      const svg = readFileSync(join(folder, `${chart}.svg`), 'utf8')
      expect(svg).toMatch(/^<!-- fasp .* -->\n<svg xmlns=".*<title>.*<\/svg>\n$/s)
      expect(svg).not.toMatch(/NaN|undefined|Infinity/)
    }
  })

  test('replaces what fasp wrote, when asked, and nothing else', async () => {
    const folder = await workplace({ 'r.json': MADE, 'mine.svg': '<svg></svg>' })
    const report = (...args: string[]) => ['report', 'r.json', '-o', ...args]
    await run(folder, ...report('r.svg'))
    await refused(folder, report('r.svg'), { says: ['r.svg exists already', '--overwrite'] })
    writeFileSync(join(folder, 'r.svg'), readFileSync(join(folder, 'r.svg'), 'utf8').replace('Perplexity', 'Old'))
    await run(folder, ...report('r.svg', '--overwrite'))
    expect(readFileSync(join(folder, 'r.svg'), 'utf8')).not.toContain('Old')
    await refused(folder, report('mine.svg', '--overwrite'), { says: ['mine.svg was not written by fasp'] })
    expect(readdirSync(folder).sort()).toEqual(['mine.svg', 'r.json', 'r.svg', 'text.txt'])
  })

  test('comparisons of several calibration sizes are one chart, and no table', async () => {
    const made = madeResult()
    const [dense, { prune, ...one }] = made.runs.slice(0, 2)
    const protocol = {
      ...{ model: 'a', text: [], seqLen: 1024, tasks: [], calibration: [], calibrationSeqLen: 1024 },
      ...{ seed: 0, prompts: [], device: 'cpu' },
    }
    const sized = [8, 16].map(samples => {
      const texts = prune!.calibration.texts.map(text => ({ ...text, used: samples / 2 }))
      const run = { ...one, prune: { ...prune!, calibration: { ...prune!.calibration, texts } } }
      return serializeResult({ ...made, protocol: { ...protocol, samples }, runs: [dense, run] })
    })
    const folder = await workplace({ '8.json': sized[0], '16.json': sized[1] })
    await refused(folder, ['report', '8.json', '16.json'], {
      code: 2,
      says: ['differ in calibration windows: 8, and 16.'],
    })
    await run(folder, 'report', '8.json', '16.json', '-o', 'tokens.svg', '--chart', 'tokens')
    expect(readFileSync(join(folder, 'tokens.svg'), 'utf8')).toContain('16.4 k tokens')
  })

  const twoModels = serializeResult({ ...madeResult(), model: { ...madeResult().model, name: 'other' } })
  test.each<[string[], string[], number?]>([
    [['report'], ['no result'], 2],
    [['report', 'none.json'], ['none.json: no such file']],
    [['report', 'cut.json', '-o', 'x.html'], ['cut.json: is cut short, or is not JSON']],
    [['report', 'text.txt'], ['text.txt: is cut short, or is not JSON']],
    [['report', '.'], ['is a folder, and no result. Give a .json']],
    [['report', 'r.json', 'other.json'], ['different models', 'SmolLM2-135M-Instruct', 'other'], 2],
    [['report', 'r.json', '-o', 'x.pdf'], ['x.pdf does not say what to write', '.html, .svg'], 2],
    [
      ['report', 'r.json', '-o', 'nowhere/x.html'],
      ['cannot write nowhere/x.html', 'does not exist'],
    ],
    [['report', 'r.json', '-o', 'x.html', '--chart', 'layers'], ['chart is for pictures'], 2],
    [['report', 'r.json', '-o', 'x.svg', '--chart', 'pie'], ['--chart is "pie"', 'perplexity'], 2],
    [['report', 'r.json', '--chart', 'layers'], ['no output for the chart'], 2],
    [['report', 'dense.json', '-o', 'x.svg'], ['has nothing for the chart perplexity', 'none'], 2],
    [['prune', MODEL, '-s', '0.2', '-o', 'out', '--report', 'text.txt'], ['text.txt does not say'], 2],
    [['prune', MODEL, '-s', '0.2', '-o', 'out', '--report', 'r.json'], ['r.json exists already']],
    [['prune', MODEL, '-s', '0.2', '-o', 'out', '--prompt', 'x'], ['prompt is for a report'], 2],
    [['eval', MODEL, '--text', 'text.txt', '--report', 'r.json'], ['r.json exists already']],
  ])('refuses %j before any work', async (args, says, code = 1) => {
    const made = madeResult()
    const dense = serializeResult({ ...made, runs: made.runs.slice(0, 1) })
    const files = { 'r.json': MADE, 'cut.json': MADE.slice(0, 5000), 'other.json': twoModels, 'dense.json': dense }
    await refused(await workplace(files), args, { says, code })
  })
})
