// Makes docs/support.md of what the tests of all suites prove: family × scope × layout × runtime, a cell for what a test passed of.
// usage: node scripts/support.mjs REPORT… [--write | --tests]   (vitest's JSON reports). Without an option the file must be what they say, or
// exit code 1; of a run that is not nightly (FASP_NIGHTLY), which has some of the tests, the file must have all that they say. --tests prints
// each cell with the tests that prove it.
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const RUNTIMES = ['fasp', 'ONNX Runtime', 'transformers', 'llama.cpp', 'transformers.js']
const SCOPES = ['dense', 'ffn', 'ffn+ragged', 'ffn+per-head', 'ffn+rotate', 'ffn+heads', 'layers', 'experts']
const LAYOUTS = ['stock', 'padded', 'compact']
const HEAD = `# What runs where

Made by \`scripts/support.mjs\` from the results of all tests of \`.ci/run nightly\`, which fails where this page says anything else.

Last green nightly run: none since its tests were divided on 2026-12-03. That of 2026-12-04 had 4,396 passed and 3 failed, which have been
mended: a fuzzed file that was read too slowly, and two tests left out under MPICH, where they have no meaning.

A cell has the [layouts](guide.md) in which a model of the family, cut in that scope, ran in the runtime and gave our logits or tokens.
"yes" stands for the dense model. An empty cell was not tried, or is refused with a message that says why.

"ONNX Runtime" are exports without a runtime around them, transformers.js such exports by its own classes. Below the table are the files
whose tests prove a column; \`node scripts/support.mjs REPORT --tests\` prints the tests of each cell, of reports that
\`npx vitest run --reporter json --outputFile REPORT\` writes.
`

const reports = process.argv.slice(2).filter(arg => !arg.startsWith('--'))
const proven = reports
  .flatMap(report => JSON.parse(readFileSync(report, 'utf8')).testResults)
  .flatMap(({ name, assertionResults }) =>
    assertionResults.map(test => ({ file: name.slice(name.lastIndexOf('/test/') + 1), ...test })),
  )
  .filter(({ status }) => status === 'passed')
  .flatMap(({ file, fullName, meta }) => (meta?.proves ?? []).map(cell => ({ ...cell, file, fullName })))
const families = [...new Set(proven.map(({ family }) => family))].sort()
const rows = families.flatMap(family =>
  SCOPES.flatMap(scope => {
    const cells = RUNTIMES.map(runtime => {
      const found = proven.filter(p => p.family === family && p.scope === scope && p.runtime === runtime)
      const layouts = LAYOUTS.filter(layout => found.some(p => p.layout === layout))
      return scope === 'dense' && found.length > 0 ? 'yes' : layouts.join(', ')
    })
    return cells.some(cell => cell) ? [`| ${[`\`${family}\``, scope, ...cells].join(' | ')} |`] : []
  }),
)
const table = [`| family | scope | ${RUNTIMES.join(' | ')} |`, `|${' --- |'.repeat(RUNTIMES.length + 2)}`, ...rows]
const files = RUNTIMES.map(runtime => {
  const found = new Set(proven.filter(p => p.runtime === runtime).map(({ file }) => `\`${file}\``))
  return `| ${runtime} | ${[...found].sort().join(', ')} |`
})
const page = `${HEAD}\n${table.join('\n')}\n\n| runtime | proved by |\n| --- | --- |\n${files.join('\n')}\n`
const file = fileURLToPath(new URL('../docs/support.md', import.meta.url))
if (process.argv.includes('--tests')) {
  const lines = proven.map(p => `${p.family}, ${p.scope}, ${p.layout}, ${p.runtime}: ${p.file}, ${p.fullName}`)
  console.log(lines.sort().join('\n'))
} else if (process.argv.includes('--write')) writeFileSync(file, page)
else if (!process.env.FASP_NIGHTLY) {
  const cells = readFileSync(file, 'utf8')
    .split('\n')
    .map(line => line.split('|').map(cell => cell.trim()))
  for (const { family, scope, layout, runtime, fullName } of proven) {
    const row = cells.find(([, name, of]) => name === `\`${family}\`` && of === scope) ?? []
    const has = row[3 + RUNTIMES.indexOf(runtime)]?.split(', ') ?? []
    if (has.includes(scope === 'dense' ? 'yes' : layout)) continue
    console.error(`${file} lacks ${family}, ${scope}, ${layout}, ${runtime}: ${fullName}`)
    process.exitCode = 1
  }
} else {
  const [is, should] = [readFileSync(file, 'utf8'), page].map(text => text.split('\n'))
  for (const line of is.filter(line => !should.includes(line))) console.error(`- ${line}`)
  for (const line of should.filter(line => !is.includes(line))) console.error(`+ ${line}`)
  if (is.join() !== should.join()) process.exitCode = 1
}
