// Our part of bench/tasks.py, which calls it.
// usage: node bench/tasks.mjs MODEL TASK FROM TO OUT FOLDER…   writes { items: [{ requests, lengths, gold, likelihoods }], seconds } of the
//   items numbered FROM to TO to OUT; of the task wikitext its result
import { writeFileSync } from 'node:fs'
import { bundled, bundleModules } from './runtimes.mjs'

const [path, name, from, to, out, ...data] = process.argv.slice(2)

async function finish(events) {
  for (;;) {
    const step = await events.next()
    if (step.done) return step.value
  }
}

bundleModules('hub/tasks.node', 'evaluate/tasks/evaluate', 'evaluate/tasks/wikitext', 'forward/context')
const { loadTasks, loadWikitext } = await bundled('hub/tasks.node')
const { taskLikelihoods } = await bundled('evaluate/tasks/evaluate')
const { wordPerplexity } = await bundled('evaluate/tasks/wikitext')
const { memoryContext } = await bundled('forward/context')
const { openEngine, openModel } = await bundled('node')

const context = memoryContext(openEngine())
const model = await openModel(path)
const started = performance.now()
let result
if (name === 'wikitext') {
  const pages = await finish(loadWikitext({ data }))
  result = await finish(wordPerplexity(context, model, pages.slice(Number(from), Number(to))))
} else {
  const [task] = await finish(loadTasks([name], { data }))
  const items = task.items.slice(Number(from), Number(to))
  const [likelihoods] = await finish(taskLikelihoods(context, model, [{ name, items }]))
  result = { items: items.map((item, i) => ({ ...item, likelihoods: likelihoods[i] })) }
}
writeFileSync(out, JSON.stringify({ ...result, seconds: (performance.now() - started) / 1000 }))
