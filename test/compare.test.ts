// fasp compare as a user runs it: the same figures as prune and eval give, what is done is not done again, a run that fails leaves the
// others alone, and grids that make no sense are refused at once.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, test, vi } from 'vitest'
import { newOwner } from '../src/base/unfinished.node.ts'
import { parseResult } from '../src/report/parse-result.ts'
import { fasp, INTERRUPTED, put, QUICK, type Run, refused, run, TEXT, workplaces } from './fasp.ts'
import { NIGHTLY, nightly, someOf } from './nightly.ts'
import { tinyOf } from './tiny.ts'

vi.setConfig({ testTimeout: 180_000 }) // many processes, one after the other

const workplace = workplaces()
const MODEL = tinyOf(2)
const OF_3_LAYERS = tinyOf(3) // where a layer goes, two have to stay

const MEASURE = ['--text', 'text.txt', '--text-windows', '3', ...QUICK, '--prompt', 'It was']
const compare = (methods: string, sparsity: string, ...more: string[]) => compareOf(MODEL, methods, sparsity, ...more)
const compareOf = (model: string, methods: string, sparsity: string, ...more: string[]) => [
  ...['compare', model, '--methods', methods, '-s', sparsity, ...MEASURE, '-o', 'result.json', ...more],
]
const result = (folder: string) => parseResult(readFileSync(join(folder, 'result.json'), 'utf8'), 'result.json')
/** The runs that were begun, of the lines on stderr. */
const begun = (stderr: string) => [...stderr.matchAll(/^\d+ of \d+: ([^;\n]+)/gm)].map(([, name]) => name)
const names = (folder: string) => result(folder).runs.map(run => `${run.name} ${run.sparsity}`)
const failed = (folder: string) => result(folder).runs.map(run => run.failed)

let made: string
beforeAll(async () => {
  made = await workplace()
  await run(made, ...compare('magnitude', '0.3'))
})
/** A folder with the result of magnitude at 30 %. */
const withResult = async (files = {}) => workplace({ 'result.json': readFileSync(join(made, 'result.json')), ...files })

