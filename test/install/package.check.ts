// What `npm install fasp` gives: strict programs against the packed tarball, type-checked as TypeScript's users do, and run. Needs `npm run build`.
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import manifest from '../../package.json' with { type: 'json' }
import { TEXT } from '../fasp.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const modules = join(root, 'node_modules')
const project = mkdtempSync(join(tmpdir(), 'fasp-package-'))
afterAll(() => rmSync(project, { recursive: true }))

const run = (command: string, ...args: string[]) => promisify(execFile)(command, args, { cwd: project })

/** What a program asks for beside fasp: its dependencies, the runtimes of Node and of pages, types. */
const BESIDE = [...Object.keys(manifest.dependencies), 'onnxruntime-node', '@types/node', 'onnxruntime-web']

beforeAll(async () => {
  const packed = await run('npm', 'pack', root, '--ignore-scripts', '--json')
  const installed = join(project, 'node_modules/fasp')
  mkdirSync(installed, { recursive: true })
  await run('tar', '-xzf', JSON.parse(packed.stdout)[0].filename, '-C', installed, '--strip-components=1')
  for (const name of BESIDE) {
    mkdirSync(dirname(join(project, 'node_modules', name)), { recursive: true })
    symlinkSync(join(modules, name), join(project, 'node_modules', name))
  }
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(project, 'text.txt'), TEXT)
}, 120_000)

async function compile(name: string, source: string, ...flags: string[]): Promise<void> {
  writeFileSync(join(project, `${name}.mts`), source)
  const strict = ['--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--skipLibCheck', 'false']
  const libraries = ['--lib', 'es2023,esnext.disposable,dom,dom.iterable'] // the types of onnxruntime-common want the DOM
  const tsc = [
    join(modules, 'typescript/bin/tsc'),
    `${name}.mts`,
    '--target',
    'es2023',
    ...strict,
    ...libraries,
    ...flags,
  ]
  const { stdout } = await run(process.execPath, ...tsc).catch(error => error)
  expect(stdout).toBe('')
}

/** Compiles a program, and runs it. @returns what it prints */
async function compiled(name: string, source: string, ...flags: string[]): Promise<unknown> {
  await compile(name, source, ...flags)
  return JSON.parse((await run(process.execPath, `${name}.mjs`)).stdout)
}

const IN_NODE = `
import { fileURLToPath } from 'node:url'
import {
  type Measures, type ProgressEvent, type PrunePathResult,
  evaluate, exportModel, FaspError, generate, inspect, openEngine, openModel, perplexity, planPrune, prepare, prune, pruneEvents,
} from 'fasp'

const model = fileURLToPath(new URL('assets/tiny-llama', import.meta.resolve('fasp/package.json')))
const quick = { sparsity: 0.2, windows: 2, seqLen: 32, calibration: ['text.txt'] }
const phases: string[] = []
const onEvent = (event: ProgressEvent): void => {
  if (event.type === 'phase') phases.push(event.phase)
}
const result: PrunePathResult = await prune(model, { ...quick, output: 'smaller', onEvent })
const events = pruneEvents(model, { ...quick, output: 'again' })
for await (const event of events) if (event.type === 'phase') break
const plan = await planPrune(model, quick)
const run = await prepare(model, { ...quick, output: 'smaller', overwrite: true })
await run.close()
const [exported] = await exportModel('smaller', { output: 'smaller.gguf' })
const measures: Measures = await evaluate('smaller', { text: ['text.txt'], dense: model, seqLen: 32, windows: 2 })
await using engine = openEngine()
await using open = await openModel(model)
const { perplexity: value } = await perplexity(open, 'text.txt', { engine, seqLen: 32, windows: 2 })
const { ids } = await generate(open, 'It was', { engine, maxTokens: 3 })
const { layers } = await inspect('smaller.gguf')
const refused = await prune('no-model', { ...quick, output: 'x' }).catch((error: unknown) => error instanceof FaspError)
// @ts-expect-error: there is no such option
const wrong = () => prune(model, { ...quick, output: 'x', sparsty: 0.2 })
console.log(JSON.stringify({
  phases, exports: exported?.to, layers, refused, wrong: typeof wrong, written: ids.length,
  planned: plan.sizes.parameters.effective === result.sizes.parameters.effective && run.plan.layers.after.length === layers,
  another: measures.perplexity[0]?.perplexity !== value,
}))
`

test("in Node's resolution", { timeout: 180_000 }, async () => {
  const flags = ['--module', 'nodenext', '--moduleResolution', 'nodenext', '--types', 'node']
  expect(await compiled('node', IN_NODE, ...flags)).toEqual({
    phases: ['prune'],
    exports: 'gguf',
    layers: 6,
    refused: true,
    wrong: 'function',
    written: 3,
    planned: true,
    another: true,
  })
  expect(readdirSync(project)).toEqual(expect.arrayContaining(['smaller', 'smaller.gguf']))
  expect(readdirSync(project)).not.toContain('again')
})

const IN_PAGE = `
import { createEngine, generate, MemorySink, openModel, perplexity, type ProgressEvent, prune, type PruneInPageOptions } from 'fasp/web'
import * as ort from 'onnxruntime-web'

const folder = new URL('node_modules/fasp/assets/tiny-llama/', import.meta.url)
const files: File[] = []
declare const process: { getBuiltinModule(name: 'fs'): { readdirSync(of: URL): string[]; openAsBlob(of: URL): Promise<Blob> } }
const { readdirSync, openAsBlob } = process.getBuiltinModule('fs')
for (const name of readdirSync(folder)) files.push(new File([await openAsBlob(new URL(name, folder))], name))
await using engine = createEngine(ort)
await using model = await openModel(files)
const text = new File(['It was a dark night, and the little girl was not afraid of the wood.\\n'.repeat(40)], 'text.txt')
const output = new MemorySink()
const told: string[] = []
const onEvent = (event: ProgressEvent) => void (event.type === 'text' && told.push(event.text))
const { sizes } = await prune(model, { sparsity: 0.2, windows: 2, seqLen: 32, calibration: [text], output, engine })
const { perplexity: value } = await perplexity(model, text, { engine, seqLen: 32, windows: 2 })
const written = await generate(model, 'It was', { engine, maxTokens: 3, onEvent })
const same: PruneInPageOptions['output'] = output
// @ts-expect-error: a page has no paths to write to
const wrong = () => prune(model, { sparsity: 0.2, output: 'smaller', engine })
console.log(JSON.stringify({
  smaller: sizes.parameters.effective < sizes.parameters.before, finite: Number.isFinite(value), wrong: typeof wrong,
  told: told.join('') === written.text, weights: same === output && output.files.has('model.safetensors'),
}))
`

test("in a bundler's resolution `fasp` is what Node has", { timeout: 180_000 }, () =>
  compile('bundled', IN_NODE, '--module', 'esnext', '--moduleResolution', 'bundler', '--types', 'node'),
)

test("a page in a bundler's resolution", { timeout: 180_000 }, async () => {
  const result = await compiled('page', IN_PAGE, '--module', 'esnext', '--moduleResolution', 'bundler')
  expect(result).toEqual({ smaller: true, finite: true, wrong: 'function', told: true, weights: true })
})
