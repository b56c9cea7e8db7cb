// The examples, run as a user runs them: through the built package. Needs `npm run build`.
import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'
import { TEXT } from '../fasp.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'fasp-example-'))
afterAll(() => rmSync(folder, { recursive: true }))

test('examples/prune.mjs prunes the shipped model', { timeout: 180_000 }, async () => {
  const output = join(folder, 'smaller')
  const args = ['examples/prune.mjs', 'assets/tiny-llama', output]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root })
  expect(stdout).toBe('384 → 288 neurons a layer\n1312384 → 1091200 parameters\n')
  expect(stderr).toContain('written by the model itself')
  expect(readdirSync(folder)).toEqual(['smaller'])
  const json = (name: string) => JSON.parse(readFileSync(join(output, name), 'utf8'))
  expect(json('config.json').intermediate_size).toBe(288)
  expect(json('fasp.json').layers[0].ffn.kept).toHaveLength(288)
})

test('examples/compare.mjs compares methods on the shipped model', { timeout: 180_000 }, async () => {
  const [text, output] = ['text.txt', 'result.json'].map(name => join(folder, name))
  writeFileSync(text, TEXT)
  const args = ['examples/compare.mjs', 'assets/tiny-llama', text, text, output]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root })
  const lines = stdout.trimEnd().split('\n')
  expect(lines.map(line => line.replace(/: [\d.]+$/, ''))).toEqual([
    'dense 0',
    ...['0.2', '0.3'].flatMap(cut => ['paper', 'flap', 'stock:alpha=0.25'].map(name => `${name} ${cut}`)),
  ])
  expect(stderr.match(/^\d of 7: /gm)).toHaveLength(7)
})

test('examples/measure.mjs measures the shipped model, and shows what it writes', { timeout: 180_000 }, async () => {
  const text = join(folder, 'measured.txt')
  writeFileSync(text, TEXT)
  const args = ['examples/measure.mjs', 'assets/tiny-llama', text]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, args, { cwd: root })
  expect(stdout).toMatch(/^perplexity [\d.]+ on 8 windows\n16 tokens written\n$/)
  expect(stderr).toMatch(/\w{3}/)
})