describe('a grid', () => {
  test('gives what prune and eval give, in one table and one file, and is not run again', {
    timeout: 180_000,
  }, async () => {
    const folder = await workplace()
    const [named, alpha] = NIGHTLY ? ['best:alpha=0.25', 0.25] : ['stock:alpha=0.5', 0.5]
    const args = compare(`magnitude,${named}`, '0.3')
    const { stdout, stderr, lines } = await run(folder, ...args)
    expect(begun(stderr)).toEqual(['dense', 'magnitude at 30.0 %', `${named} at 30.0 %`])
    expect(stdout).toMatch(
      /^Perplexity: text\.txt, 3 × 32\nmodel +perplexity +than dense +bits per byte .*\ndense +[\d.]+ ± /,
    )
    for (const head of ['KL', 'same token', 'cut', 'memory']) expect(stdout).toMatch(new RegExp(` ${head}( |$)`, 'm'))
    expect(lines.filter(line => line.length > 80)).toEqual([])
    expect(stdout).toContain('\nPerplexity ± standard error, a BOS token before the text. ')
    expect(readdirSync(folder).sort()).toEqual(['result.json', 'text.txt'])

    const { runs, protocol, model } = result(folder)
    expect(JSON.parse((await run(folder, ...args, '--json')).stdout).runs.length).toBe(runs.length)
    expect(model).toMatchObject({ name: 'tiny-llama', layers: 2, modelType: 'llama' })
    expect(protocol).toMatchObject({ seqLen: 32, maxWindows: [3], samples: 4, prompts: ['It was'] })
    const [dense, magnitude, repaired] = runs
    expect([dense.divergence, dense.prune]).toEqual([undefined, undefined])
    expect(repaired.prune!.options).toMatchObject({ method: named, alpha, sparsity: 0.3 })
    for (const pruned of [magnitude, repaired]) {
      expect(pruned.divergence![0].kl).toBeGreaterThan(0)
      expect(pruned.divergence![0].topAgreement).toBeLessThan(1)
      expect(pruned.prune!.calibration).toMatchObject({ source: 'texts', texts: [{ name: 'text.txt', used: 4 }] })
      expect(pruned.peakMemoryBytes).toBeGreaterThan(5e7)
      expect(pruned.seconds.evaluate).toBeGreaterThan(0)
      expect(pruned.samples.map(({ prompt }) => prompt)).toEqual(['It was'])
    }

    await run(folder, 'prune', MODEL, '-s', '0.3', '--method', named, ...QUICK, '-o', 'out')
    for (const [path, of] of [[MODEL, dense] as const, ['out', repaired] as const]) {
      const args = ['eval', path, '--text', 'text.txt', '--seq-len', '32', '--windows', '3', '--json']
      const { texts } = JSON.parse((await run(folder, ...args)).lines.at(-1)!)
      expect(of.perplexity).toEqual(texts)
    }
    const { text } = JSON.parse(
      (await run(folder, 'generate', 'out', '-p', 'It was', '--max-tokens', '48', '--json')).lines.at(-1)!,
    )
    expect(repaired.samples[0].text).toBe(text)

    const before = readFileSync(join(folder, 'result.json'), 'utf8')
    const again = await run(folder, ...compare('magnitude', '30%'))
    expect([begun(again.stderr), again.stdout]).toEqual([[], stdout.slice(0, again.stdout.length)])
    expect(readFileSync(join(folder, 'result.json'), 'utf8')).toBe(before)
  })

  test('grows: what is there stays as it is, and the dense model lends its windows again', async () => {
    const folder = await withResult()
    const [dense, first] = result(folder).runs
    const { stderr, stdout } = await run(folder, ...compare('magnitude,plain', '0.2', '--threads', '2'))
    expect(stderr).toContain('result.json has 2 runs already; 2 are left.')
    expect(names(folder)).toEqual(['dense 0', 'magnitude 0.2', 'plain 0.2', 'magnitude 0.3'])
    const { runs } = result(folder)
    expect([runs[0], runs[3]]).toEqual([dense, first])
    expect(runs.map(({ made }) => made!.machine.threads)).toEqual([1, 2, 2, 1])
    expect(runs.map(({ made }) => made!.created)).toEqual(runs.map(() => expect.stringMatching(/^\d{4}-.*Z$/)))
    expect(stdout.replace(/\s+/g, ' ')).toContain('magnitude 20 %, plain 20 %: fasp 0.1.0, ')
    expect(runs[1].divergence![0].kl).toBeLessThan(first.divergence![0].kl)
  })

  nightly('of healed models: a run of their own beside each, which says so everywhere', async () => {
    const folder = await workplace()
    const report = ['--report', 'report.html', '--report', 'report.md', '--heal', '2048,4096']
    const { stdout, stderr } = await run(folder, ...compare('magnitude', '0.3', ...report))
    const healed = ['2,048', '4,096'].map(tokens => `magnitude, healed, ${tokens} tokens at 30.0 %`)
    expect(begun(stderr)).toEqual(['dense', 'magnitude at 30.0 %', ...healed])
    expect(stderr.match(/^prune: layer 0 of/gm)).toHaveLength(1) // once for all three
    const [dense, before, less, after] = result(folder).runs
    expect([dense, before, less, after].map(one => one.healed)).toEqual([undefined, undefined, 2048, 4096])
    expect(less.perplexity[0].perplexity).not.toBe(after.perplexity[0].perplexity)
    expect(after.asked).toEqual({ method: 'magnitude', sparsity: 0.3, heal: 4096 })
    expect(after.prune!.healed!.curve.map(({ step }) => step)).toEqual([0, 1, 2])
    expect(after.divergence![0].kl).toBeLessThan(before.divergence![0].kl)
    expect(after.prune!.sizes).toEqual(before.prune!.sizes)
    expect(stdout).toMatch(
      /^model +healed .*\ndense +– .*\nmagnitude 30 % +– .*\n.* +2,048 tokens .*\nmagnitude 30 % +4,096 tokens /m,
    )
    const html = readFileSync(join(folder, 'report.html'), 'utf8')
    expect(html).toContain('Healing: KL to the dense model over the steps')
    expect(html).toContain('<th scope="row">magnitude 30 %</th><th scope="row">4,096 tokens</th>')
    expect(html).toContain('Perplexity against tokens of healing: text')
    const rows = readFileSync(join(folder, 'report.md'), 'utf8')
      .split('\n')
      .filter(line => line.startsWith('| '))
    const { kl } = after.prune!.healed!
    expect(rows).toContain(
      `| magnitude 30 % | 4,096 tokens | 2 of 2 | ${kl.before.toFixed(4)} | ${kl.after.toFixed(4)} |`,
    )
    expect(rows).toContain(`| 0 | ${kl.before.toFixed(4)} | ${kl.before.toFixed(4)} |`)
    const again = await run(folder, ...compare('magnitude', '0.3', '--heal', '4096'))
    expect(begun(again.stderr)).toEqual([])
    await refused(folder, compare('magnitude', '0.3', '--heal=0'), { code: 2, says: ['heal is 0'] })
    await refused(folder, compare('magnitude', '0.3', '--lr', '1e-4'), { code: 2, says: ['lr is of healing'] })
  })

  nightly(
    'of healed models: as prune has them, on more tokens than there are windows for, and where it is of no use',
    async () => {
      const folder = await workplace()
      await run(folder, ...compare('magnitude', '0.3', '--heal', '4096'))
      const after = result(folder).runs[2]
      // As prune and heal have it.
      await run(folder, 'prune', MODEL, '-s', '0.3', '--method', 'magnitude', ...QUICK, '--heal', '4096', '-o', 'out')
      const args = ['eval', 'out', '--text', 'text.txt', '--seq-len', '32', '--windows', '3', '--json']
      expect(after.perplexity).toEqual(JSON.parse((await run(folder, ...args)).lines.at(-1)!).texts)
      const more = await run(folder, ...compare('magnitude', '0.3', '--heal', '8192'))
      expect(more.stderr.replace(/\s+/g, ' ')).toContain(
        'healed on 4,096 tokens at most. For 8,192 other windows are held',
      )
      const still = await fasp(compare('magnitude', '0.3', '--heal', '4096', '--lr', '0'), { folder })
      expect(still.code).toBe(1)
      expect(still.stderr).toContain('healing did not bring it nearer')
    },
  )

  if (NIGHTLY)
    test.each([
      ['of several texts, which it trusts more', ['--calibration', 'long.txt', '--calibration', 'other.txt']],
      ['of its own text, where stock goes by columns', []],
    ])('prunes what prune does on windows %s', async (_, calibration) => {
      const other = 'A ship left the harbour at noon, and nobody knew where it went. '.repeat(900)
      const folder = await workplace({ 'long.txt': TEXT.repeat(3), 'other.txt': other })
      const on = [MODEL, '-s', '0.3', '--windows', '80', ...calibration]
      const measure = ['--text', 'text.txt', '--text-windows', '2', '--seq-len', '64', '--calibration-seq-len', '128']
      await run(folder, 'compare', ...on, '--methods', 'stock', ...measure, '-o', 'result.json')
      await run(folder, 'prune', ...on, '--method', 'stock', '--seq-len', '128', '--held-out', '0', '-o', 'out')
      const { runs, protocol } = result(folder)
      const [, { prune, perplexity }] = runs
      expect(protocol).toMatchObject({ seqLen: 64, calibrationSeqLen: 128, samples: 80 })
      expect([prune!.calibration.seqLen, perplexity[0].seqLen]).toEqual([128, 64])
      expect(prune!.calibration.texts.reduce((sum, { used }) => sum + used, 0)).toBe(80)
      expect(prune!.options).toEqual(JSON.parse(readFileSync(join(folder, 'out/fasp.json'), 'utf8')).options)
      const args = ['eval', 'out', '--text', 'text.txt', '--seq-len', '64', '--windows', '2', '--json']
      expect(perplexity).toEqual(JSON.parse((await run(folder, ...args)).lines.at(-1)!).texts)
    })

  test('with tasks and a report; methods share the statistics of the dense model', async () => {
    const items = ['sun', 'moon', 'sea'].map((text, i) => ({
      goal: `Look at the ${text}`,
      sol1: 'by day',
      sol2: 'by night',
      label: i % 2,
    }))
    const folder = await workplace({ 'data/piqa.jsonl': items.map(item => JSON.stringify(item)).join('\n') })
    const tasks = ['--tasks', 'piqa', '--tasks-data', 'data', '--limit', '2', '--report', 'report.html']
    const { stdout, stderr } = await run(folder, ...compareOf(OF_3_LAYERS, 'flap,shortgpt', '0.3', ...tasks))
    expect(begun(stderr)).toEqual(['dense', 'flap at 30.0 %', 'shortgpt at 30.0 %'])
    expect(stderr.match(/^allocate: layer 3 of 3/gm)).toHaveLength(1)
    const { runs, protocol } = result(folder)
    const [flap, short] = runs.slice(1).map(of => of.prune!)
    expect(runs.map(of => of.notices)).toEqual([[expect.stringContaining('piqa: 3 items, where')], [], []])
    const shared = short.engineSeconds.moments // run by the pass that they share, and by nothing else
    expect([shared > 0, flap.engineSeconds.moments]).toEqual([true, shared])
    const engine = Object.values(short.engineSeconds).reduce((sum, seconds) => sum + seconds, 0)
    expect(short.seconds.allocate).toBeGreaterThan(engine)
    expect(runs[2].seconds.allocate).toBe(short.seconds.allocate)
    expect(protocol).toMatchObject({ limit: 2, tasks: [{ file: 'piqa' }] })
    expect(runs.map(of => of.tasks.map(({ task, items: n }) => [task, n]))).toEqual(Array(3).fill([['piqa', 2]]))
    expect(stdout).toMatch(/^Perplexity: text\.txt, 3 × 32\nmodel .*^Zero-shot accuracy\nmodel +piqa +mean$/ms)
    expect(readFileSync(join(folder, 'report.html'), 'utf8')).toContain('shortgpt 30 %')

    const args = ['-s', '0.3', '--method', 'flap', ...QUICK, '--held-out', '0', '-o', 'out']
    await run(folder, 'prune', OF_3_LAYERS, ...args)
    const evaluate = ['eval', 'out', '--text', 'text.txt', '--seq-len', '32', '--windows', '3', '--json']
    expect(runs[1].perplexity).toEqual(JSON.parse((await run(folder, ...evaluate)).lines.at(-1)!).texts)
  })

  nightly('of FLAP on a family that has no fields for its biases: in layout compact, as prune has it', async () => {
    const gemma3 = fileURLToPath(new URL('fixtures/trained/tiny-gemma3', import.meta.url))
    const folder = await workplace()
    const grid = (methods: string) => ['compare', gemma3, '--methods', methods, '-s', '0.3', ...MEASURE]
    await run(folder, ...grid('flap,wanda-sp'), '-o', 'result.json')
    const { runs } = result(folder)
    expect(runs.map(of => of.prune?.options.layout)).toEqual([undefined, 'compact', 'padded'])
    const args = ['-s', '0.3', '--method', 'flap', ...QUICK, '--held-out', '0', '-o', 'out']
    await run(folder, 'prune', gemma3, ...args)
    const evaluate = ['eval', 'out', '--text', 'text.txt', '--seq-len', '32', '--windows', '3', '--json']
    expect(runs[1].perplexity).toEqual(JSON.parse((await run(folder, ...evaluate)).lines.at(-1)!).texts)
    expect(readFileSync(join(folder, 'out/README.md'), 'utf8')).toMatch(/Layout `compact`: .* made from a gemma3_text/)
    await refused(folder, [...grid('flap:layout=padded'), '-o', 'other.json'], {
      code: 2,
      says: ['method flap:layout=padded at sparsity 0.3: ', 'Use layout=compact, which has one.'],
    })
    for (const to of [
      ['export', 'out', '--to', 'gguf', '-o', 'out.gguf'],
      ['prune', gemma3, '-s', '0.3', '--method', 'flap', ...QUICK, '-o', 'other.gguf'],
    ])
      await refused(folder, to, { says: ['gemma3_text models cannot be written as GGUF: ', 'them with biases'] })
  })

  nightly(
    'of nothing but a model and a method: on text that the dense model writes, into a file of its name',
    async () => {
      const folder = await workplace()
      await run(folder, 'compare', MODEL, '--methods', 'plain', '-s', '0.2', '--windows', '2', '--seq-len', '32')
      const { runs } = parseResult(readFileSync(join(folder, 'compare-tiny-llama.json'), 'utf8'), 'a result')
      const [dense, plain] = runs.map(({ perplexity: [{ file, perplexity }] }) => ({ file, perplexity }))
      expect([dense.file, plain.file]).toEqual(Array(2).fill('text of the dense model'))
      expect(plain.perplexity).toBeGreaterThan(dense.perplexity)
      expect(runs[1].prune!.calibration.texts[0].name).not.toBe(dense.file)
    },
  )

  nightly('of self-written calibration text, which all methods share, on two texts of one name', async () => {
    const folder = await workplace({ 'other/text.txt': TEXT.toUpperCase() })
    const text = [
      '--text',
      'text.txt',
      '--text',
      'other/text.txt',
      '--text-windows',
      '2',
      '--windows',
      '4',
      '--seq-len',
      '32',
    ]
    const args = ['compare', MODEL, '--methods', 'plain', '-s', '0.2', ...text, '-o', 'result.json']
    const { stdout } = await run(folder, ...args)
    const [, { prune: pruned, perplexity }] = result(folder).runs
    expect(pruned!.calibration.source).toBe('self')
    expect(perplexity.map(({ file }) => file)).toEqual(['text.txt', 'other/text.txt'])
    for (const name of ['text.txt', 'other/text.txt']) expect(stdout).toContain(`Perplexity: ${name}, 2 × 32\nmodel `)
    const same = [
      '-s',
      '0.2',
      '--method',
      'plain',
      '--windows',
      '4',
      '--seq-len',
      '32',
      '--text',
      'text.txt',
      '--text-windows',
      '2',
    ]
    const { lines } = await run(folder, 'prune', MODEL, ...same, '--held-out', '0', '-o', 'out', '--json')
    expect(perplexity.slice(0, 1)).toEqual(JSON.parse(lines.at(-1)!).perplexities.pruned)
  })
})

