// Writes the tables of docs/results.md and README.md from bench/results/*.json. Indices of kept columns are most of the bytes of these files:
// the script removes them.
// usage: node bench/results-page.mjs [--check]
// `--check` writes nothing and fails where a table differs. A table stands between `<!-- table MODEL: TITLE -->` and an empty line.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const PAGES = ['docs/results.md', 'README.md']
const checks = process.argv.includes('--check')

const MODELS = {
  smollm2: ['smollm2-tasks', 'smollm2-cuts', 'smollm2-methods'],
  gemma3: ['gemma3'],
  'gemma3-english': ['gemma3-english'],
  'tiny-opt': ['tiny-opt'],
}
const HEADLINE = { methods: ['paper', 'stock', 'best'], cuts: [0.2, 0.3] }
const COST_AT = 0.3

const number = value => (value < 10000 ? value.toFixed(2) : Math.round(value).toLocaleString('en-US'))
const nameOf = ({ name, sparsity }) => (sparsity ? `\`${name}\`, ${percent(sparsity)}` : 'dense')
const megabytes = bytes => `${Math.round(bytes / 1e6)} MB`
const percent = part => `${Math.round(100 * part)} %`

/** What a cell says of a run: one value for each text. */
const CELLS = {
  perplexity: run => run.perplexity.map(one => number(one.perplexity)),
  'perplexity, standard error': run =>
    run.perplexity.map(one => `${number(one.perplexity)} ± ${number(one.standardError)}`),
  'bits per byte': run => run.perplexity.map(one => one.bitsPerByte.toFixed(3)),
  KL: run => run.divergence?.map(one => one.kl.toFixed(3)) ?? [],
}

const tables = {
  headline(runs) {
    const { methods, cuts } = HEADLINE
    const rows = [dense(runs), ...cuts.flatMap(cut => methods.map(name => runOf(runs, name, cut)))]
    return table(['model', 'parameters', 'WikiText-2', 'C4-like', 'KL, WikiText-2', 'KL, C4-like'], rows, run => [
      nameOf(run),
      `${((run.prune?.sizes.parameters.effective ?? run.parameters) / 1e6).toFixed(1)} M`,
      ...CELLS['perplexity, standard error'](run),
      ...(run.divergence ? CELLS.KL(run) : ['', '']),
    ])
  },
  perplexity: byCut('perplexity'),
  'bits per byte': byCut('bits per byte'),
  tasks(runs) {
    const measured = runs.filter(run => run.tasks?.length)
    const best = ({ accuracy, accuracyNorm = accuracy }) => 100 * accuracyNorm.value
    const mean = values => values.reduce((sum, one) => sum + one, 0) / values.length
    return table(['model', ...measured[0].tasks.map(one => one.task), 'mean'], measured, run => [
      nameOf(run),
      ...run.tasks.map(one => best(one).toFixed(1)),
      mean(run.tasks.filter(one => one.task !== 'boolq').map(best)).toFixed(1),
    ])
  },
  cost(runs) {
    const pruned = runs.filter(run => run.sparsity === COST_AT)
    return table([`${percent(COST_AT)} cut`, 'parameters', 'bf16 weights', 'time', 'peak memory'], pruned, run => [
      `\`${run.name}\``,
      `${(run.prune.sizes.parameters.effective / 1e6).toFixed(1)} M`,
      megabytes(run.prune.sizes.weightBytes.after),
      `${Math.round(Object.values(run.prune.seconds).reduce((sum, one) => sum + one, 0))} s`,
      megabytes(run.peakMemoryBytes),
    ])
  },
}

const runs = Object.fromEntries(Object.keys(MODELS).map(model => [model, runsOf(model)]))
for (const page of PAGES) {
  const before = readFileSync(at(`../${page}`), 'utf8')
  const after = before.replace(/(?<=<!-- table (.+): (.+) -->\n\n)(?:\|.*\n)*/g, (_, model, title) => {
    if (!MODELS[model] || !tables[title]) throw new Error(`${page}: there is no table "${model}: ${title}".`)
    return tables[title](runs[model])
  })
  if (!checks) writeFileSync(at(`../${page}`), after)
  else if (after !== before) {
    console.error(`${page} has other tables than bench/results. Run node bench/results-page.mjs`)
    process.exitCode = 1
  }
}

/** The runs of a model's files; the dense model, which each file has, once. */
function runsOf(model) {
  return MODELS[model].flatMap((name, i) => {
    const path = at(`results/${name}.json`)
    const text = readFileSync(path, 'utf8')
    if (!checks) writeFileSync(path, withoutIndices(text))
    const { runs, model } = JSON.parse(text)
    const all = runs.map(run => (run.sparsity ? run : { ...run, parameters: model.parameters }))
    return i === 0 ? all : all.filter(run => run.sparsity)
  })
}

function dense(runs) {
  return runs.find(run => !run.sparsity)
}

function runOf(runs, name, cut) {
  return runs.find(run => run.name === name && run.sparsity === cut)
}

/** A row for each method and a column for each cut; a cell has what `what` says of each text. */
function byCut(what) {
  return runs => {
    const cuts = [...new Set(runs.map(run => run.sparsity).filter(Boolean))].sort((a, b) => a - b)
    const names = [...new Set(runs.filter(run => run.sparsity).map(run => run.name))]
    const cell = run => (run ? CELLS[what](run).join(' / ') : '')
    const rows = names.map(name => [`\`${name}\``, ...cuts.map(cut => cell(runOf(runs, name, cut)))])
    const uncut = cell(dense(runs))
    return table([uncut ? `dense: ${uncut}` : '', ...cuts.map(percent)], rows, cells => cells)
  }
}

function table(head, rows, cells) {
  const line = texts => `| ${texts.join(' | ')} |\n`
  return `${line(head)}|---${'|---:'.repeat(head.length - 1)}|\n${rows.map(row => line(cells(row))).join('')}`
}

function withoutIndices(text) {
  return `${JSON.stringify(JSON.parse(text, (key, value) => (key === 'kept' ? [] : value)))}\n`
}
