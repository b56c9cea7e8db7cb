// How soon `fasp` is at work: seconds of `fasp --help`, and of `fasp prune` on SmolLM2-135M until tokens go into its first layer.
// usage: node bench/startup.mjs [RUNS]   (after npm run build; 10 runs, medians [lowest–highest])
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cli, shared, smollm2, spread } from './runtimes.mjs'

const folder = mkdtempSync(join(tmpdir(), 'fasp-startup-'))
const text = join(shared, 'data/calibration/wikitext2-valid.txt')
const prune = ['prune', smollm2(), '-s', '0.3', '--calibration', text, '-o', join(folder, 'pruned')]
const help = []
const work = []
for (let run = 0; run < Number(process.argv[2] ?? 10); run++) {
  help.push(await seconds(['--help']))
  work.push(await seconds(prune, 'layer 0'))
}
rmSync(folder, { recursive: true })
console.log(`fasp --help: ${spread(help, 3)} s`)
console.log(`fasp prune, to layer 0: ${spread(work, 2)} s`)

/** Until the process ends or, with a `word`, until it says that on stderr: then it is stopped. */
async function seconds(args, word) {
  const started = performance.now()
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(child, 'exit')
  let said = ''
  for await (const part of child.stderr) {
    said += part
    if (word && said.includes(word)) break
  }
  if (word && !said.includes(word)) throw new Error(`fasp never said "${word}":\n${said}`)
  if (!word) await ended
  const passed = (performance.now() - started) / 1000
  child.kill('SIGINT')
  await ended
  return passed
}
