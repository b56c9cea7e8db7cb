// `fasp bench` on a workload that takes a second, and on small models.
import type { ChildProcess } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { SpeedResult } from '../src/bench/result.ts'
import { benchTable, speedTable } from '../src/bench/table.ts'
import { CUDA } from './devices.ts'
import { describeDisk, onDisk } from './disk.ts'
import { fasp, QUICK, refused, run, TINY_LLAMA, workplaces } from './fasp.ts'

const workplace = workplaces()
const TINY = ['bench', '--workload', 'tiny']

test('prints a table, writes the result, leaves nothing else', async () => {
  const folder = await workplace()
  const { stdout, lines } = await run(folder, ...TINY, '-o', 'result.json')
  const result = JSON.parse(readFileSync(join(folder, 'result.json'), 'utf8'))
  expect(result).toMatchObject({ schema: 2, workload: { name: 'tiny', layers: 2, windows: 2, seqLen: 32, tokens: 64 } })
  expect(result.machine).toMatchObject({ platform: `${process.platform} ${process.arch}`, device: 'cpu' })
  expect(result.machine).not.toHaveProperty('threads')
  expect(result.activationBytes).toEqual({ memory: 4 * 64 * (64 + 192), scratch: 0 })
  expect(stdout).not.toContain('activations: ')
  expect(result.layerSeconds).toHaveLength(2)
  const kinds = result.stages.map((s: { kind: string }) => s.kind)
  expect(kinds).toEqual(expect.arrayContaining(['attention', 'ffn', 'residual', 'gram', 'product', 'gemm64', 'other']))
  for (const { gflops } of result.rates) expect(gflops).toBeGreaterThan(0)
  expect(stdout).toMatch(/^stage +seconds +share +GFLOP +GFLOP\/s +of peak$/m)
  expect(stdout).toMatch(
    /× the bound \([\d.]+ × at the rate of the square product\)\nproducts at [\d.]+ % of the peak\n\d+ tokens\/s, peak memory /,
  )
  const machine = { ...result.machine, blas: 'OpenBLAS 0.3.21', openvino: 'OpenVINO 1.8' }
  const beyond = benchTable({ ...result, machine })
  const rates = "Peak and bound are ONNX Runtime's in float32; OpenBLAS 0.3.21, OpenVINO 1.8 may pass them."
  expect([stdout, beyond].map(text => text.includes(rates))).toEqual([false, true])
  expect(lines.filter(line => [...line].length > 80)).toEqual([])
  expect(readdirSync(folder).sort()).toEqual(['result.json', 'text.txt'])
})

test('--keep leaves both models, and uses the first again', async () => {
  const folder = await workplace()
  const { stderr } = await run(folder, ...TINY, '--keep', 'kept')
  expect(stderr).toContain('Writing a random model of')
  expect(readdirSync(join(folder, 'kept')).sort()).toEqual(['model', 'pruned'])
  const again = await run(folder, ...TINY, '--keep', 'kept', '--windows', '1')
  expect(again.stderr).not.toContain('Writing a random model')
  expect(again.stdout).toContain(', 1 × 32 tokens,')
  await refused(folder, ['bench', '--keep', 'kept'], { says: ['kept/model holds another model', '--keep'] })
})

test('what a killed run has left in TMPDIR is removed by the next', async () => {
  const folder = await workplace({ 'tmp/mine.partial/x': '' })
  const env = { TMPDIR: join(folder, 'tmp') }
  const onProgress = (stderr: string, child: ChildProcess) => stderr.includes('Writing') && child.kill('SIGKILL')
  await fasp(TINY, { folder, env, onProgress })
  const [left] = readdirSync(env.TMPDIR)
  const { code, stderr } = await fasp(TINY, { folder, env })
  expect([code, stderr]).toEqual([0, expect.stringContaining(`${left} is removed: a run that was killed had left it.`)])
  expect(readdirSync(env.TMPDIR)).toEqual(['mine.partial'])
})

test('prunes another model, in windows no longer than its context, with activations on disk', async () => {
  const args = ['bench', '--model', TINY_LLAMA, '--windows', '1', '--memory', '0', '--threads', '1']
  const { stdout } = await run(await workplace(), ...args)
  const { workload, activationBytes, machine } = JSON.parse((await run(await workplace(), ...args, '--json')).stdout)
  expect(workload).toMatchObject({ model: TINY_LLAMA, windows: 1, seqLen: 256, memory: 0 })
  expect(machine.threads).toBe(1)
  expect(activationBytes).toEqual({ memory: 0, scratch: 4 * 256 * (128 + 384) })
  expect(stdout).toContain('\nactivations: 0.0 kB in memory, 524.3 kB on disk\n')
})

test('prints the result as JSON where its file cannot be written', async () => {
  const folder = await workplace()
  const onProgress = () => writeFileSync(join(folder, 'result.json'), 'in the way')
  const { code, stdout, stderr } = await fasp([...TINY, '-o', 'result.json', '--json'], { folder, onProgress })
  expect(JSON.parse(stdout)).toMatchObject({ schema: 2 })
  expect(stderr).toContain('result.json exists already')
  expect(code).toBe(1)
})

