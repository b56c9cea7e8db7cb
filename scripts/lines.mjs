// The gate of the source tree: how much there is, how long files and functions are, which way imports go.
// usage: npm run lines   prints the rooms of src; exit code 1 where a limit is passed.
//        npm run lines -- --files     each file, too; --clients: imports that pass by the public API
// A limit counts all that it is about. A limit is never raised, and nothing is taken out of what it counts.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/** Lines of all .ts and .tsx files of src and web without tests. */
const MAX_TOTAL = 45_650
/** Lines of all files that the pipeline reaches by imports, types too: what the method needs to know. */
const MAX_REACH = 14_000
const PIPELINE = 'src/prune/prune.ts'
/** A longer file is more than one thing. */
const MAX_FILE = 400
/** The pipeline reads like the diagram of the stages. */
const MAX_PIPELINE = 200
/** A longer function says why in a comment with the words "Long because". */
const MAX_FUNCTION = 80
/** The formatter keeps code within this width; comments and strings keep it, too. */
const MAX_COLUMNS = 120
/**
 * What was there when the gate was built, and goes down with each change: 42,000 lines in all, 14,000 that are reached, no long function and
 * no wide line are what it goes down to.
 */
const [MAX_LONG_FUNCTIONS, MAX_WIDE_LINES] = [13, 80]
/** Imports that pass by the public API, see CLIENTS. It goes down to none. */
const MAX_INSIDE = 0

/** The rooms of src from the ground up: files import from their own room and from rooms above it in this list. */
const ROOMS = [
  ...['base', 'formats', 'ranks', 'engine', 'checkpoint', 'model', 'graphs', 'output', 'forward', 'text', 'method'],
  ...['options', 'result', 'heal', 'vocabulary', 'evaluate', 'write', 'prune', 'hub', 'report', 'compare', 'verbs'],
  ...['index', 'node', 'web', 'page', 'cli'],
]

/** Files that use the library as users do: by the public API, the reports and the base. What they miss is missing in the API. */
const CLIENTS = /^(web|src\/cli|src\/page)\//
const PUBLIC = /^(web\/|src\/((index|node|web)\.ts$|(cli|page|report|base|options)\/))/

const root = fileURLToPath(new URL('..', import.meta.url))
const filesOf = folder =>
  readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && /\.tsx?$/.test(entry.name) && !entry.name.endsWith('.test.ts'))
    .map(entry => relative(root, join(entry.parentPath, entry.name)).replaceAll('\\', '/'))
    .sort()
const files = [...filesOf('src'), ...filesOf('web')]
const problems = []
const longFunctions = []
const wideLines = []
const inside = []

const roomOf = file => (file.startsWith('src/') ? file.split('/')[1].replace(/\.ts$/, '') : 'web/')
/** Where the types and objects of a page are used: files of Node import none of these files. */
const isWeb = file => /^web\/|(^|\/)(web|[^/]+\.web)\.ts$/.test(file)
const mayUseNode = file =>
  /(^|\/)(node|[^/]+\.node)\.ts$/.test(file) || file.startsWith('src/cli/') || file === 'web/vite.config.ts'

function checkImport(file, target) {
  if (target.startsWith('node:')) {
    if (!mayUseNode(file)) problems.push(`${file} imports ${target}: only *.node.ts, node.ts and cli/ may`)
    return
  }
  if (!target.startsWith('.')) return
  const imported = relative(root, join(root, dirname(file), target)).replaceAll('\\', '/')
  if (file.startsWith('src/') && !imported.startsWith('src/') && !imported.endsWith('.json'))
    problems.push(`${file} imports ${imported}: outside src`)
  if (!texts.has(imported)) return
  imports.get(file).push(imported)
  if (CLIENTS.test(file) && !PUBLIC.test(imported))
    inside.push(`${file} imports ${imported}: clients import src/index.ts, node.ts, web.ts, page, report or base`)
  const [from, to] = [roomOf(file), roomOf(imported)]
  if (file.startsWith('src/') && ROOMS.indexOf(to) > ROOMS.indexOf(from))
    problems.push(`${file} imports ${imported}: ${to} stands below ${from} in ROOMS of scripts/lines.mjs`)
  if (mayUseNode(imported) && !mayUseNode(file)) problems.push(`${file} imports ${imported}, which needs Node`)
  if (isWeb(imported) && !isWeb(file)) problems.push(`${file} imports ${imported}: only *.web.ts, web.ts and web/ may`)
}

