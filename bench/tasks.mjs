// Our part of bench/tasks.py, which calls it (after npm run build).
// usage: node bench/tasks.mjs MODEL TASK FROM TO OUT FOLDER…   writes { items: [{ requests, lengths, gold, likelihoods }], seconds } of the
//   items numbered FROM to TO to OUT; of the task wikitext its result
import { writeFileSync } from 'node:fs'
import {
  describeModel,
  loadTasks,
  loadWikitext,
  openCheckpoint,
  openEngine,
  taskLikelihoods,
  wordPerplexity,
} from '../dist/node.js'

const [path, name, from, to, out, ...data] = process.argv.slice(2)

async function finish(events) {
  for (;;) {
    const step = await events.next()
    if (step.done) return step.value
  }
}

const engine = openEngine()
const model = describeModel(await openCheckpoint(path))
const started = performance.now()
let result
if (name === 'wikitext') {
  const pages = await finish(loadWikitext({ data }))
  result = await finish(wordPerplexity(model, engine, pages.slice(Number(from), Number(to))))
} else {
  const [task] = await finish(loadTasks([name], { data }))
  const items = task.items.slice(Number(from), Number(to))
  const [likelihoods] = await finish(taskLikelihoods(model, engine, [{ name, items }]))
  result = { items: items.map((item, i) => ({ ...item, likelihoods: likelihoods[i] })) }
}
writeFileSync(out, JSON.stringify({ ...result, seconds: (performance.now() - started) / 1000 }))
