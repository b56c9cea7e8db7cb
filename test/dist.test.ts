// What users install: dist asks for no package but the dependencies of fasp, and the licences of what it bundles lie beside it.
import { readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import manifest from '../package.json' with { type: 'json' }

const dist = fileURLToPath(new URL('../dist', import.meta.url))
const read = (name: string) => readFileSync(join(dist, name), 'utf8')
const scripts = readdirSync(dist).filter(name => name.endsWith('.js'))
const bundled = (name: string) =>
  [...read(name).matchAll(/^\/\/#region .*node_modules\/((?:@[^/]+\/)?[^/]+)/gm)].map(([, found]) => found)

/** What a script imports. */
const imports = (name: string) =>
  [...read(name).matchAll(/^(?:import|export)\b[^"\n]*"([^"]+)"|\bimport\("([^"]+)"\)/gm)].map(
    ([, statically, dynamically]) => statically ?? dynamically,
  )
const isOwn = (imported: string) => imported.startsWith('.')

test('dist imports only what is installed with it', () => {
  const imported = scripts.flatMap(imports).filter(name => !isOwn(name))
  const packages = new Set(imported.filter(name => !isBuiltin(name)).map(name => /^(?:@[^/]+\/)?[^/]+/.exec(name)![0]))
  const installed = { ...manifest.dependencies, ...manifest.optionalDependencies }
  expect([...packages]).toContain('hyparquet')
  expect([...packages].filter(name => !(name in installed))).toEqual([])
})

test('what pages load needs no Node', () => {
  const loaded = new Set(['./web.js'])
  for (const name of loaded) for (const imported of imports(name)) if (isOwn(imported)) loaded.add(imported)
  const others = [...loaded].flatMap(imports).filter(name => !isOwn(name))
  expect(others).toContain('@huggingface/tokenizers')
  expect(others.filter(isBuiltin)).toEqual([])
  expect(others.filter(name => name.startsWith('onnxruntime'))).toEqual([]) // the engine is the caller's
  const node = /\bprocess\.|\bBuffer\.|\brequire\(|\b__dirname\b/
  expect([...loaded].filter(name => node.test(read(name)))).toEqual([])
})

test('only the file of the chart libraries is bundled from packages, with the licence of each', () => {
  const libraries = scripts.filter(name => bundled(name).length > 0)
  expect(libraries).toEqual([expect.stringMatching(/^chart-libraries-/)])
  const licences = read('THIRD-PARTY.txt')
  const names = [...new Set(bundled(libraries[0]))]
  expect(names).toEqual(expect.arrayContaining(['@observablehq/plot', 'linkedom', 'd3-scale']))
  expect(names.filter(name => !licences.includes(`\n${name} `) && !licences.startsWith(`${name} `))).toEqual([])
})

test('the thread that hears signals waits for no library', () => {
  const loaded = new Set(['./cli.js'])
  for (const name of loaded)
    for (const [, imported] of read(name).matchAll(/^import [^"\n]*"(\.[^"]+)"/gm)) loaded.add(imported)
  const bytes = [...loaded].reduce((sum, name) => sum + read(name).length, 0)
  expect([...loaded].filter(name => name.startsWith('./node-'))).toEqual([])
  expect(bytes).toBeLessThan(50_000)
})