/** Functions that are too long, and why nobody said. */
function checkFunctions(file, source) {
  const visit = node => {
    if (ts.isFunctionLike(node) && node.body) {
      const [from, to] = [node.getStart(source), node.end].map(at => source.getLineAndCharacterOfPosition(at).line)
      const lines = to - from + 1
      const said = /Long because/.test(source.text.slice(node.getFullStart(), node.body.getStart(source) + 200))
      if (lines > MAX_FUNCTION && !said) {
        const name = node.name?.getText(source) ?? 'a function'
        longFunctions.push(`${file}:${from + 1} ${name} has ${lines} lines, allowed are ${MAX_FUNCTION}`)
      }
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
}

const lineCount = text => text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
const texts = new Map(files.map(file => [file, readFileSync(join(root, file), 'utf8')]))
const lines = new Map([...texts].map(([file, text]) => [file, lineCount(text)]))
const imports = new Map(files.map(file => [file, []]))
for (const [file, text] of texts) {
  const limit = file === PIPELINE ? MAX_PIPELINE : MAX_FILE
  if (lines.get(file) > limit) problems.push(`${file} has ${lines.get(file)} lines, allowed are ${limit}`)
  if (file.startsWith('src/') && !ROOMS.includes(roomOf(file)))
    problems.push(`${file} is in no room of scripts/lines.mjs`)
  for (const [i, line] of text.split('\n').entries())
    if ([...line].length > MAX_COLUMNS) wideLines.push(`${file}:${i + 1} has more than ${MAX_COLUMNS} columns`)
  checkFunctions(file, ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true))
  for (const { fileName } of ts.preProcessFile(text, true, true).importedFiles) checkImport(file, fileName)
}

/** Files from which `file` is reached, `file` first. */
function reach(file) {
  const seen = new Set([file])
  for (const one of seen) for (const next of imports.get(one) ?? []) seen.add(next)
  return seen
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
  if (way && file === [...way].sort()[0]) problems.push(`a circle of files: ${way.join(' → ')}`)
}

const sum = some => [...some].reduce((total, file) => total + lines.get(file), 0)
const arrows = new Set()
for (const [file, targets] of imports)
  for (const target of targets) if (roomOf(file) !== roomOf(target)) arrows.add(`${roomOf(file)} ${roomOf(target)}`)
if (process.argv.includes('--files'))
  for (const file of files) console.log(`${String(lines.get(file)).padStart(6)}  ${file}`)
if (process.argv.includes('--clients')) for (const one of inside) console.log(one)
for (const room of [...ROOMS, 'web/']) {
  const own = files.filter(file => roomOf(file) === room)
  const to = [...arrows].filter(arrow => arrow.startsWith(`${room} `)).length
  const by = [...arrows].filter(arrow => arrow.endsWith(` ${room}`)).length
  const [size, count] = [sum(own), own.length].map(String)
  console.log(`${size.padStart(6)}  ${room.padEnd(11)} ${count.padStart(3)} files, asks ${to} rooms, is asked by ${by}`)
}
const [total, reached] = [sum(files), sum(reach(PIPELINE))]
const limits = [
  [total, MAX_TOTAL, `in all of src and web, ${files.length} files, ${arrows.size} arrows between rooms`],
  [reached, MAX_REACH, `are reached by ${PIPELINE}`],
  [longFunctions.length, MAX_LONG_FUNCTIONS, `functions have more than ${MAX_FUNCTION} lines`, longFunctions],
  [inside.length, MAX_INSIDE, 'imports of clients pass by the public API', inside],
  [wideLines.length, MAX_WIDE_LINES, `lines have more than ${MAX_COLUMNS} columns`, wideLines],
]
for (const [count, limit, of, which = []] of limits) {
  console.log(`${String(count).padStart(6)}  ${of}; allowed are ${limit}`)
  if (count > limit) problems.push(...which, `${count} ${of}: allowed are ${limit}`)
}
for (const problem of problems) console.error(`error: ${problem}`)
if (problems.length > 0) process.exitCode = 1
