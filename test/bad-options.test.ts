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
    ['NaN', '--sparsity is "NaN"; it must be a number.'],
    ['Infinity', '--sparsity is "Infinity"; it must be a number.'],
    ['half', '--sparsity is "half"; it must be a number.'],
    ['', '--sparsity is ""; it must be a number.'],
    ['0.8', 'sparsity 0.8 cannot be reached: --scope ffn covers 75 % of the decoder linears. Use --scope ffn+vo'],
  ])('%s', ([value, says]) => usage([...BASE, '-s', value], says))
  test('none', () => usage(BASE, 'no sparsity. Say how much to remove, for example -s 0.2.'))
  test('without a value', () => usage([...BASE, '-s'], '-s, --sparsity needs a value.'))
})

describe('options', () => {
  const cases: Record<string, [string[], string]> = {
    'an unknown one': [['--sparsty', '0.2'], 'unknown option --sparsty. Did you mean --sparsity? See --help.'],
    'an unknown short one': [['-x'], 'unknown option -x. See --help.'],
    'a flag with a value': [['--json=yes'], '--json takes no value.'],
    'an unknown choice': [['--scope', 'all'], '--scope is "all"; it must be one of ffn, ffn+vo, ffn+heads.'],
    'a BLAS that is not there': [
      ['-s', '0.2', '--blas', 'libnone.so'],
      'blas: cannot load libnone.so (Failed to load shared library',
    ],
    'an unknown preset': [['--preset', 'worst'], '--preset is "worst"; it must be one of paper, best, stock.'],
    'an unknown score': [['--score', 'random'], '--score is "random"; it must be one of column, eliminate.'],
    'an unknown target': [['--target', 'half'], '--target is "half"; it must be one of pruned, dense.'],
    'alpha beyond 1': [['--target', 'dense', '--alpha', '1.5'], 'alpha is 1.5; it must be a number from 0 to 1.'],
    'aligned inputs without a dense target': [
      ['--inputs', 'aligned'],
      'inputs aligned goes towards the dense stream, which runs with target dense. Add that, or use inputs kept.',
    ],
    'a target without restoration': [
      ['--target', 'dense', '--no-restore'],
      'target dense is what the restoration aims at, and no-restore leaves that out. Leave one of them out.',
    ],
    'elimination without restoration': [
      ['--score', 'eliminate', '--no-restore'],
      'score eliminate goes by what the restoration makes up for, and no-restore leaves that out. Leave one of them out.',
    ],
    'sensitivity without restoration': [
      ['--preset', 'best', '--allocate', 'sensitivity', '--no-restore'],
      'allocate sensitivity goes by what the restoration makes up for, and no-restore leaves that out.',
    ],
    'alpha without a dense target': [
      ['--preset', 'best', '--target', 'pruned', '--alpha', '0.5'],
      'alpha is how far to go towards the dense stream, which runs with target dense. Add that, or leave alpha out.',
    ],
    'aligned inputs with alpha 0': [
      ['--target', 'dense', '--inputs', 'aligned', '--alpha', '0'],
      'inputs aligned turns the part alpha of the way, and alpha is 0. Use a larger one, or inputs kept.',
    ],
    'value channels of scope ffn': [
      ['--preset', 'stock', '--vo', 'rotate'],
      'vo says which value channels go, and scope ffn leaves all of them. Use scope ffn+vo, or leave vo out.',
    ],
    'a probe for uniform widths': [
      ['--probe-tokens', '512'],
      'probe-tokens is the size of the probe of allocate sensitivity. Add that, or leave probe-tokens out.',
    ],
    'an unknown method': [['--method', 'best'], '--method is "best"; it must be one of fasp, flap, wanda-sp,'],
    'a preset of another method': [
      ['--method', 'flap', '--preset', 'paper'],
      'presets are of method fasp; method flap has none. Leave one of them out.',
    ],
    'a part that the method brings': [
      ['--method', 'wanda-sp', '--no-restore'],
      'no-restore is no option of method wanda-sp. Leave one of them out.',
    ],
    'a layout that the method cannot write': [
      ['--method', 'flap', '--layout', 'stock'],
      'method flap cannot write layout stock: each layer has widths of its own, and may lose all its heads or neurons. Use padded.',
    ],
    'fewer layers in a layout of zeros': [
      ['--method', 'sleb', '--layout', 'padded'],
      'method sleb cannot write layout padded: the layers that stay are as they were',
    ],
    'a scope of another method': [
      ['--method', 'osscar', '--scope', 'ffn+vo'],
      'scope is "ffn+vo"; with method osscar it must be one of ffn+heads, ffn.',
    ],
    'heads by fasp': [
      ['--scope', 'ffn+heads'],
      'scope is "ffn+heads"; with method fasp it must be one of ffn, ffn+vo.',
    ],
    'a scope of whole layers': [['--method', 'shortgpt', '--scope', 'ffn'], 'scope is no option of method shortgpt.'],
    'too few layers left': [
      ['--method', 'shortgpt', '-s', '0.9'],
      'sparsity 0.9 would remove 5 of 6 layers; 2 have to stay. Use a lower sparsity.',
    ],
    'widths by layer in stock': [
      ['--allocate', 'sensitivity'],
      'layout stock has one FFN width for all layers, and allocate sensitivity gives each its own. Use layout compact or padded.',
    ],
    'a multiple that sensitivity cannot cut by': [
      ['--preset', 'best', '--multiple', '384', '-s', '0.4'],
      'sparsity 0.4 cannot be reached: in FFN widths that are a multiple of 384, allocate sensitivity can remove 10.9 % of the decoder linears. Use a smaller --multiple or a lower sparsity.',
    ],
    'no probe': [
      ['--allocate', 'sensitivity', '--layout', 'compact', '--probe-tokens', '0'],
      'probe-tokens is 0; it must be an integer from 1 to',
    ],
    'held-out below 0': [['--held-out', '-1'], 'held-out is -1; it must be an integer from 0 to 1000.'],
    'center without biases': [['--center'], 'center repairs biases, and this model has none. Leave the option out.'],
    'samples 0': [['--samples', '0'], 'samples is 0; it must be an integer from 1 to'],
    'half a sample': [['--samples', '1.5'], '--samples is "1.5"; it must be an integer.'],
    'fewer samples than texts': [
      ['--samples', '1', '--calibration', 'text.txt'],
      '1 calibration samples cannot be divided among 2 texts; take at least one sample a text (--samples 2)',
    ],
    'multiple 0': [['--multiple', '0'], 'multiple is 0; it must be an integer from 1 to 384.'],
    'a multiple that leaves nothing': [
      ['--multiple', '384', '-s', '0.7'],
      'Use a lower sparsity or a smaller --multiple.',
    ],
    'seq-len above the context': [['--seq-len', '513'], 'seq-len is 513; it must be an integer from 2 to 512.'],
    'seq-len 1': [['--seq-len', '1'], 'seq-len is 1; it must be an integer from 2 to 512.'],
    'damp below 0': [['--damp', '-1'], 'damp is -1; it must be a number from 0 to'],
    'threads 0': [['--threads', '0'], 'threads is 0; it must be an integer from 1 to 1024.'],
    'memory below 0': [['--memory', '-1'], 'memory is -1; it must be a number from 0 to'],
    'a seed beyond 32 bits': [['--seed', '4294967296'], 'seed is 4294967296; it must be an integer from 0 to'],
    'max-windows 0': [['--eval', 'text.txt', '--max-windows', '0'], 'max-windows is 0; it must be an integer from 1'],
    'several models': [['other-model'], 'one model at a time; got 2: '],
  }
  test.for(Object.entries(cases))('%s', ([, [args, says]]) => usage([...BASE, '-s', '0.2', ...args], says))

  test('no model', () => usage(['prune', '-s', '0.2', '-o', 'out'], 'no model. Give a Hugging Face model folder'))
  test('no output', () => usage(['prune', TINY_LLAMA, '-s', '0.2'], 'no output. Say where the pruned model goes: -o'))
  test('eval of nothing', () => usage(['eval', TINY_LLAMA], 'nothing to measure. Give --text <file>, --tasks <names>'))
  test('eval beyond the context', () =>
    usage(['eval', TINY_LLAMA, '--text', 'text.txt', '--seq-len', '600'], 'seq-len is 600; it must be'))
  test('generate without a prompt', () => usage(['generate', TINY_LLAMA], 'no prompt. Give some text with -p.'))
  test('generate beyond a range', () =>
    usage(['generate', TINY_LLAMA, '-p', 'a', '--top-p', '2'], '--top-p is 2; it must be from'))
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
      '--samples',
      '4',
    ]
    await refused(await workplace(files), args, { says: [says] })
  })
  test('to evaluate on, known before anything is pruned', async () => {
    await refused(await workplace(files), [...BASE, '-s', '0.2', '--eval', 'short.txt'], {
      says: ['short.txt: ', 'more text'],
    })
  })
})

