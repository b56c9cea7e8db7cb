// Wrong usage: the message names the option and what is allowed, the exit code is 2, nothing is read or written.
// Texts that cannot be used come after: the exit code is 1.
import { describe, expect, test } from 'vitest'
import { fasp, QUICK, refused, TINY_LLAMA, workplaces } from './fasp.ts'

const workplace = workplaces()
const BASE = ['prune', TINY_LLAMA, '-o', 'out', ...QUICK]

const usage = async (args: readonly string[], ...says: string[]) =>
  refused(await workplace(), args, { code: 2, says: ['fasp: ', ...says] })

describe('the command', () => {
  test('unknown', () => usage(['prun'], 'unknown command "prun". Did you mean prune? See fasp --help.'))
  test('unknown and like nothing', () => usage(['compress'], 'unknown command "compress". See fasp --help.'))
  test('none: the help, and exit code 2', async () => {
    const { code, stdout, stderr } = await fasp([], { folder: await workplace() })
    expect([code, stderr]).toEqual([2, ''])
    expect(stdout).toContain('Usage: fasp <command>')
  })
})

describe('sparsity', () => {
  const range = 'it must be a number from 0 to 0.9.'
  test.for<[string, string]>([
    ['0.91', `sparsity is 0.91; ${range}`],
    ['-0.1', `sparsity is -0.1; ${range}`],
    ['1e3', `sparsity is 1000; ${range}`],
    ['NaN', '--sparsity is "NaN"; it must be a number, with or without %.'],
    ['Infinity', '--sparsity is "Infinity"; it must be a number, with or without %.'],
    ['half', '--sparsity is "half"; it must be a number, with or without %.'],
    ['', '--sparsity is ""; it must be a number, with or without %.'],
    [
      '0.8',
      'sparsity 0.8 cannot be reached: scope ffn covers 75 % of the decoder linears. Use a method that cuts attention',
    ],
  ])('%s', ([value, says]) => usage([...BASE, '-s', value], says))
  test('none', () =>
    usage(
      BASE,
      'no sparsity. Say how much to remove, in one way: sparsity (-s 0.2), size (--size 85MB), parameters (--params 100M) or maxLoss (--max-loss 0.1).',
    ))
  test('without a value', () => usage([...BASE, '-s'], '-s, --sparsity needs a value.'))
})

