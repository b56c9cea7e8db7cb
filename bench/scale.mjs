// How long pruning takes on 1 to 64 machines, by the counts of src/scale/plans.ts and rates that are assumed: no weights, no cluster. Prints the table
// of docs/distributed.md, with what solves over the ranks save of it and the probe is, and writes docs/distributed.svg.
// usage: node bench/scale.mjs [METHOD]
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { createServer } from 'vite'
import { llama } from './llama.mjs'

/** Of a machine: 2 and 1 TFLOP/s, as some dozens of cores with AVX-512 have, and 10 Gb Ethernet. */
const RATES = { float32: 2e12, float64: 1e12, network: 1.1e9 }
const RANKS = [1, 2, 4, 8, 16, 32, 64]
const SEQ_LEN = 512
const TOKENS = [65_536, 1_048_576]
/** A doubling that saves less of the time does not pay. */
const PAYS = 1 / 10

const root = fileURLToPath(new URL('..', import.meta.url))
const [method = 'best'] = process.argv.slice(2)
const server = await createServer({
  ...{ root, configFile: false, appType: 'custom', logLevel: 'error' },
  ...{ server: { middlewareMode: true, ws: false }, optimizeDeps: { noDiscovery: true } },
})
const load = path => server.ssrLoadModule(`/src/${path}`)
const [{ architectureOf }, { resolveOptions }, { rankPlans, secondsOf }] = [
  ...[await load('model/model.ts'), await load('options.ts'), await load('scale/plans.ts')],
]
const [{ uniformWidths }, { duration, table }, { lineChart, pictureFile }] = [
  ...[await load('allocate/uniform.ts'), await load('display.ts'), await load('report/plot.ts')],
]

const rows = []
const series = []
for (const tokens of TOKENS)
  for (const size of ['7b', '30b', '70b', '405b']) {
    const a = architectureOf(size, { ...llama(size).config, max_position_embeddings: 4096 })
    const texts = [{ name: 'text', text: async () => '' }]
    const given = { sparsity: 0.3, method, windows: tokens / SEQ_LEN, seqLen: SEQ_LEN }
    const options = resolveOptions(given, a, { texts })
    const layers = a.halves.filter(half => half.kind === 'ffn').map(half => half.layer)
    const after = layers.map(() => uniformWidths(a, options))
    const tensors = [{ name: `${a.halves[0].output.name}.weight`, dtype: 'BF16' }]
    const plan = { widths: { after }, tensors, layers: { after: layers } }
    const of = (ranks, more, group) => rankPlans(a, plan, { ...options, ...more }, ranks, group)
    const seconds = RANKS.map(ranks => secondsOf(of(ranks), RATES))
    const idle = RANKS.find((_, i) => i > 0 && seconds[i].all > (1 - PAYS) * seconds[i - 1].all)
    const [half, whole] = [256, 512].map(probeTokens => of(1, { probeTokens })[0].windowFlops)
    const at8 = seconds[RANKS.indexOf(8)]
    const rootSolves = secondsOf(of(8, {}, { outputs: Number.POSITIVE_INFINITY }), RATES)
    const share = (part, all = at8.all) => `${Math.round((100 * part) / all)} %`
    rows.push([
      ...[size.toUpperCase(), tokens.toLocaleString('en'), ...seconds.map(({ all }) => duration(all))],
      ...[idle ? `${idle / 2}` : 'over 64', duration(at8.root), duration(at8.network)],
      ...[share(rootSolves.all - at8.all, rootSolves.all), share((whole - half) / RATES.float32)],
    ])
    const name = size.toUpperCase()
    const points = RANKS.map((x, i) => ({ x, y: seconds[i].all / 3600, title: `${x}: ${duration(seconds[i].all)}` }))
    series.push({ name, points, tokens })
  }
await server.close()
const head = [
  'model',
  'tokens',
  ...RANKS.map(String),
  'pays up to',
  'root',
  'network at 8',
  'saved by solves over 8',
  'probe',
]
console.log(table([head, ...rows]))
console.log(
  `| ${head.join(' | ')} |\n|---${'|---:'.repeat(head.length - 1)}|\n${rows.map(row => `| ${row.join(' | ')} |`).join('\n')}`,
)
const charts = TOKENS.map(tokens => {
  const title = `Hours of ${method} on ${tokens.toLocaleString('en')} tokens, by counts`
  const x = { type: 'log', base: 2, label: 'machines', ticks: RANKS, tickFormat: String }
  const y = { type: 'log', label: 'hours' }
  return { title, svg: lineChart({ title, x, y, series: series.filter(one => one.tokens === tokens) }) }
})
writeFileSync(new URL('../docs/distributed.svg', import.meta.url), pictureFile(charts))