describe('stopped', () => {
  const signals = someOf(['SIGINT', 'SIGKILL'] as const, signal => signal === 'SIGKILL')
  test.for(signals)('by %s, it goes on where it was', async signal => {
    const folder = await workplace()
    const args = compare('magnitude,plain,wanda-sp', '0.2')
    const { code, stderr } = await fasp(args, {
      folder,
      onProgress: (all, child) => /^3 of 4/m.test(all) && child.kill(signal),
    })
    expect(signal === 'SIGINT' ? INTERRUPTED : [null]).toContain(code)
    const kept = 'fasp: interrupted; what is done is kept, and the same command goes on from there.'
    if (signal === 'SIGINT') expect(stderr.split('\n').at(-2)).toBe(kept)
    expect(names(folder)).toEqual(['dense 0', 'magnitude 0.2'])
    const done = result(folder).runs
    const second = await run(folder, ...args, ...(signal === 'SIGKILL' ? ['--resume'] : []))
    expect(begun(second.stderr)).toEqual(['plain at 20.0 %', 'wanda-sp at 20.0 %'])
    expect(second.stderr).toMatch(/^1 of 2: plain at 20\.0 %; [\d.]+ s left for all$/m)
    expect(result(folder).runs.slice(0, 2)).toEqual(done)
    expect(readdirSync(folder).sort()).toEqual(['result.json', 'text.txt'])
  })
})