describe('before a model is fetched', () => {
  const COMPARE = ['compare', 'org/none', '-s', '0.2', '-o', 'r.json', '--text', 'text.txt']
  const PRUNE = ['prune', 'org/none', '-s', '0.2', '-o', 'out']
  const flap = 'method flap cannot write layout stock'
  const cases: [args: string[], says: string, code?: number][] = [
    [[...COMPARE, '--methods', 'paper', '--tasks', 'arc_hard'], 'unknown task "arc_hard"; there is: arc_easy'],
    [[...COMPARE, '--methods', 'paper', '--tasks', 'x'], ', wikitext.'],
    [[...COMPARE, '--methods', 'flap:layout=stock'], `method flap:layout=stock at sparsity 0.2: ${flap}`],
    [[...COMPARE, '--methods', 'best:help'], 'method "best:help" has an option "help". Write options of fasp prune'],
    [[...COMPARE, '--methods', 'best:'], 'method "best:" has an option "".'],
    [[...COMPARE, '--methods', 'best', '--limit', '5'], '--limit and --tasks-data are for tasks.'],
    [[...COMPARE, '--methods', 'best', '--tasks-data', '.'], '--limit and --tasks-data are for tasks.'],
    [[...COMPARE, '--methods', 'best', '--text', 'none.txt'], 'none.txt: no such file', 1],
    [[...COMPARE, '--methods', 'best', '--calibration', 'none.txt'], 'none.txt: no such file', 1],
    [[...PRUNE, '--method', 'flap', '--layout', 'stock'], flap],
    [[...PRUNE, '--method', 'flap', '--layout', 'stock', '--dry-run'], flap],
    [[...PRUNE, '--eval', 'text.txt', '--to', 'gguf:q8_0', '--to', 'pickle'], '--to is "pickle"'],
    [[...PRUNE, '--eval', 'none.txt'], 'none.txt: no such file', 1],
    [[...PRUNE, '--calibration', 'none.txt'], 'none.txt: no such file', 1],
    [['eval', 'org/none', '--text', 'none.txt'], 'none.txt: no such file', 1],
    [['eval', 'org/none', '--text', 'text.txt', '--max-windows', '0'], 'max-windows is 0; it must be'],
    [['eval', 'org/none', '--tasks', 'piqa', '--limit', '0'], 'limit is 0; it must be'],
    [['eval', 'org/none', '--tasks', 'arc_hard'], 'unknown task "arc_hard"'],
  ]
  test.for(cases)('%j', async ([args, says, code = 2]) =>
    refused(await workplace(), args, { code, says: [says], env: { HF_ENDPOINT: 'http://127.0.0.1:9' } }),
  )
})
