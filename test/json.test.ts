// `--json`: stdout is one JSON document and nothing else, of each command that has it, and where it fails.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fasp, QUICK, run, workplaces } from './fasp.ts'
import { tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const MODEL = tinyOf2Layers()
const PRUNE = ['prune', MODEL, '-s', '0.2', '-o', 'out', ...QUICK]

test('of each command, for another program to read', { timeout: 180_000 }, async () => {
  const folder = await workplace()
  await run(folder, ...PRUNE)
  for (const [args, fields] of [
    [
      [...PRUNE, '--overwrite', '--text', './text.txt', '--report', 'r.md'],
      ['layers', 'perplexities'],
    ],
    [
      [...PRUNE, '--dry-run', '--overwrite'],
      ['sizes', 'memoryBytes'],
    ],
    [['export', 'out', '-o', 'out.gguf'], ['exports']],
    [['eval', 'out', '--text', 'text.txt', '--windows', '1', '--seq-len', '32'], ['texts']],
    [
      ['compare', MODEL, '--methods', 'plain', '-s', '0.2', ...QUICK],
      ['protocol', 'runs'],
    ],
    [
      ['generate', 'out', '-p', 'It was', '--max-tokens', '2'],
      ['text', 'ids'],
    ],
    [
      ['inspect', 'out', '--tensors'],
      ['modelType', 'tensors'],
    ],
    [
      ['push', 'out', 'me/out', '--dry-run'],
      ['files', 'card'],
    ],
    [['bench', MODEL, '--runs', '1'], ['speeds']],
  ] as const) {
    const { stdout } = await run(folder, ...args, '--json')
    const result = JSON.parse(stdout)
    for (const field of fields) expect(result[field], `${args[0]}: ${field}`).toBeDefined()
    if (args[0] === 'prune') expect(stdout).not.toMatch(/"kept"|"file":"\//) // texts are called what the user called them
  }
})

test('has the indices of what is kept where all is asked for', async () => {
  const { layers } = JSON.parse((await run(await workplace(), ...PRUNE, '--json=full')).stdout)
  expect(layers[0].ffn.kept).toHaveLength(288)
})

test('of errors, with their exit code', async () => {
  const folder = await workplace()
  for (const [args, code, status] of [
    [['prune', MODEL, '--sparsty', '0.2', '--json'], 'USAGE', 2],
    [['inspect', MODEL, '--json=ful'], 'USAGE', 2],
    [['eval', MODEL, '--text', 'none.txt', '--json'], 'TEXT', 1],
    [['push', 'none', 'me/out', '--dry-run', '--json=full'], 'FORMAT', 1],
  ] as const) {
    const done = await fasp(args, { folder })
    const { error } = JSON.parse(done.stdout)
    expect([error.code, done.code]).toEqual([code, status])
    expect(done.stderr).toBe(`fasp: ${error.message}\n`)
  }
})

test('once, where a result and an error come of it', async () => {
  const folder = await workplace()
  const args = ['bench', MODEL, '--runs', '1', '-o', 'result.json', '--json']
  const onProgress = () => writeFileSync(join(folder, 'result.json'), 'in the way')
  const { code, stdout } = await fasp(args, { folder, onProgress })
  expect([code, JSON.parse(stdout).schema]).toEqual([1, 1])
})

test('--quiet leaves notices, errors and the outcome', async () => {
  const folder = await workplace()
  const { stdout, stderr } = await run(folder, ...PRUNE, '--text', 'text.txt', '--text-windows', '1', '-q')
  expect(stdout.replaceAll('\n', ' ')).toMatch(/^1\.1 MB → .* perplexity on text\.txt \(.* → .*\) Wrote out $/)
  expect(stderr).toMatch(/^128 calibration tokens are few .*\ntext\.txt: the model was calibrated on .*\n$/)
})
