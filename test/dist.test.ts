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

test('dist imports only what is installed with it', () => {
  const imported = scripts.flatMap(name =>
    [...read(name).matchAll(/^(?:import|export)\b[^"\n]*"([^".][^"]*)"|\bimport\("([^".][^"]*)"\)/gm)].map(
      ([, statically, dynamically]) => statically ?? dynamically,
    ),
  )
  const packages = new Set(imported.filter(name => !isBuiltin(name)).map(name => /^(?:@[^/]+\/)?[^/]+/.exec(name)![0]))
  const installed = { ...manifest.dependencies, ...manifest.optionalDependencies }
  expect([...packages]).toContain('hyparquet')
  expect([...packages].filter(name => !(name in installed))).toEqual([])
})

test('only the file of the chart libraries is bundled from packages, with the licence of each', () => {
  const libraries = scripts.filter(name => bundled(name).length > 0)
  expect(libraries).toEqual([expect.stringMatching(/^chart-libraries-/)])
  const licences = read('THIRD-PARTY.txt')
  const names = [...new Set(bundled(libraries[0]))]
  expect(names).toEqual(expect.arrayContaining(['@observablehq/plot', 'linkedom', 'd3-scale']))
  expect(names.filter(name => !licences.includes(`\n${name} `) && !licences.startsWith(`${name} `))).toEqual([])
})
