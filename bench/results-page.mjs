// Writes the tables of docs/results.md from bench/results/*.json, and drops from these files the indices of what was kept, which take
// most of their bytes. usage: node bench/results-page.mjs [--check]   `--check` writes nothing and fails where a table is another
// A table stands between `<!-- table NAME -->` and the next empty line.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const CUTS = [0.1, 0.2, 0.3, 0.5]
const METHODS = [
  'paper',
  'stock',
  'best',
  'fasp',
  'flap',
  'wanda-sp',
  'magnitude',
  'random',
  'osscar',
  'shortgpt',
  'sleb',
]
const at = path => fileURLToPath(new URL(path, import.meta.url))
const page = at('../docs/results.md')
const checks = process.argv.includes('--check')

const files = Object.fromEntries(
  ['smollm2-tasks', 'smollm2-cuts', 'smollm2-methods', 'tiny-opt'].map(name => {
    const path = at(`results/${name}.json`)
    const text = readFileSync(path, 'utf8')
    const result = JSON.parse(text, (key, value) => (key === 'kept' ? [] : value))
    const short = `${JSON.stringify(result)}\n`
    if (!checks && short !== text) writeFileSync(path, short)
    return [name, result]
  }),
)
const place = ({ name, sparsity }) => 100 * sparsity + METHODS.indexOf(name) / METHODS.length
const inOrder = runs => runs.toSorted((a, b) => place(a) - place(b))
const smollm2 = inOrder(['tasks', 'cuts', 'methods'].flatMap(name => files[`smollm2-${name}`].runs))
const opt = inOrder(files['tiny-opt'].runs)

const pruned = runs => runs.filter(({ prune }) => prune)
const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`
const number = value => (value < 1e5 ? value.toFixed(2) : Math.round(value).toLocaleString('en'))
const megabytes = bytes => (bytes < 1e9 ? `${(bytes / 1e6).toFixed(0)} MB` : `${(bytes / 1e9).toFixed(2)} GB`)
const duration = seconds =>
  seconds < 99.5
    ? `${seconds.toFixed(seconds < 9.95 ? 1 : 0)} s`
    : `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`
const markdown = ([head, ...rows], rule = '---:') =>
  [head, head.map((_, i) => (i === 0 ? '---' : rule)), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n')

/** Methods down, cuts across. */
function byMethod(runs, cell) {
  const names = METHODS.filter(method => runs.some(({ name }) => name === method))
  const find = (name, cut) => pruned(runs).find(run => run.name === name && run.sparsity === cut)
  const cells = name => CUTS.map(cut => (find(name, cut) ? cell(find(name, cut)) : '–'))
  return markdown([['method', ...CUTS.map(cut => percent(cut, 0))], ...names.map(name => [name, ...cells(name)])])
}
const perplexity = i => run => `${number(run.perplexity[i].perplexity)} ± ${number(run.perplexity[i].standardError)}`
const distance = i => run => `${run.divergence[i].kl.toFixed(4)}, ${percent(run.divergence[i].topAgreement)}`

/** Tasks across, and their mean. */
function accuracies(metric) {
  const runs = smollm2.filter(({ tasks }) => tasks.length > 0)
  const estimates = ({ tasks }) => tasks.flatMap(task => (task[metric] ? [task[metric]] : []))
  const cell = ({ value, standardError }) => `${(100 * value).toFixed(1)} ± ${(100 * standardError).toFixed(1)}`
  const mean = run => {
    const values = estimates(run).map(({ value }) => value)
    return (100 * values.reduce((sum, value) => sum + value, 0)) / values.length
  }
  const named = runs[0].tasks.flatMap(task => (task[metric] ? [task.task] : []))
  const row = run => [label(run), ...estimates(run).map(cell), mean(run).toFixed(1)]
  return markdown([['model', ...named, 'mean'], ...runs.map(row)])
}

const label = run => (run.prune ? `${run.name} ${percent(run.sparsity, 0)}` : run.name)

/** Of pruning alone. */
function costs(runs) {
  const row = run => {
    const { sizes, seconds } = run.prune
    const cut = 1 - sizes.decoderLinears.after / sizes.decoderLinears.before
    const parameters = `${(sizes.parameters.effective / 1e6).toFixed(1)} M`
    const time = Object.values(seconds).reduce((sum, one) => sum + one, 0)
    return [
      label(run),
      percent(cut),
      parameters,
      megabytes(sizes.weightBytes.after),
      duration(time),
      megabytes(run.peakMemoryBytes),
    ]
  }
  return markdown([['model', 'cut', 'parameters', 'on disk', 'time', 'memory'], ...pruned(runs).map(row)])
}

const tables = {
  'perplexity of SmolLM2, WikiText-2': byMethod(smollm2, perplexity(0)),
  'perplexity of SmolLM2, C4-like': byMethod(smollm2, perplexity(1)),
  'divergence of SmolLM2, WikiText-2': byMethod(smollm2, distance(0)),
  'divergence of SmolLM2, C4-like': byMethod(smollm2, distance(1)),
  'accuracy of SmolLM2': accuracies('accuracy'),
  'normalised accuracy of SmolLM2': accuracies('accuracyNorm'),
  'costs of SmolLM2': costs(smollm2),
  'perplexity of tiny-opt': byMethod(opt, perplexity(0)),
  'costs of tiny-opt': costs(opt.filter(({ sparsity }) => sparsity === 0.3)),
}

const before = readFileSync(page, 'utf8')
const after = before.replace(/(?<=<!-- table (.+) -->\n\n)(?:\|.*\n)*/g, (_, name) => {
  if (!tables[name]) throw new Error(`docs/results.md: there is no table "${name}".`)
  return `${tables[name]}\n`
})
if (!checks) writeFileSync(page, after)
else if (after !== before) {
  console.error('docs/results.md has other tables than bench/results. Run node bench/results-page.mjs')
  process.exitCode = 1
}
