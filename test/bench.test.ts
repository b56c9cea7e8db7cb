// `fasp bench` on small models.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type SpeedResult, speedTable } from '../src/report/speeds.ts'
import { CUDA } from './devices.ts'
import { fasp, QUICK, refused, run, TINY_LLAMA, workplaces } from './fasp.ts'

const workplace = workplaces()

test('prints the result as JSON where its file cannot be written', async () => {
  const folder = await workplace()
  const onProgress = () => writeFileSync(join(folder, 'result.json'), 'in the way')
  const args = ['bench', TINY_LLAMA, '--runs', '1', '-o', 'result.json', '--json']
  const { code, stdout, stderr } = await fasp(args, { folder, onProgress })
  expect(JSON.parse(stdout)).toMatchObject({ schema: 1 })
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
  const bench = (...args: string[]) => ['bench', TINY_LLAMA, ...args]
  await refused(folder, ['bench'], { code: 2, says: ['Name the models', 'fasp bench my-model smaller'] })
  await refused(folder, ['bench', 'nothing'], { says: ['nothing', 'no such file'] })
  await refused(folder, bench('--windows', '1'), { code: 2, says: ['--windows'] })
  await refused(folder, bench('--runs', '0'), { code: 2, says: ['runs is 0', '1 to'] })
  await refused(folder, bench('--threads', '0'), { code: 2, says: ['threads is 0; it must be an integer'] })
  await refused(folder, bench('-o', 'text.txt'), { says: ['text.txt exists already'] })
  await refused(folder, bench('-o', 'no/result.json'), {
    says: ['no/result.json', 'no does not exist. Choose a folder'],
  })
})

test.skipIf(CUDA)('refuses a device that is not there', async () => {
  const args = ['bench', TINY_LLAMA, '--device', 'cuda']
  await refused(await workplace(), args, { says: ['cuda: ONNX Runtime cannot use it', 'or use --device'] })
})
