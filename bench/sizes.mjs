// What several sizes in one run save: seconds and bytes read of `fasp prune -s 0.2,0.3,0.5` against three runs, whose files must be the same.
// usage: node bench/sizes.mjs [MODEL] [options of fasp prune]   (after npm run build; Linux; one run each, on tiny-llama with --method best)
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cli, shared } from './runtimes.mjs'

const SIZES = ['0.2', '0.3', '0.5']
const tiny = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))
const text = join(shared, 'data/calibration/wikitext2-valid.txt')
const [model = tiny, ...given] = process.argv.slice(2)
const options = given.length > 0 ? given : ['--method', 'best', '--calibration', text]

const folder = mkdtempSync(join(tmpdir(), 'fasp-sizes-'))
const apart = SIZES.map(size => measure('-s', size, '-o', join(folder, 'apart', `out-${size}`)))
const together = measure('-s', SIZES.join(), '-o', join(folder, 'together/out'))
for (const size of SIZES) {
  const [one, other] = ['apart', 'together'].map(kind => hashes(join(folder, kind, `out-${size}`)))
  if (one !== other) throw new Error(`${size}: not the same bytes`)
}
rmSync(folder, { recursive: true })
const sum = kind => apart.reduce((all, one) => all + one[kind], 0)
console.log(`three runs: ${sum('seconds').toFixed(1)} s, ${(sum('read') / 1e6).toFixed(0)} MB read`)
console.log(`one run:    ${together.seconds.toFixed(1)} s, ${(together.read / 1e6).toFixed(0)} MB read; the same bytes`)

function measure(...more) {
  const [before, started] = [bytesRead(), performance.now()]
  const { status, stderr } = spawnSync(process.execPath, [cli, 'prune', model, ...options, ...more])
  if (status !== 0) throw new Error(String(stderr))
  return { seconds: (performance.now() - started) / 1000, read: bytesRead() - before }
}

/** By this process and those that it has waited for (proc_pid_io(5)), from the page cache or the disk. */
function bytesRead() {
  return Number(/^rchar: (\d+)/m.exec(readFileSync('/proc/self/io', 'utf8'))[1])
}

function hashes(path) {
  const files = readdirSync(path, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const names = files.map(({ parentPath, name }) => join(parentPath, name)).sort()
  return names.map(name => createHash('sha256').update(readFileSync(name)).digest('hex')).join()
}
