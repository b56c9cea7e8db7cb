// What pruning a whole LLaMA would take: `fasp prune --dry-run` on a folder with the real shapes, whose weights are a hole in a file, so that
// 13 or 141 GB take no disk. usage: node bench/plan.mjs [7b|70b [OPTIONS OF fasp prune…]]   (after npm run build; a file system with holes)
import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { header, llama } from './llama.mjs'

const [size = '7b', ...given] = process.argv.slice(2)
const { config, shapes } = llama(size)
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'fasp-plan-'))
try {
  const weights = join(folder, 'model.safetensors')
  const { bytes, follow } = header(shapes)
  writeFileSync(weights, bytes)
  truncateSync(weights, bytes.length + follow)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
  cpSync(join(root, 'assets/tiny-llama/tokenizer.json'), join(folder, 'tokenizer.json')) // any: no text is read
  const text = join(folder, 'text.txt') // only named: a dry run reads no text
  writeFileSync(text, 'A text.')
  const paper = ['-s', '0.3', '--method', 'paper', '--windows', '128', '--seq-len', '2048']
  const options = ['--calibration', text, ...(given.length > 0 ? given : paper)]
  execFileSync('node', [join(root, 'dist/cli.js'), 'prune', folder, ...options, '--dry-run'], { stdio: 'inherit' })
} finally {
  rmSync(folder, { recursive: true })
}
