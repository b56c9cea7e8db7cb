// Sizes as they are asked for (`size`, `parameters`), and as a plan foresees them, to the byte.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import {
  best,
  CommonSteps,
  MemorySink,
  type PathPlan,
  type PlanOptions,
  type ProgressEvent,
  plain,
  planPrune,
  prune,
} from '../src/node.ts'
import { heldOutCost } from '../src/result/notices.ts'
import { QUICK, refused, run, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'
import { nightly, someOf } from './nightly.ts'
import { TINY_OPT, tinyOf2Layers } from './tiny.ts'

const folder = mkdtempSync(join(tmpdir(), 'fasp-sizes-'))
afterAll(() => rmSync(folder, { recursive: true }))
const workplace = workplaces()
let outputs = 0
const place = (ending = '') => join(folder, `${outputs++}${ending}`)
const quick = { windows: 4, seqLen: 32, calibration: [{ name: 'text', text: async () => TEXT }] }
const STEP = 1e-4
const MODEL = tinyOf2Layers()

const compact = 'plain:scope=ffn+ragged:layout=compact:multiple=1'
const padded = 'plain:scope=ffn+ragged:layout=padded'

describe('the plan is what is written', () => {
  const folders: [method: string, options: { dtype?: string }][] = [
    ['stock', {}],
    ['stock', { dtype: 'F32' }],
    ['plain', { dtype: 'F32' }],
    [compact, {}],
    [padded, {}],
    ['shortgpt', {}],
  ]
  test.each(someOf(folders, ([method, { dtype }]) => method !== 'stock' || !dtype))(
    'a folder, method %s, %o',
    async (method, more) => {
      const options = { sparsity: 0.3, method, ...quick, ...more }
      const model = method === 'shortgpt' ? TINY_LLAMA : MODEL // two layers have to stay
      const { sizes } = await planPrune(model, options)
      const output = place()
      const result = await prune(model, { ...options, output })
      expect(statSync(join(output, 'model.safetensors')).size).toBe(sizes.weightBytes.after)
      expect(result.sizes).toEqual(sizes)
    },
  )

  const files: [method: string, dtype?: string][] = [
    ['plain', 'Q8_0'],
    ['plain', 'Q4_K_M'],
    ['stock', 'Q8_0'],
    ['stock', 'Q4_K_M'],
    [compact, 'Q4_0'],
    ['flap'],
  ]
  test.each(someOf(files, ([method]) => method === compact))(
    'a .gguf, method %s, in %s; and one made of that',
    async (method, dtype) => {
      const options = { sparsity: 0.3, method, dtype, ...quick }
      let source = MODEL
      for (const sparsity of ['plain', 'stock'].includes(method) ? [0.3, 0.2] : [0.3]) {
        const output = place('.gguf')
        const plan = await planPrune(source, { ...options, sparsity, output })
        const { sizes, exports } = await prune(source, { ...options, sparsity, output })
        const { size } = statSync(output)
        expect([plan.sizes.weightBytes.after, plan.exports[0].bytes.after, exports[0].bytes]).toEqual([
          size,
          size,
          size,
        ])
        expect(sizes.weightBytes).toEqual(plan.sizes.weightBytes)
        source = output
      }
    },
  )

  test('exports below a folder, before and after', async () => {
    const to = [
      { to: 'gguf', dtype: 'Q8_0' },
      { to: 'padded' },
      { to: 'huggingface', dtype: 'F32' },
      { to: 'onnx' },
    ] as const
    const [output, options] = [place(), { sparsity: 0.3, method: 'plain', to, ...quick }]
    const { exports } = await planPrune(MODEL, { ...options, output })
    await prune(MODEL, { ...options, output })
    const size = (...path: string[]) => statSync(join(output, ...path)).size
    expect(exports.map(({ bytes }) => bytes.after)).toEqual([
      size('gguf/model.gguf'),
      size('padded/model.safetensors'),
      size('huggingface/model.safetensors'),
      size('onnx/onnx/model.onnx') + size('onnx/onnx/model_quantized.onnx'),
    ])
    const cut = exports.map(({ bytes }) => bytes.after < bytes.before)
    expect(cut).toEqual([true, false, true, true])
  })
})

const of = (options: PlanOptions, plan: Awaited<ReturnType<typeof planPrune>>) =>
  options.size === undefined ? plan.sizes.parameters.effective : plan.sizes.weightBytes.after

describe('the least sparsity that reaches a size', () => {
  const all: [what: string, model: string, options: PlanOptions][] = [
    ['folder', TINY_LLAMA, { method: 'stock', size: 2.2e6 }],
    ['folder', TINY_LLAMA, { method: compact, size: 2.2e6 }],
    ['folder', TINY_OPT, { method: 'stock', size: 2e6 }],
    ['folder', TINY_OPT, { method: compact, size: 2e6 }],
    ['.gguf', TINY_LLAMA, { method: 'stock', size: 2.2e6 }],
    ['.gguf', TINY_LLAMA, { method: 'stock', size: 1.2e6, dtype: 'Q8_0' }],
    ['.gguf', TINY_LLAMA, { method: 'stock', size: 0.9e6, dtype: 'Q4_K_M' }],
    ['.gguf', TINY_LLAMA, { method: compact, size: 2.4e6 }],
    ['parameters', TINY_LLAMA, { method: padded, parameters: 1e6 }],
    ['parameters', TINY_OPT, { method: padded, parameters: 8e5 }],
    ['parameters', TINY_LLAMA, { method: 'sleb', parameters: 1e6 }],
    ['parameters', TINY_LLAMA, { method: 'wanda-sp', parameters: 1e6 }],
  ]
  test.each(someOf(all, ([what, , { dtype }]) => what !== '.gguf' || dtype === 'Q4_K_M'))(
    '%s of %s, %o',
    async (what, model, options) => {
      const output = what === '.gguf' ? 'x.gguf' : undefined
      const plan = await planPrune(model, { ...options, output })
      const asked = options.size ?? options.parameters!
      expect(of(options, plan)).toBeLessThanOrEqual(asked)
      const { size, parameters, ...others } = options
      const same = async (sparsity: number) => of(options, await planPrune(model, { ...others, sparsity, output }))
      const { sparsity } = plan
      expect(await same(sparsity)).toBe(of(options, plan))
      expect(await same(sparsity - STEP)).toBeGreaterThan(asked)
    },
  )
})

describe('widths that are chosen in the run', () => {
  const all: [of: string, options: PlanOptions, ending: string][] = [
    ['of a folder', { method: best({ probeTokens: 64 }), size: 0.9e6 }, ''],
    [
      'of a .gguf, where value channels take their place as zeros',
      { method: best({ probeTokens: 64 }), size: 1e6 },
      '.gguf',
    ],
    ['parameters, heads and neurons together', { method: 'flap', parameters: 4.3e5 }, ''],
  ]
  test.each(someOf(all, ([of]) => !of.startsWith('of a .gguf')))(
    'reach the size asked for, and not much less: %s',
    async (_, options, ending) => {
      const { size, parameters } = options
      const { sizes, options: used } = await prune(MODEL, { ...quick, ...options, output: place(ending) })
      const reached = size === undefined ? sizes.parameters.effective : sizes.weightBytes.after
      expect(reached).toBeLessThanOrEqual((size ?? parameters)!)
      expect(reached).toBeGreaterThan(0.98 * (size ?? parameters)!)
      expect([used.size, used.parameters]).toEqual([size, parameters])
    },
  )

  test('an allocation of the user that keeps more is refused', async () => {
    const method = plain({ allocate: ({ layers, full }) => new Array(layers).fill(full) })
    const pruned = prune(MODEL, { ...quick, method, size: 0.9e6, output: place() })
    await expect(pruned).rejects.toThrow('The widths that the method shares out cannot reach what is asked for.')
  })
})

describe('a bound on the loss', () => {
  test('of a file whose types are rounded with what the last run saw', async () => {
    const options = { method: 'plain', maxLoss: 0.3, heldOut: 4, ...quick, dtype: 'Q8_0', output: place('.gguf') }
    const { trials } = await prune(MODEL, options)
    expect(trials!.length).toBeGreaterThan(0)
  })
  const small = { windows: 16, heldOut: 4, seqLen: 48, method: plain({ multiple: 1 }) } // self-written text

  test('is kept by the largest sparsity that a few trials find, and the result has the trials', async () => {
    const output = place()
    const runs: string[] = []
    const onEvent = (event: ProgressEvent) => event.type === 'run' && runs.push(`${event.number} of ${event.total}`)
    const maxLoss = 0.3
    const result = await prune(MODEL, { ...small, maxLoss, output, onEvent })
    const cost = heldOutCost(result.calibration.texts)!
    expect(cost).toBeLessThanOrEqual(maxLoss)
    expect(cost).toBeGreaterThan(0.8 * maxLoss)
    const { trials = [], options } = result
    expect(trials.length).toBeLessThanOrEqual(4)
    expect(runs).toEqual([...trials.map((_, i) => `${i + 1} of 5`), '5 of 5'])
    expect(trials).toContainEqual({ sparsity: options.sparsity, cost })
    expect([options.maxLoss, result.sizes.decoderLinears.after]).toEqual([maxLoss, expect.any(Number)])
    expect(JSON.parse(readFileSync(join(output, 'fasp.json'), 'utf8')).trials).toEqual(trials)
  })

  nightly('also where widths move in few steps: the next step costs more', async () => {
    const maxLoss = 0.25
    const method = plain({ multiple: 64 })
    const { trials = [], widths } = await prune(MODEL, { ...small, method, maxLoss, output: new MemorySink() })
    const { ffn } = widths.after[0]
    expect(ffn % 64).toBe(0)
    const next = await prune(MODEL, {
      ...{ ...small, method, output: new MemorySink() },
      sparsity: 0.75 * (1 - (ffn - 64) / 384),
    })
    expect(next.widths.after[0].ffn).toBe(ffn - 64)
    expect(heldOutCost(next.calibration.texts)).toBeGreaterThan(maxLoss)
    expect(trials.length).toBeGreaterThan(1)
  })

  test('that nothing keeps, and a text without windows to measure on', async () => {
    const never = prune(MODEL, {
      ...small,
      method: plain({ repair: 'none', multiple: 64 }),
      maxLoss: 1e-6,
      output: place(),
    })
    await expect(never).rejects.toThrow(
      /^max-loss is 0\.000001; at sparsity 0\.\d+, the least that was tried, pruning costs /,
    )
    const short = [{ name: 'short', text: async () => TEXT.slice(0, 300) }]
    const none = prune(MODEL, { ...small, windows: 30, calibration: short, maxLoss: 1, output: place() })
    await expect(none).rejects.toThrow('no window of the calibration text is left to measure the loss on.')
  })
})

describe('on the command line', () => {
  test.each<[string[], string]>([
    [
      [],
      'no sparsity. Say how much to remove, in one way: sparsity (-s 0.2), size (--size 85MB), parameters (--params 100M) or maxLoss (--max-loss 0.1).',
    ],
    [['-s', '0.2', '--size', '2MB'], 'sparsity and size are given. Say how much to remove, in one way'],
    [['--size', 'small'], '--size is "small"; it must be a number, with or without B, kB, MB, GB, KiB, MiB, GiB.'],
    [['--size', '2 apples'], '--size is "2 apples"; it must be a number'],
    [['--size', '85'], '--size is 85 bytes, which no model has. Give a unit: --size 85MB.'],
    [['--size', '0'], 'size is 0; it must be a number from 1'],
    [['--params', '1MB'], '--params is "1MB"; it must be a number, with or without k, M, B.'],
    [
      ['--size', '85MB'],
      '85.0 MB (85,000,000 bytes): it is smaller already, 2.6 MB (2,630,760 bytes) without pruning. Ask for less.',
    ],
    [['--params', '100M'], '100.0 M parameters: it is smaller already, 1.3 M parameters without pruning.'],
    [
      ['--size', '10kB'],
      '10.0 kB (10,000 bytes) cannot be reached: the least that method stock makes is 1.0 MB (1,008,648 bytes), at sparsity 0.7187; without',
    ],
    [['--max-loss', '-1'], 'max-loss is -1; it must be a number from 0.000001 to 100.'],
    [['--max-loss', '0.1', '--held-out', '0'], 'max-loss is measured on held-out windows, and held-out is 0.'],
    [['--max-loss', '0.1', '--dry-run'], 'there is no plan (--dry-run) of it. Plan a sparsity or a size.'],
    [['-s', '30'], '--sparsity is "30"; 30 % is 0.3, or 30%.'],
    [['-s', '91%'], 'sparsity is 0.91; it must be a number from 0 to 0.9.'],
  ])('%j is refused', async (args, says) => {
    await refused(await workplace(), ['prune', TINY_LLAMA, '-o', 'out', ...QUICK, ...args], { code: 2, says: [says] })
  })

  test('units, per cent, and what is asked for in words', async () => {
    const plan = async (...args: string[]) => {
      const { stdout } = await run(await workplace(), 'prune', TINY_LLAMA, '--dry-run', ...args)
      return stdout
    }
    expect((await plan('-s', '30%')).replaceAll('\n', ' ')).toMatch(
      /^Asked 30 % of the decoder linears(; \d+\.\d % go, as widths are rounded,)? = 2\d\.\d % of all parameters: embedding, head and norms \(132\.7 k parameters\) are not cut\. /,
    )
    expect(await plan('--size', '1.1mb', '-o', 'x.gguf', '--dtype', 'q8_0')).toMatch(
      /^Asked 1\.1 MB: sparsity 0\.\d{3} of the decoder linears\.\n[\s\S]*^weights on disk +2\.6 MB +1\.0 MB[\s\S]*^gguf +q8_0 +1\.4 MB +1\.0 MB/m,
    )
    expect(await plan('--params', '1.0M')).toMatch(
      /^Asked 1\.0 M parameters: sparsity 0\.\d{3} of the decoder linears\.\n/,
    )
  })
})

describe('several sizes at once', () => {
  const methods = someOf(['flap', 'best'], method => method === 'flap')
  test.each(methods)(
    'are those of runs of their own, and measure once what depends on no sparsity: %s',
    async method => {
      const folder = await workplace()
      const args = ['prune', MODEL, '--method', method, '--windows', '4', '--seq-len', '32', '--overwrite']
      const { stderr, stdout } = await run(folder, ...args, '-s', '20%,30%', '-o', 'out.gguf', '--report', 'r.json')
      expect(stderr.match(/^(calibration text|allocate): .* took/gm)).toHaveLength(2)
      expect(stdout).toContain('Wrote out-0.3.gguf')
      const report = JSON.parse(readFileSync(join(folder, 'r.json'), 'utf8'))
      expect(report.runs.map(({ sparsity }: { sparsity: number }) => sparsity)).toEqual([0, 0.2, 0.3])
      for (const sparsity of someOf(['0.2', '0.3'], (_, i) => i === 1)) {
        await run(folder, ...args, '-s', sparsity, '-o', 'one.gguf')
        const [one, ofMany] = ['one', `out-${sparsity}`].map(name => readFileSync(join(folder, `${name}.gguf`)))
        expect(ofMany.equals(one)).toBe(true)
      }
      const { stdout: planned } = await run(folder, ...args, '-s', '0.2,0.4', '-o', 'out', '--dry-run', '--json')
      expect(JSON.parse(planned).map(({ options }: PathPlan) => options.sparsity)).toEqual([0.2, 0.4])
    },
  )
  test('each once, and all within reach before the first is made', async () => {
    const folder = await workplace()
    const args = ['prune', TINY_LLAMA, ...QUICK, '-o', 'out']
    await refused(folder, [...args, '-s', '0.2,20%'], { code: 2, says: ['sparsity 0.2,0.2 has one twice'] })
    const beyond = [...args, '-s', '0.2,0.9', '--method', 'best:scope=ffn']
    await refused(folder, beyond, { code: 2, says: ['sparsity 0.9'] })
  })
  nightly(
    'the dense stream goes through the layers once, and its rows are on the disk as long as that is of use',
    async () => {
      const text = join(await workplace(), 'text.txt')
      writeFileSync(text, TEXT)
      const settings = { ...quick, calibration: [text], heldOut: 0, method: best({ probeTokens: 64 }) }
      const forward = (sparsity: number, common?: CommonSteps) =>
        prune(MODEL, { ...settings, sparsity, common, output: place() }).then(result => result.engineSeconds.forward)
      await using common = new CommonSteps()
      expect(await forward(0.3, common)).toBeGreaterThan(0)
      expect(await forward(0.2, common)).toBeUndefined()
      expect(await forward(0.2)).toBeGreaterThan(0)
    },
  )
  test('share no more than that', async () => {
    const common = new CommonSteps()
    const text = join(await workplace(), 'text.txt')
    const run = (seed: number) =>
      prune(MODEL, { ...quick, method: 'plain', calibration: [text], sparsity: 0.2, seed, common, output: place() })
    await run(1)
    await expect(run(2)).rejects.toThrow('differ in the sparsity and the output alone')
  })
})