test('while one writes a result (of calibration windows of a length of their own) another into it is refused, and the first goes on', async () => {
  const folder = await workplace()
  const args = compare('magnitude', '0.2', '--calibration-seq-len', '16')
  let second: Promise<Run> | undefined
  const first = await fasp(args, {
    folder,
    onProgress: all => {
      if (/^1 of 2/m.test(all)) second ??= fasp(args, { folder })
    },
  })
  expect([first.code, names(folder)]).toEqual([0, ['dense 0', 'magnitude 0.2']])
  const { runs, protocol } = result(folder)
  expect(protocol).toMatchObject({ seqLen: 32, calibrationSeqLen: 16, samples: 4 })
  expect(runs[1].prune!.calibration).toMatchObject({ seqLen: 16, texts: [{ used: 4 }] })
  expect(runs[1].perplexity[0].seqLen).toBe(32)
  expect((await second!).stderr).toMatch(/^fasp: result\.json is being written by process \d+, in .+\. Wait until/)
  expect(readdirSync(folder).sort()).toEqual(['result.json', 'text.txt'])
})

test('work that was left beside a whole result is removed, and that of another comparison is named', async () => {
  const folder = await withResult()
  const others = ['.stopped.work/shared.bin', '.running.work/shared.bin', `.running.${newOwner()}.partial/x`]
  await put(folder, {
    '.result.json.work/shared.bin': '{}',
    ...Object.fromEntries(others.map(one => [one, ''])),
  })
  const { stderr } = await run(folder, ...compare('magnitude', '0.3'))
  expect(stderr).toBe(
    `${join(folder, '.stopped.work')} is of a comparison that was stopped. The same command goes on from there; or remove it.\n`,
  )
  expect(readdirSync(folder).sort()).toEqual(
    [...others.map(one => one.split('/')[0]), 'result.json', 'text.txt'].sort(),
  )
})