describe('options', () => {
  const cases: Record<string, [string[], string]> = {
    'an unknown one': [['--sparsty', '0.2'], 'unknown option --sparsty. Did you mean --sparsity? See --help.'],
    'an unknown short one': [['-x'], 'unknown option -x. See --help.'],
    'a flag with a value': [['--overwrite=yes'], '--overwrite takes no value.'],
    'an unknown choice': [
      ['-s', '0.2', '--dtype', 'int8'],
      'dtype is "INT8"; weights in a folder are F32, F16, BF16 or F64. Quantised types are those of GGUF: name a .gguf',
    ],
    'a preset': [['--preset', 'best'], 'unknown option --preset. Use --method: best, or with options of a method'],
    'an option of a method': [['--layout', 'compact'], 'unknown option --layout. Use --method: best, or with options'],
    'a BLAS that is not there': [
      ['-s', '0.2', '--blas', 'libnone.so'],
      'blas: cannot load libnone.so (Failed to load shared library',
    ],
    ...Object.fromEntries(
      [
        ['worst', 'method "worst" is unknown; there is: stock, best, paper, plain, flap, wanda-sp,'],
        ['fasp:center', 'method "fasp" is unknown; there is: stock, best, paper, plain,'],
        ['fasp', 'sleb. It is plain now.'],
        ['best:', 'method best has no option ""; it has: scope, score, repair, alpha,'],
        ['best:help', 'method best has no option "help"'],
        ['shortgpt:scope=ffn', 'scope is "ffn"; with method shortgpt it must be one of layers.'],
        ['sleb:alpha=1', 'method sleb has no option "alpha"; it has: probe-tokens.'],
        ['wanda-sp:damp=0', 'method wanda-sp has no option "damp"; it has: scope, multiple, layout.'],
        ['plain:score=random', 'score is "random"; with method plain it must be one of column, eliminate.'],
        ['plain:score=custom', 'score is "custom"; with method plain it must be one of column, eliminate.'],
        ['plain:scope=ffn+heads', 'scope is "ffn+heads"; with method plain it must be one of ffn, ffn+ragged,'],
        ['osscar:scope=ffn+ragged', 'scope is "ffn+ragged"; with method osscar it must be one of ffn+heads, ffn.'],
        ['flap:layout=stock', 'layout is "stock"; with method flap it must be one of padded, compact.'],
        ['best:repair=none', 'repair is "none"; with method best it must be one of aligned, dense, pruned.'],
        ['best:alpha=1.5', 'alpha is 1.5; it must be a number from 0 to 1.'],
        ['best:alpha=much', 'alpha is "much"; it must be a number.'],
        ['best:alpha', 'alpha is ""; it must be a number.'],
        ['best:repair=pruned:alpha=0.5', 'alpha does nothing with repair pruned. Leave it out, or use another repair.'],
        ['plain:repair=none:center', 'center does nothing with repair none.'],
        ['plain:center=yes', 'center is "yes"; it must be without a value.'],
        ['plain:center', 'center repairs biases, and this model has none. Leave the option out.'],
        ['best:probe-tokens=0', 'probe-tokens is 0; it must be an integer from 1 to'],
        ['stock:multiple=0', 'multiple is 0; it must be an integer from 1 to'],
        ['stock:multiple=385', 'multiple is 385; it must be an integer from 1 to 384.'],
        ['stock:multiple=1.5', 'multiple is 1.5; it must be an integer from 1 to'],
        ['stock:damp=-1', 'damp is -1; it must be a number from 0 to'],
      ].map(([method, says]) => [`--method ${method}`, [['--method', method], says]] as const),
    ),
    'too few layers left': [
      ['--method', 'shortgpt', '-s', '0.9'],
      'sparsity 0.9 would remove 5 of 6 layers; 2 have to stay. Use a lower sparsity.',
    ],
    'a multiple that sensitivity cannot cut by': [
      ['--method', 'best:multiple=384', '-s', '0.4'],
      'sparsity 0.4 cannot be reached: in FFN widths that are a multiple of 384, allocation by sensitivity can remove 10.9 % of the decoder linears. Use a smaller multiple or a lower sparsity.',
    ],
    'held-out below 0': [['--held-out', '-1'], 'held-out is -1; it must be an integer from 0 to 1000.'],
    'windows 0': [['--windows', '0'], 'windows is 0; it must be an integer from 1 to'],
    'half a window': [['--windows', '1.5'], '--windows is "1.5"; it must be an integer.'],
    'fewer windows than texts': [
      ['--windows', '1', '--calibration', 'text.txt'],
      '1 calibration windows cannot be divided among 2 texts; take at least one a text (--windows 2)',
    ],
    'a multiple that leaves nothing': [
      ['--method', 'stock:multiple=384', '-s', '0.7'],
      'Use a lower sparsity or a smaller multiple.',
    ],
    'seq-len above the context': [['--seq-len', '257'], 'seq-len is 257; it must be an integer from 2 to 256.'],
    'seq-len 1': [['--seq-len', '1'], 'seq-len is 1; it must be an integer from 2 to 256.'],
    'threads 0': [['--threads', '0'], 'threads is 0; it must be an integer from 1 to 1024.'],
    'memory below 0': [['--memory', '-1'], 'memory is -1; it must be a number from 0 to'],
    'a seed beyond 32 bits': [['--seed', '4294967296'], 'seed is 4294967296; it must be an integer from 0 to'],
    'text-windows 0': [
      ['--text', 'text.txt', '--text-windows', '0'],
      'text-windows is 0; it must be an integer from 1',
    ],
    'several models': [['other-model'], 'one model at a time; got 2: '],
  }
  test.for(Object.entries(cases))('%s', ([, [args, says]]) => usage([...BASE, '-s', '0.2', ...args], says))

  test('no model', () => usage(['prune', '-s', '0.2', '-o', 'out'], 'no model. Give a Hugging Face model folder'))
  test('no output', () => usage(['prune', TINY_LLAMA, '-s', '0.2'], 'no output. Say where the pruned model goes: -o'))
  test('eval of nothing', () => usage(['eval', TINY_LLAMA], 'nothing to measure. Give --text <file>, --tasks <names>'))
  test('eval with both names of an option', () =>
    usage(['eval', TINY_LLAMA, '--windows', '2', '--text-windows', '2'], '--windows and --text-windows are the same.'))
  test('a second name of an option, without a number', () =>
    usage(['eval', TINY_LLAMA, '--text-windows', 'a'], '--text-windows is "a"; it must be an integer'))
  test('eval beyond the context', () =>
    usage(['eval', TINY_LLAMA, '--text', 'text.txt', '--seq-len', '600'], 'seq-len is 600; it must be'))
  test('generate without a prompt', () =>
    usage(['generate', TINY_LLAMA], 'no prompt. Give some text with -p, or through a pipe.'))
  test('generate beyond a range', () =>
    usage(['generate', TINY_LLAMA, '-p', 'a', '--top-p', '2'], 'top-p is 2; it must be a number from 0.000001 to 1.'))
})

