// Keeps the source tree as docs and CONVENTIONS draw it: sizes of files and of the core, direction of imports, no circles of files, where Node
// and where a page may be used.
// usage: npm run lines   prints the lines of each file of src without tests; exits 1 after naming every violation
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** More than this and a file is more than one room. */
const MAX_FILE = 400
/**
 * The method itself: what a reader takes in to know how a model is pruned, not what is asked of a run (options, plan) and told of it (notices,
 * result), nor the allocations of methods to compare with (baselines). Never to be raised: what does not fit is simplified.
 */
const MAX_CORE = 8000
const CORE = [
  ...['run', 'prune', 'prune-half', 'prune-mixture', 'cut', 'method'],
  ...['model', 'engine', 'linalg', 'graphs', 'forward', 'statistics', 'score', 'select', 'restore', 'allocate'],
]
/** The pipeline reads like the diagram of the stages. */
const MAX_PIPELINE = 200

/** The page that imports go up on: a folder or file of src imports from its own line and from lines above it, never from below. */
const PAGE = [
  ['errors', 'version', 'clock', 'events', 'display', 'random', 'unfinished', 'least-sparsity'],
  ['formats'],
  ['values'],
  ['onnxruntime'],
  ['native'],
  ['linalg'],
  ['engine', 'device-linalg'],
  ['group'],
  ['checkpoint'],
  ['model'],
  ['graphs'],
  ['forward'],
  ['saved', 'read-ahead', 'scratch', 'common'],
  ['heal'],
  ['decode'],
  ['text'],
  ['statistics'],
  ['score'],
  ['select'],
  ['restore'],
  ['cut'],
  ['allocate', 'baselines'],
  ['method', 'written-method', 'options', 'plan', 'result', 'notices', 'flops', 'product-rate'],
  ['run'],
  ['vocabulary'],
  ['write'],
  ['evaluate'],
  ['export'],
  ['recipe'],
  ['report'],
  ['prune-half', 'prune-mixture', 'prune', 'within-loss', 'healing'],
  ['hub'],
  ['compare'],
  ['library'],
  ['index'],
  ['node', 'web'],
  ['bench', 'ui'],
  ['cli'],
]

const src = fileURLToPath(new URL('../src', import.meta.url))
const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
  .map(entry => relative(src, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  .sort()

const problems = []
const named = part => part.replace(/(\.node|\.web)?\.ts$/, '')
const place = file => PAGE.findIndex(line => line.includes(named(file.split('/')[0])))
const isCore = file => CORE.includes(named(file.split('/')[0]))
/** Where a page's own types and objects are used: from nowhere that runs in Node. */
const isWeb = file => /(^|\/)(web|[^/]+\.web)\.ts$/.test(file)
const mayUseNode = file => /(^|\/)(node|[^/]+\.node)\.ts$/.test(file) || file.startsWith('cli/')

/** Of each file the files that it imports, those of types too. */
const imports = new Map(files.map(file => [file, []]))

function checkImport(file, target) {
  if (target.startsWith('node:')) {
    if (!mayUseNode(file)) problems.push(`${file} imports ${target}: only *.node.ts, node.ts and cli/ may`)
    return
  }
  if (!target.startsWith('.')) return
  const imported = relative(src, join(src, dirname(file), target)).replaceAll('\\', '/')
  if (imported.startsWith('..')) {
    if (!imported.endsWith('.json')) problems.push(`${file} imports ${target}: outside src`)
    return
  }
  imports.get(file).push(imported)
  if (place(file) >= 0 && place(imported) > place(file))
    problems.push(`${file} imports ${imported}: a later stage; imports go up the page of scripts/lines.mjs`)
  if (mayUseNode(imported) && !mayUseNode(file))
    problems.push(`${file} imports ${imported}: it would need Node in the browser`)
  if (isWeb(imported) && !isWeb(file)) problems.push(`${file} imports ${imported}: only *.web.ts and web.ts may`)
}

const counts = files.map(file => {
  const text = readFileSync(join(src, file), 'utf8')
  const lines = text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
  const limit = file === 'prune.ts' ? MAX_PIPELINE : MAX_FILE
  if (lines > limit)
    problems.push(`${file} has ${lines} lines, allowed are ${limit}: find the second thing in it and move it out`)
  if (place(file) < 0)
    problems.push(`${file} has no place in the page of scripts/lines.mjs: add its folder where it belongs`)
  // At line starts only: code that writes code quotes imports in strings.
  for (const [, target] of text.matchAll(/^(?:import|export)\b(?:[^'";]*?\bfrom)?\s*['"]([^'"]+)['"]/gm))
    checkImport(file, target)
  for (const [, target] of text.matchAll(/\bimport\(\s*['"]([^'"]+)['"]/g)) checkImport(file, target)
  return lines
})

/** The page of web/: files as long as those of src, that run where there is no Node, but for what builds it. */
const web = fileURLToPath(new URL('../web', import.meta.url))
for (const name of readdirSync(web).filter(name => /\.tsx?$/.test(name))) {
  const text = readFileSync(join(web, name), 'utf8')
  const lines = text.split('\n').length - 1
  if (lines > MAX_FILE) problems.push(`web/${name} has ${lines} lines, allowed are ${MAX_FILE}`)
  if (name !== 'vite.config.ts' && /from '(node:|[^']*(\.node|\/node|\/cli\/[^']*)\.ts')/.test(text))
    problems.push(`web/${name} imports what needs Node`)
}

/** The shortest way from `file` back to itself. */
function circle(file) {
  const ways = [[file]]
  const seen = new Set()
  for (const way of ways)
    for (const next of imports.get(way.at(-1)) ?? []) {
      if (next === file) return [...way, file]
      if (!seen.has(next)) ways.push([...way, next])
      seen.add(next)
    }
}
for (const file of files) {
  const way = circle(file)
  if (way && file === [...way].sort()[0])
    problems.push(`${way.join(' → ')}: a circle of files; give what they share a file`)
}

for (const [index, file] of files.entries()) console.log(`${String(counts[index]).padStart(5)}  ${file}`)
const total = counts.reduce((a, b) => a + b, 0)
const core = files.reduce((sum, file, index) => sum + (isCore(file) ? counts[index] : 0), 0)
const median = [...counts].sort((a, b) => a - b)[Math.floor(counts.length / 2)] ?? 0
console.log(`${String(total).padStart(5)}  in ${files.length} files, median ${median}`)
console.log(`${String(core).padStart(5)}  of them in the core`)
if (core > MAX_CORE) problems.push(`the core has ${core} lines, allowed are ${MAX_CORE}: simplify`)
for (const problem of problems) console.error(`error: ${problem}`)
if (problems.length > 0) process.exitCode = 1
