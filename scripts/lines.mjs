// Keeps the source tree as docs and CONVENTIONS draw it: sizes of files, direction of imports, where Node may be used.
// usage: npm run lines   prints the lines of each file of src without tests; exits 1 after naming every violation
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** More than this and a file is more than one room. */
const MAX_FILE = 400
/** A reader can take in the whole library. */
const MAX_TOTAL = 22800
/** The pipeline reads like the diagram of the stages. */
const MAX_PIPELINE = 200

/** The page that imports go up on: a folder or file of src imports from its own line and from lines above it, never from below. */
const PAGE = [
  ['errors', 'version', 'clock', 'events', 'display'],
  ['formats'],
  ['engine'],
  ['linalg'],
  ['checkpoint'],
  ['model'],
  ['blocks'],
  ['calibrate'],
  ['score'],
  ['select'],
  ['restore'],
  ['allocate'],
  ['methods', 'options', 'check-options', 'plan', 'result', 'notices'],
  ['write'],
  ['evaluate'],
  ['export'],
  ['report'],
  ['prune-half', 'prune'],
  ['index'],
  ['hub'],
  ['compare'],
  ['node'],
  ['bench'],
  ['cli'],
]

const src = fileURLToPath(new URL('../src', import.meta.url))
const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter(entry => entry.isFile() && entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts'))
  .map(entry => relative(src, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
  .sort()

const problems = []
const place = file => PAGE.findIndex(line => line.includes(file.split('/')[0].replace(/(\.node)?\.ts$/, '')))
const mayUseNode = file => /(^|\/)(node|[^/]+\.node)\.ts$/.test(file) || file.startsWith('cli/')

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
  if (place(file) >= 0 && place(imported) > place(file))
    problems.push(`${file} imports ${imported}: a later stage; imports go up the page of scripts/lines.mjs`)
  if (mayUseNode(imported) && !mayUseNode(file))
    problems.push(`${file} imports ${imported}: it would need Node in the browser`)
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

for (const [index, file] of files.entries()) console.log(`${String(counts[index]).padStart(5)}  ${file}`)
const total = counts.reduce((a, b) => a + b, 0)
const median = [...counts].sort((a, b) => a - b)[Math.floor(counts.length / 2)] ?? 0
console.log(`${String(total).padStart(5)}  in ${files.length} files, median ${median}`)
if (total > MAX_TOTAL) problems.push(`src has ${total} lines, allowed are ${MAX_TOTAL}`)
for (const problem of problems) console.error(`error: ${problem}`)
if (problems.length > 0) process.exitCode = 1