describe('a run that fails', () => {
  test('is named in table and result, the others are done, and the same command tries it again', async () => {
    const folder = await workplace()
    const args = compare('magnitude,plain', '0.2')
    let killed = false
    const { code, stdout, stderr } = await fasp(args, {
      folder,
      onProgress(all, { pid }) {
        if (killed || !/^2 of 3.*\n(?:.*\n)*prune: /m.test(all)) return
        killed = true
        const threads = readdirSync(`/proc/${pid}/task`)
        const children = threads.flatMap(
          id => readFileSync(`/proc/${pid}/task/${id}/children`, 'utf8').match(/\d+/g) ?? [],
        )
        execFileSync('kill', ['-KILL', ...children]) // as the kernel does where the memory is full
      },
    })
    expect([code, stderr.trimEnd().split('\n').at(-1)]).toEqual([
      1,
      'fasp: 1 of 3 runs failed. The same command tries them again.',
    ])
    const reason = 'its process ended (SIGKILL). Was the memory full? A lower --memory and fewer --windows take less.'
    expect(failed(folder)).toEqual([undefined, reason, undefined])
    expect(stdout.replace(/\s+/g, ' ')).toContain(`Failed model why magnitude 20 % ${reason}`)
    expect(stdout.split('\n').filter(line => line.length > 80)).toEqual([])
    expect(readdirSync(folder).sort()).toEqual(['result.json', 'text.txt'])
    const report = await run(folder, 'report', 'result.json')
    expect(report.stdout).toMatch(/^Failed\nmodel +why\nmagnitude 20 % +its process ended \(SIGKILL\)/m)
    await run(folder, 'report', 'result.json', '-o', 'report.html')
    const second = await run(folder, ...args)
    expect(begun(second.stderr)).toEqual(['dense', 'magnitude at 20.0 %'])
    expect(failed(folder)).toEqual([undefined, undefined, undefined])
    expect(names(folder)).toEqual(['dense 0', 'magnitude 0.2', 'plain 0.2'])
  })
})