describe('texts', () => {
  const files = {
    'empty.txt': '',
    'blank.txt': ' \n\n',
    'short.txt': 'Too short.',
    'latin1.txt': Uint8Array.of(0x63, 0x61, 0x66, 0xe9),
    'field.jsonl': '{"body":"It was a dark night."}\n',
    'broken.jsonl': '{"text":"It was',
    'fake.parquet': 'PAR1 and so on',
    'fake.txt.gz': 'not gzip',
    'page.html': '<p>It was a dark night.</p>',
  }
  const cases: [file: string, says: string][] = [
    ['empty.txt', 'empty.txt: no text in it; give a file with at least one window of text'],
    ['blank.txt', 'blank.txt: no text in it'],
    ['short.txt', 'not enough for one window of 32; give more text or a --seq-len of at most'],
    ['missing.txt', 'missing.txt: no such file; give a text file: .txt'],
    ['latin1.txt', 'latin1.txt: '],
    ['field.jsonl', 'field.jsonl: line 1: not an object with a string "text"'],
    ['broken.jsonl', 'broken.jsonl: line 1: not JSON'],
    ['fake.parquet', 'fake.parquet: cannot be read as parquet'],
    ['fake.txt.gz', 'fake.txt.gz: '],
    ['page.html', 'page.html: unknown kind of text file; allowed are .txt'],
  ]
  test.for(cases)('%s to calibrate on', async ([file, says]) => {
    const args = [
      'prune',
      TINY_LLAMA,
      '-s',
      '0.2',
      '-o',
      'out',
      '--calibration',
      file,
      '--seq-len',
      '32',
      '--windows',
      '4',
    ]
    await refused(await workplace(files), args, { says: [says] })
  })
  test('to evaluate on, known before anything is pruned', async () => {
    await refused(await workplace(files), [...BASE, '-s', '0.2', '--text', 'short.txt'], {
      says: ['short.txt: ', 'more text'],
    })
  })
})

describe('before a model is fetched', () => {
  const COMPARE = ['compare', 'org/none', '-s', '0.2', '-o', 'r.json', '--text', 'text.txt']
  const PRUNE = ['prune', 'org/none', '-s', '0.2', '-o', 'out']
  const flap = 'layout is "stock"; with method flap it must be one of padded, compact.'
  const cases: [args: string[], says: string, code?: number][] = [
    [[...COMPARE, '--methods', 'paper', '--tasks', 'arc_hard'], 'unknown task "arc_hard"; there is: arc_easy'],
    [[...COMPARE, '--methods', 'paper', '--tasks', 'x'], ', wikitext.'],
    [[...COMPARE, '--methods', 'flap:layout=stock'], flap],
    [[...COMPARE, '--methods', 'best:help'], 'method best has no option "help"; it has: scope,'],
    [[...COMPARE, '--methods', 'best:alpha=2'], 'method best:alpha=2 at sparsity 0.2: alpha is 2; it must be'],
    [[...COMPARE, '--methods', 'best', '--limit', '5'], '--limit and --tasks-data are for tasks.'],
    [[...COMPARE, '--methods', 'best', '--tasks-data', '.'], '--limit and --tasks-data are for tasks.'],
    [[...COMPARE, '--methods', 'best', '--text', 'none.txt'], 'none.txt: no such file', 1],
    [[...COMPARE, '--methods', 'best', '--calibration', 'none.txt'], 'none.txt: no such file', 1],
    [[...PRUNE, '--method', 'flap:layout=stock'], flap],
    [[...PRUNE, '--method', 'flap:layout=stock', '--dry-run'], flap],
    [[...PRUNE, '--text', 'text.txt', '--to', 'gguf:q8_0', '--to', 'pickle'], '--to is "pickle"'],
    [[...PRUNE, '--text', 'none.txt'], 'none.txt: no such file', 1],
    [[...PRUNE, '--calibration', 'none.txt'], 'none.txt: no such file', 1],
    [['eval', 'org/none', '--text', 'none.txt'], 'none.txt: no such file', 1],
    [['eval', 'org/none', '--text', 'text.txt', '--windows', '0'], 'windows is 0; it must be'],
    [['eval', 'org/none', '--tasks', 'piqa', '--limit', '0'], 'limit is 0; it must be'],
    [['eval', 'org/none', '--tasks', 'arc_hard'], 'unknown task "arc_hard"'],
  ]
  test.for(cases)('%j', async ([args, says, code = 2]) =>
    refused(await workplace(), args, { code, says: [says], env: { HF_ENDPOINT: 'http://127.0.0.1:9' } }),
  )
})
