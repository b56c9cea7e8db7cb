// The commands as a user runs them, where all is well: results on stdout, progress in plain lines on stderr, exit code 0.
// What goes wrong is in bad-input, bad-options and bad-output, the demo in demo.
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { CLI, fasp, putModel, QUICK, run, runProcess, snapshot, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'
import { someOf } from './nightly.ts'
import { TINY_OPT } from './tiny.ts'

const workplace = workplaces()

const json = (path: string) => JSON.parse(readFileSync(path, 'utf8'))
const prune = (...more: string[]) => [
  'prune',
  TINY_LLAMA,
  '-s',
  '0.2',
  '-o',
  'out',
  ...QUICK,
  '--held-out',
  '2',
  ...more,
]

describe('prune', () => {
  test('stock, with --text and --json', async () => {
    const folder = await workplace()
    const args = prune('--text', 'text.txt', '--text-windows', '3')
    const { stdout, stderr } = await runProcess(folder, ...args)
    expect(stdout.replaceAll('\n', ' ')).toMatch(
      /^2\.6 MB → 2\.2 MB, 1\.3 M → 1\.1 M parameters,( a prompt at \d+ → \d+ tokens\/s here,)? [+−][\d.]+ % perplexity on held-out text, [+−][\d.]+ % perplexity on text\.txt \([\d.]+ → [\d.]+\) {2}/,
    )
    expect(stdout).toMatch(/^FFN neurons +288 of 384\n.*^layer +neurons +error +restored +held out\n\d +288 /ms)
    expect(stdout.match(/^\d +288( +\d+\.\d %){3}$/gm)).toHaveLength(5) // the worst of 6
    expect(stdout).toMatch(/^decoder linears +1\.2 M +958\.5 k +18\.8 %$/m)
    expect(stdout).toMatch(/^Perplexity: text\.txt, 3 × 32\nmodel +perplexity .*\ndense .*\nstock 20 % .*$/m)
    expect(stdout).toMatch(
      /peak memory [\d.]+ MB\nWrote out\n\nNext: try it, measure it, share it\.\n( {2}fasp .*\n){3}/,
    )
    const result = JSON.parse((await run(folder, ...args, '--overwrite', '--json=full')).stdout)
    expect(result).toMatchObject({
      widths: { before: { ffn: 384 }, after: Array(6).fill({ ffn: 288, value: 32 }) },
      options: { sparsity: 0.2 },
    })
    expect(result.layers).toHaveLength(6)
    for (const name of ['dense', 'pruned']) {
      const [{ file, windows, perplexity }] = result.perplexities[name]
      expect([file, windows]).toEqual(['text.txt', 3])
      expect(perplexity).toBeGreaterThan(1)
    }
    // A slow machine says more of a phase; text.txt: it was calibrated on.
    const told = stderr
      .trimEnd()
      .split('\n')
      .map(line => line.replace(/: .*/, ''))
    const few = '128 calibration tokens are few for the width of the FFNs'
    expect([...new Set(told)]).toEqual(['evaluate dense', few, 'prune', 'text.txt', 'evaluate pruned'])
    expect(stderr).toMatch(/^prune: layer 0 of 6\n(prune: .*\n)?prune: layer 6 of 6 +\d+ tokens\/s +took [\d.]+ s$/m)
    expect(readdirSync(folder).sort()).toEqual(['out', 'text.txt'])
    expect(readdirSync(join(folder, 'out')).sort()).toEqual([
      'README.md',
      'config.json',
      'fasp.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ])
    const card = readFileSync(join(folder, 'out/README.md'), 'utf8')
    expect(card).toMatch(/^\| perplexity on text\.txt, held out, \d × 32 tokens \| \d+\.\d\d \| \d+\.\d\d \| [+−]\d/m)
    const [dense, pruned] = ['dense', 'pruned'].map(name => result.perplexities[name][0].perplexity.toFixed(2))
    expect(card).toContain(`| perplexity on text.txt, 3 × 32 tokens | ${dense} | ${pruned} | `)
    expect(card).toContain('(`-s 0.2 --method stock`)')
    expect(card).toContain('AutoModelForCausalLM.from_pretrained(folder)\n')
    expect(card).not.toContain('npmjs.com')
    const config = json(join(folder, 'out/config.json'))
    const older = { rope_theta: 10000, rope_scaling: null } // transformers 4 reads no rope_parameters
    expect(config).toEqual({ ...json(join(TINY_LLAMA, 'config.json')), intermediate_size: 288, ...older })
    expect(json(join(folder, 'out/fasp.json')).layers).toEqual(result.layers)
  })

  const outputs: [string, RegExp][] = [
    ["it's small", /^fasp push 'it'\\''s small' your-name\/it-s-small$/],
    ['small.gguf', /^fasp bench .*tiny-llama small\.gguf$/],
  ]
  test.each(someOf(outputs, (_, i) => i === 0))(
    'the commands at the end of %s work as they stand',
    async (output, last) => {
      const folder = await workplace()
      const text = ['--text', 'text.txt', '--text-windows', '1']
      const { stdout } = await run(folder, 'prune', TINY_LLAMA, '-s', '0.2', '-o', output, ...QUICK, ...text)
      const commands = stdout
        .trimEnd()
        .split('\n')
        .slice(-3)
        .map(line => line.trim())
      expect(commands[2]).toMatch(last)
      const shell = promisify(execFile)
      const { HOME = '', PATH = '' } = process.env
      for (const command of commands) {
        const typed = command.replace(/^fasp/, `${process.execPath} ${CLI}`).replace(/ push .*/, '$& --dry-run')
        await shell('sh', ['-c', typed], { cwd: folder, env: { HOME, PATH, FASP_LOG: '' } })
      }
    },
  )

  test('takes texts of every kind, in equal shares, and writes another type', async () => {
    const folder = await workplace({
      'b.jsonl': `${JSON.stringify({ text: TEXT })}\n`.repeat(2),
      'c/text.txt': TEXT,
      'c.txt.gz': gzipSync(TEXT),
    })
    const texts = ['text.txt', 'b.jsonl', 'c.txt.gz', 'c/text.txt'].flatMap(name => ['--calibration', name])
    const sizes = ['--windows', '8', '--seq-len', '32', '--text-windows', '1']
    const args = ['prune', TINY_LLAMA, '-s', '0.2', '-o', 'out', ...texts, ...sizes, '--dtype', 'f16']
    const { lines } = await run(folder, ...args, '--text', 'text.txt', '--text', 'b.jsonl', '--json')
    const { calibration, perplexities } = JSON.parse(lines.at(-1)!)
    expect(calibration.texts.map((t: { name: string; used: number }) => [t.name, t.used])).toEqual([
      ['text.txt', 2],
      ['b.jsonl', 2],
      ['c.txt.gz', 2],
      ['c/text.txt', 2],
    ])
    expect(perplexities.pruned.map((r: { file: string }) => r.file)).toEqual(['text.txt', 'b.jsonl'])
    expect(perplexities.pruned[0].standardError).toBeNull() // one window has no spread
    const { stdout } = await run(folder, 'inspect', 'out')
    expect(stdout).toMatch(/tensors: \d+ F16$/m)
    expect(json(join(folder, 'out/config.json')).dtype).toBe('float16')
  })

  test('padded keeps every shape', async () => {
    const folder = await workplace()
    const { stdout } = await run(folder, ...prune('--method', 'plain:layout=padded'))
    expect(stdout).toMatch(/^whole model, zeros stored +1\.3 M +1\.3 M +0\.0 %$/m)
    expect(json(join(folder, 'out/config.json')).intermediate_size).toBe(384)
  })

  test('method paper cuts value channels too and says that the file does not shrink', async () => {
    const folder = await workplace()
    const { stdout, stderr } = await run(folder, ...prune('--method', 'paper'))
    expect(stderr).toContain('Method paper writes layout padded: all shapes stay, removed parts are zeros.')
    expect(stdout).toMatch(/^layer +V rows +error +restored +held out +neurons +error +restored +held out$/m)
    const { options, notices } = json(join(folder, 'out/fasp.json'))
    expect(options).toMatchObject({ scope: 'ffn+vo', vo: 'ragged', layout: 'padded', multiple: 1 })
    expect(notices).toHaveLength(1)
  })

  test('without text the model writes its own, and fasp says so', async () => {
    const { stderr } = await run(
      await workplace(),
      ...['prune', TINY_LLAMA, '-s', '0.2', '-o', 'out', '--windows', '4', '--seq-len', '16'],
    )
    expect(stderr).toContain('No calibration text given: calibrating on 4 windows of 16 tokens')
    expect(stderr).toMatch(/^calibration text: (\d+) of \1 tokens /m) // with those held out
  })

  test('the same input and seed give the same bytes', async () => {
    const weights: Buffer[] = []
    for (const _ of [1, 2]) {
      const folder = await workplace()
      await run(folder, ...prune())
      weights.push(readFileSync(join(folder, 'out/model.safetensors')))
    }
    expect(weights[0].equals(weights[1])).toBe(true)
  })

  test('--dry-run shows sizes and memory, reads no weight and writes nothing', async () => {
    const folder = await workplace()
    const weights = readFileSync(join(TINY_LLAMA, 'model.safetensors'))
    weights.fill(0xff, 8 + Number(weights.readBigUint64LE(0))) // all NaN
    await putModel(folder, { 'model.safetensors': weights })
    const before = await snapshot(folder)
    const args = ['prune', 'model', '-s', '0.2', '--dry-run']
    const { stdout, stderr } = await run(folder, ...args)
    expect(stdout).toMatch(/^FFN neurons per layer: 288 of 384\. Value channels per KV head: 32 of 32\.$/m)
    expect(stdout).toMatch(/^weights on disk +2\.6 MB +2\.2 MB/m)
    expect(stdout).toMatch(/^Expected memory: [\d.]+ MB/m)
    expect(JSON.parse((await run(folder, ...args, '--json')).stdout).widths.after[5].ffn).toBe(288)
    expect(stderr).toBe('')
    expect(await snapshot(folder)).toEqual(before)
  })

  test('goes on when nobody reads its progress', async () => {
    const folder = await workplace()
    const wrap = ['bash', '-c', 'set -o pipefail; "$@" 2>&1 >/dev/null | head -n 1', 'piped']
    const { code, stdout } = await fasp(prune(), { folder, wrap })
    expect([code, stdout]).toEqual([0, expect.stringMatching(/^128 calibration tokens are few .*\n$/)])
    expect(readdirSync(folder).sort()).toEqual(['out', 'text.txt'])
  })
})

describe('prune on OPT', () => {
  test('with centring', async () => {
    const folder = await workplace()
    const args = ['prune', TINY_OPT, '-s', '0.2', '-o', 'out', ...QUICK, '--method', 'plain:center']
    await run(folder, ...args)
    expect(json(join(folder, 'out/config.json')).ffn_dim).toBe(352)
    await run(folder, 'inspect', 'out')
  })
})

test('eval prints a table and, with --json, the schema of the documents', async () => {
  const folder = await workplace({ 'second.txt': 'Once upon a time there was a prince.\n'.repeat(20) })
  const args = ['eval', TINY_LLAMA, '--text', 'text.txt', '--text', 'second.txt', '--seq-len', '64', '--windows', '2']
  const { stdout } = await run(folder, ...args)
  const row = /\S+ +\d+\.\d\d ± \d+\.\d\d +\d\.\d{4}/.source
  expect(stdout).toMatch(new RegExp(`^Perplexity: text\\.txt, 2 × 64\nmodel +perplexity +bits per byte\n${row}$`, 'm'))
  const named = args.map(arg => (arg === '--windows' ? '--text-windows' : arg)) // as in prune
  const { texts, model } = JSON.parse((await run(folder, ...named, '--json')).stdout)
  expect(model).toBe(TINY_LLAMA)
  const numbers = ['perplexity', 'standardError', 'bitsPerByte'].map(name => [name, expect.any(Number)])
  const one = { windows: 2, seqLen: 64, tokens: 126, ...Object.fromEntries(numbers) }
  expect(texts).toEqual(['text.txt', 'second.txt'].map(file => ({ file, bos: true, ...one })))
})

describe('generate', () => {
  const generate = async (...more: string[]) =>
    (await run(await workplace(), 'generate', TINY_LLAMA, '-p', 'Once upon a time', '--max-tokens', '12', ...more))
      .stdout

  test('greedy, the prompt first', async () => {
    const text = await generate()
    expect(text).toMatch(/^Once upon a time\S* .+\n$/s)
    const { prompt, ids, text: written } = JSON.parse(await generate('--json'))
    expect(`${prompt}${written}\n`.replace(/\s+/g, ' ')).toBe(text.replace(/\s+/g, ' '))
    expect(ids).toHaveLength(12)
  })
  test('sampled: the same seed gives the same text, another one another', async () => {
    const sampled = (seed: string) => generate('--temperature', '1', '--top-p', '0.95', '--seed', seed)
    const [first, again, other] = [await sampled('1'), await sampled('1'), await sampled('2')]
    expect(again).toBe(first)
    expect(other).not.toBe(first)
  })
})

test('inspect', async () => {
  const { stdout, stderr } = await run(await workplace(), 'inspect', TINY_LLAMA, '--tensors')
  expect(stdout).toContain('6 layers, hidden size 128, FFN 384, 4 heads of 32 (2 for keys and values)')
  expect(stdout).toMatch(/^model\.layers\.5\.mlp\.down_proj\.weight +BF16 +\[128, 384\]$/m)
  expect(stdout).toMatch(/^can be cut, of all +by methods\nffn, 67\.4 % +stock, best, /m)
  expect(stdout).toMatch(/^ffn\+heads, 89\.9 % +flap, wanda-sp, /m)
  expect(stdout).toMatch(/^vocabulary, 10\.0 % +--vocabulary$/m)
  const { stdout: printed } = await run(await workplace(), 'inspect', TINY_LLAMA, '--json')
  expect(JSON.parse(printed)).toMatchObject({ modelType: 'llama', ffnWidth: 384, parameters: { total: 1312384 } })
  expect(stderr).toBe('')
})

describe('help', () => {
  test.for([[], ...['prune', 'export', 'eval', 'generate', 'inspect', 'push', 'demo'].map(command => [command])])(
    'fasp %j --help fits 80 columns',
    async command => {
      const { stdout, stderr } = await run(await workplace(), ...command, '--help')
      expect(stdout.split('\n').filter(line => line.length > 80)).toEqual([])
      expect(stdout).toContain(command.length ? `fasp ${command[0]}` : 'Commands:')
      expect(stderr).toBe('')
    },
  )
  test('fasp prune --help shows at most 18 options, --help-all has all of them and the methods', async () => {
    const help = async (flag: string) => (await run(await workplace(), 'prune', flag)).stdout
    const [few, all] = [await help('--help'), await help('--help-all')]
    const options = (text: string) => text.match(/^ +(-\w, )?--[\w-]+/gm)!.map(option => option.trim())
    expect(options(few).length).toBeLessThanOrEqual(20)
    expect(options(all)).toEqual(expect.arrayContaining([...options(few), '--held-out', '--seed']))
    expect(all).toContain('\n  paper ')
    expect(all.split('\n').filter(line => line.length > 80)).toEqual([])
  })
  test('--version', async () => {
    const { version } = json(new URL('../package.json', import.meta.url).pathname)
    expect((await run(await workplace(), '--version')).stdout).toBe(`${version}\n`)
  })
})