describe('refused before any run', () => {
  const grids: [methods: string, sparsity: string, says: string][] = [
    ['papers', '0.2', 'method "papers" is unknown; there is: stock, best, paper, plain, flap'],
    ['paper,,best', '0.2', 'method "" is unknown'],
    ['paper,paper', '0.2', 'method paper is named twice. Name it once.'],
    ['best:alpa=0.3', '0.2', 'method best has no option "alpa"; it has: scope, score, repair, alpha,'],
    ['best:output=x', '0.2', 'method best has no option "output"'],
    ['best:alpha=2', '0.2', 'method best:alpha=2 at sparsity 0.2: alpha is 2; it must be a number from 0 to 1.'],
    ['best:layout=stock', '0.2', 'layout is "stock"; with method best it must be one of compact, padded.'],
    ['paper', '0', 'sparsity is 0; it must be a number above 0 and up to 0.9.'],
    ['paper', '0.2,0.95', 'sparsity is 0.95; it must be'],
    ['paper', '0.2,x', '--sparsity is "x"; it must be a number, with or without %.'],
    ['paper', '0.2,20%', 'sparsity 0.2 is named twice.'],
    ['paper', '0.2,20', '--sparsity is "20"; 20 % is 0.2, or 20%.'],
    ['paper,plain', '0.3,0.8', 'method plain at sparsity 0.8: sparsity 0.8 cannot be reached'],
  ]
  test.for(grids)('--methods %s -s %s', async ([methods, sparsity, says]) =>
    refused(await workplace(), compare(methods, sparsity), { code: 2, says: [says] }),
  )

  test.for<[string, string[], string]>([
    ['a text that is missing', ['--text', 'missing.txt'], 'missing.txt: no such file'],
    ['a text that is empty', ['--text', 'empty.txt'], 'empty.txt: no text in it'],
    ['a text that is too short', ['--text', 'short.txt'], 'short.txt: '],
    ['an unknown task', ['--tasks', 'arc_hard', '--tasks-data', '.'], 'unknown task "arc_hard"; there is: arc_easy'],
    ['a task without items', ['--tasks', 'piqa', '--tasks-data', '.'], 'there are no items of piqa in .'],
    [
      'a folder of tasks that is missing',
      ['--tasks', 'piqa', '--tasks-data', 'no'],
      'tasks-data no: there is no such folder',
    ],
    ['a task file that is cut short', ['--tasks', 'boolq', '--tasks-data', '.'], 'boolq.jsonl: line 1: not JSON'],
    ['a number of windows too many', ['--text-windows', '3,2'], 'there are 2 text-windows for 1 texts.'],
    ['a number of windows that is none', ['--text-windows', '3,'], '--text-windows is ""; it must be an integer.'],
    ['an end and a beginning', ['--resume', '--overwrite'], '--overwrite starts anew, and --resume goes on. Give one.'],
    ['windows longer than the context', ['--calibration-seq-len', '600'], 'is 600; it must be an integer from 2'],
    ['a report of no kind', ['--report', 'r.pdf'], 'r.pdf does not say what to write'],
    ['a calibration text that is missing', ['--calibration', 'missing.txt'], 'missing.txt: no such file'],
    ['an output that is a folder', ['-o', '.'], 'is a folder'],
    ['an output in no folder', ['-o', 'none/r.json'], 'cannot write none/r.json'],
    ['an output of the user', ['-o', 'text.txt', '--overwrite'], 'text.txt was not written by fasp'],
    ['a model that is missing', [], 'there is no such file or folder'],
  ])('%s', async ([name, more, says]) => {
    const folder = await workplace({ 'empty.txt': '', 'short.txt': 'Too short.', 'boolq.jsonl': '{"passage": "A' })
    const args = compare('paper', '0.2', ...more)
    if (name.startsWith('a model')) args[1] = './missing'
    const code = /^(an unknown|an end|a task without|a folder of|a report|a number|windows)/.test(name) ? 2 : 1
    await refused(folder, args, { code, says: [says] })
  })

  test('a result of another comparison, unless --overwrite', async () => {
    const folder = await withResult()
    const other = compare('magnitude', '0.2', '--text-windows', '2', '--seed', '1')
    const says = ['result.json holds results that cannot go beside these (maxWindows, seed).', 'with --overwrite.']
    await refused(folder, other, { says })
    const { stderr } = await run(folder, ...other, '--overwrite')
    expect(begun(stderr)).toEqual(['dense', 'magnitude at 20.0 %'])
    expect(result(folder).protocol).toMatchObject({ maxWindows: [2], seed: 1 })
    expect(existsSync(join(folder, '.result.json.work'))).toBe(false)
  })
})