test('times models side by side, in turns', async () => {
  const folder = await workplace()
  await run(folder, 'prune', TINY_LLAMA, '-s', '0.3', '-o', 'smaller', ...QUICK)
  await run(folder, 'export', 'smaller', '--to', 'gguf', '-o', 'smaller.gguf')
  const args = ['bench', TINY_LLAMA, 'smaller', 'smaller.gguf', '--runs', '2', '-o', 'speed.json']
  const { stdout, stderr, lines } = await run(folder, ...args)
  const result: SpeedResult = JSON.parse(readFileSync(join(folder, 'speed.json'), 'utf8'))
  expect(result).toMatchObject({ schema: 1, tokens: { prompt: 192, after: 64 }, machine: { device: 'cpu' } }) // of 256 positions
  expect(result.speeds.map(({ runtime, model }) => [runtime, model])).toEqual(
    ['tiny-llama', 'smaller', 'smaller.gguf'].map(model => ['fasp', model]),
  )
  for (const { prefill, decode } of result.speeds)
    for (const rates of [prefill, decode]) {
      expect(rates).toHaveLength(2)
      expect(Math.min(...rates)).toBeGreaterThan(0)
    }
  expect(stdout).toMatch(/^runtime +model +prefill +× +decode +×$/m)
  expect(stdout).toMatch(/^fasp +smaller +[\d.]+ \[[\d.]+–[\d.]+\] +[\d.]+ +[\d.]+ \[[\d.]+–[\d.]+\] +[\d.]+$/m)
  expect(stderr).toContain('GGUF files ("fasp export" makes them) after npm install node-llama-cpp.')
  expect(lines.slice(0, -1).filter(line => [...line].length > 80)).toEqual([])
})

test('rates are medians, and ratios those of the same turn', () => {
  const turns = (model: string, prefill: number[], decode: number[]) => ({ runtime: 'x', model, prefill, decode })
  const speeds = [turns('a', [100, 50, 80], [1, 4, 2]), turns('b', [200, 150, 80], [1, 4, 3])]
  const machine = { cpu: 'c', cores: 2, memoryBytes: 1e9, platform: 'p', node: '20', onnxruntime: '1', device: 'cpu' }
  const text = speedTable({ schema: 1, fasp: '0', created: '', machine, tokens: { prompt: 512, after: 64 }, speeds })
  expect(text).toContain('x            a   80 [50–100]        2.0 [1.0–4.0]\n')
  expect(text).toContain('x            b  150 [80–200]  2.00  3.0 [1.0–4.0]  1.00\n')
})

test('the help fits 80 columns', async () => {
  const { lines } = await run(await workplace(), 'bench', '--help')
  expect(lines.filter(line => line.length > 80)).toEqual([])
})

test('refuses what it cannot do before it starts', async () => {
  const folder = await workplace()
  await refused(folder, ['bench', '--workload', 'slow'], { code: 2, says: ['"slow"', 'quick, smollm2'] })
  await refused(folder, ['bench', 'nothing'], { says: ['nothing', 'no such file'] })
  await refused(folder, ['bench', TINY_LLAMA, '--windows', '1'], { code: 2, says: ['--windows is for timing pruning'] })
  await refused(folder, ['bench', TINY_LLAMA, '--runs', '0'], { code: 2, says: ['runs is 0', '1 to'] })
  await refused(folder, [...TINY, '--runs', '1'], { code: 2, says: ['--runs is for timing models: name some'] })
  await refused(folder, [...TINY, '--windows', '0'], { code: 2, says: ['windows is 0', '1 to'] })
  await refused(folder, [...TINY, '-o', 'text.txt'], { says: ['text.txt exists already'] })
  await refused(folder, [...TINY, '-o', 'no/result.json'], {
    says: ['no/result.json', 'no does not exist. Choose a folder'],
  })
  await refused(folder, [...TINY, '--model', 'nothing'], { says: ['nothing', 'no such file'] })
})

test('refuses what pruning would refuse before it writes a model', async () => {
  const folder = await workplace({ 'kept/pruned/notes.md': 'mine', 'other/model/notes.md': 'mine' })
  const usage = (args: string[], ...says: string[]) =>
    refused(folder, [...TINY, '--keep', 'new', ...args], { code: 2, says })
  await usage(['--threads', '0'], 'threads is 0; it must be an integer')
  await usage(['--memory', '-1'], 'memory is -1; it must be a number')
  await usage(['--blas', 'auto', '--device', 'webgpu'], 'blas works on the CPU')
  await usage(['--products', 'bf16', '--device', 'webgpu'], 'Products in bf16 are OpenVINO’s, on the CPU in Node only')
  await refused(folder, [...TINY, '--keep', 'kept'], {
    says: ['kept/pruned was not written by fasp', 'Choose another'],
  })
  await refused(folder, [...TINY, '--keep', 'other'], { says: ['other/model holds another model', '--keep'] })
  await refused(folder, [...TINY, '--keep', 'text.txt'], { says: ['a part of the path is a file'] })
  await refused(folder, TINY, {
    env: { TMPDIR: join(folder, 'nowhere') },
    says: [`cannot make a temporary folder in ${join(folder, 'nowhere')}`, 'Set TMPDIR', '--keep'],
  })
})

test.skipIf(CUDA)('refuses a device that is not there before it writes a model', async () => {
  const args = [...TINY, '--keep', 'new', '--device', 'cuda']
  await refused(await workplace(), args, { says: ['cuda: ONNX Runtime cannot use it', 'or use --device'] })
})

describeDisk('a disk of its own', () => {
  test('has to have room for both models', async () => {
    const folder = await workplace({ 'disk/x': '' })
    const wrap = onDisk('size=300k') // the model takes 229 kB
    await refused(folder, [...TINY, '--keep', 'disk/new'], { wrap, says: ['disk/new/model: the output needs 1 MB'] })
  })
})
