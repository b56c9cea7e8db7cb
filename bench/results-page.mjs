// Writes the tables of docs/results.md, as `fasp report` makes them of bench/results/*.json, each with a last one that says which run is of
// which machine, versions and day; and drops from these files the indices of what was kept, which take most of their bytes.
// usage: node bench/results-page.mjs [--check]   (after npm run build)
// `--check` writes nothing and fails where a table is another. A table stands between `<!-- table RESULTS: TITLE -->` and an empty line.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const at = path => fileURLToPath(new URL(path, import.meta.url))
const page = at('../docs/results.md')
const checks = process.argv.includes('--check')

const results = {
  smollm2: ['smollm2-tasks', 'smollm2-cuts', 'smollm2-methods'],
  gemma3: ['gemma3'],
  'gemma3-english': ['gemma3-english'],
  'tiny-opt': ['tiny-opt'],
}

const folder = mkdtempSync(join(tmpdir(), 'fasp-results-'))
const tables = new Map()
try {
  for (const [name, files] of Object.entries(results)) {
    const paths = files.map(file => at(`results/${file}.json`))
    if (!checks) for (const path of paths) writeFileSync(path, withoutIndices(readFileSync(path, 'utf8')))
    const report = join(folder, `${name}.md`)
    execFileSync('node', [at('../dist/cli.js'), 'report', ...paths, '-o', report])
    for (const [, title, table] of readFileSync(report, 'utf8').matchAll(/^\*\*(.+)\.\*\*.*\n\n((?:\|.*\n)+)/gm))
      tables.set(`${name}: ${title}`, table)
    tables.set(`${name}: Runs`, runsByMachine(paths))
  }
} finally {
  rmSync(folder, { recursive: true })
}

const before = readFileSync(page, 'utf8')
const after = before.replace(/(?<=<!-- table (.+) -->\n\n)(?:\|.*\n)*/g, (_, name) => {
  if (!tables.has(name)) throw new Error(`docs/results.md: no result has a table "${name}".`)
  return tables.get(name)
})
if (!checks) writeFileSync(page, after)
else if (after !== before) {
  console.error('docs/results.md has other tables than bench/results. Run node bench/results-page.mjs')
  process.exitCode = 1
}

/** A row for each machine, number of threads, day and cut; the versions stand in the head. */
function runsByMachine(paths) {
  const rows = new Map()
  const versions = new Set()
  for (const { name, sparsity, made } of paths.flatMap(path => JSON.parse(readFileSync(path, 'utf8')).runs)) {
    if (!sparsity) continue // the dense model, in every file
    const { cpu, cores, threads, memoryBytes, node, onnxruntime } = made.machine
    versions.add(`fasp ${made.fasp}, Node ${node}, onnxruntime-node ${onnxruntime}`)
    const machine = `${cpu.replaceAll('(R)', '')}, ${cores} cores, ${Math.round(memoryBytes / 2 ** 30)} GiB`
    const row = `| ${machine} | ${threads ?? 'default'} | ${made.created.slice(0, 10)} | ${sparsity * 100} % |`
    rows.set(row, [...(rows.get(row) ?? []), name])
  }
  const head = `| ${[...versions].join('; ')} | threads | day | cut | runs |\n|---|---:|---|---:|---|\n`
  return head + [...rows].map(([row, names]) => `${row} ${names.join(', ')} |\n`).join('')
}

function withoutIndices(text) {
  return `${JSON.stringify(JSON.parse(text, (key, value) => (key === 'kept' ? [] : value)))}\n`
}
