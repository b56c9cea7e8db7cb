// fasp demo: the main job on the model that ships with the package. No network, no files left behind.
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { table, wrap } from '../base/display.ts'
import { perplexity } from '../evaluate/perplexity.ts'
import { DenseReference, keepRows } from '../evaluate/reference.ts'
import { memoryContext } from '../forward/context.ts'
import {
  type Engine,
  generate,
  type Model,
  openEngine,
  openModel,
  type PerplexityResult,
  plain,
  prefillSpeeds,
  pruneEvents,
} from '../node.ts'
import { temporaryFolder } from '../output/folder.node.ts'
import { openScratch } from '../output/scratch.node.ts'
import { headline } from '../report/headline.ts'
import { layersText, secondsLine, sizesTable } from '../report/terminal.ts'
import { sampleWindows } from '../text/sample.ts'
import { defineCommand } from './command.ts'
import { peakMemory, terminalStyle } from './process.ts'
import { showProgress } from './progress.ts'

const MODEL = fileURLToPath(new URL('../assets/tiny-llama', import.meta.url))
const SPARSITY = 0.3
/** Texts that the dense model writes: one to calibrate on, and another, from another seed, to measure on. */
const CALIBRATION = { windows: 64, heldOut: 0, seqLen: 256, seed: 0 }
const HELD_OUT = { windows: 32, heldOut: 0, seqLen: 256, seed: 1 }
const PROMPTS = ['It was a dark', 'Once upon a time', 'The prince smiled and']
const WRITTEN_TOKENS = 40

export default defineCommand({
  verb: 'demo',
  usage: 'demo',
  summary: 'Prunes the model that ships with the package and shows it before and after.',
  async run(_, { print, signal }) {
    const folder = await temporaryFolder('fasp-demo')
    await using engine = openEngine()
    const context = memoryContext(engine, signal)
    try {
      const started = performance.now()
      await using dense = await openModel(MODEL)
      const results = []
      const calibration = await showProgress(sampleWindows(context, dense, CALIBRATION))
      for (const repair of ['pruned', 'none'] as const) {
        const settings = {
          sparsity: SPARSITY,
          method: plain({ repair }),
          calibration,
          output: join(folder, repair),
          signal,
        }
        results.push(await showProgress(pruneEvents(MODEL, settings)))
      }
      await using restored = await openModel(join(folder, 'pruned'))
      await using unrestored = await openModel(join(folder, 'none'))
      const models = [
        { name: 'dense', model: dense },
        { name: 'pruned', model: restored },
        { name: 'pruned, not restored', model: unrestored },
      ]
      const heldOut = await showProgress(sampleWindows(context, dense, HELD_OUT))
      const rows = [['', 'perplexity', 'KL to dense']]
      const measured: PerplexityResult[] = []
      const denseRows = await openScratch(join(folder, 'rows'))
      for (const { name, model } of models) {
        const reference = model === dense ? undefined : await DenseReference.open(context, dense, model, denseRows)
        const phase = reference ? 'evaluate pruned' : 'evaluate dense'
        const observe = reference?.observe ?? keepRows(dense, denseRows)
        const result = await showProgress(perplexity(context, model, heldOut, phase, observe))
        rows.push([name, result.perplexity.toFixed(2), (reference?.result().kl ?? 0).toFixed(4)])
        measured.push({ ...result, bos: true })
      }
      await denseRows.close()
      print(
        `\ntiny-llama (6 layers, trained on novels and tales for this package), FFN cut so that ${SPARSITY * 100} % of the decoder linears go\n`,
      )
      const style = terminalStyle(process.stdout)
      const speeds = await prefillSpeeds([dense, restored], engine, signal)
      const runs = ['dense', 'pruned'].map((name, i) => ({
        ...{ name, sparsity: i * SPARSITY, perplexity: [measured[i]], tokensPerSecond: speeds[i] },
        ...{ tasks: [], samples: [], seconds: {} },
      }))
      print(`${wrap(headline(runs[0], { ...runs[1], prune: results[0] }), style.columns)}\n`)
      print(`${layersText(results[0], true, style)}\n\n${sizesTable(results[0].sizes)}\n`)
      print(`${table(rows)}\n`)
      for (const prompt of PROMPTS)
        for (const { name, model } of models.slice(0, 2))
          print(`${name.padEnd(7)} ${await write(model, engine, prompt)}`)
      print(`\n${secondsLine({ 'all of it': (performance.now() - started) / 1000 }, peakMemory())}`)
      print('Prune your own: fasp prune <folder | model.gguf | hub/id> -s 0.2 -o <folder>')
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
})

async function write(model: Model, engine: Engine, prompt: string): Promise<string> {
  const { text } = await generate(model, prompt, { engine, maxTokens: WRITTEN_TOKENS })
  return `${prompt}${text}`.replace(/\s+/g, ' ')
}
