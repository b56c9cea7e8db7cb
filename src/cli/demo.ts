// fasp demo: the main job on the model that ships with the package. No network, no files left behind.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { table, wrap } from '../base/display.ts'
import { temporaryFolder } from '../base/unfinished.node.ts'
import { compareEvents } from '../node.ts'
import { headline } from '../report/headline.ts'
import { prunedRuns } from '../report/result-file.ts'
import { layersText, secondsLine, sizesTable } from '../report/terminal.ts'
import { defineCommand } from './command.ts'
import { peakMemory, terminalStyle } from './process.ts'
import { showProgress } from './progress.ts'

const MODEL = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))
/** The dense model writes the text to calibrate on and, from another seed, the text to measure on. */
const COMPARED = {
  ...{ sparsity: [0.3], methods: ['plain', 'plain:repair=none'], windows: 64, calibrationSeqLen: 256 },
  prompts: ['It was a dark', 'Once upon a time', 'The prince smiled and'],
}

export default defineCommand({
  verb: 'demo',
  usage: 'demo',
  summary: 'Prunes the model that ships with the package and shows it before and after.',
  async run(_, { print, signal }) {
    const folder = await temporaryFolder('fasp-demo')
    try {
      const started = performance.now()
      const settings = { ...COMPARED, output: join(folder, 'result.json'), signal }
      const result = await showProgress(compareEvents(MODEL, settings))
      const [dense] = result.runs
      const [pruned] = prunedRuns(result)
      print(
        '\ntiny-llama (6 layers, trained on novels and tales for this package), ' +
          `FFN cut so that ${pruned.sparsity * 100} % of the decoder linears go\n`,
      )
      const style = terminalStyle(process.stdout)
      print(`${wrap(headline(dense, pruned), style.columns)}\n`)
      print(`${layersText(pruned.prune, true, style)}\n\n${sizesTable(pruned.prune.sizes)}\n`)
      const names = ['dense', 'pruned', 'pruned, not restored']
      const measured = result.runs.map(({ perplexity: [text], divergence }, i) => [
        ...[names[i], text.perplexity.toFixed(2), (divergence?.[0].kl ?? 0).toFixed(4)],
      ])
      print(`${table([['', 'perplexity', 'KL to dense'], ...measured])}\n`)
      for (const [i, prompt] of COMPARED.prompts.entries())
        for (const [name, { samples }] of Object.entries({ dense, pruned }))
          print(`${name.padEnd(7)} ${prompt}${samples[i].text.replace(/\s+/g, ' ')}`)
      print(`\n${secondsLine({ 'all of it': (performance.now() - started) / 1000 }, peakMemory())}`)
      print('Prune your own: fasp prune <folder | model.gguf | hub/id> -s 0.2 -o <folder>')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
})
