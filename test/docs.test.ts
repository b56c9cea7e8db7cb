// The documents against the code: commands, files, dependencies, versions, and the example of the README.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { COMMANDS } from '../src/cli/commands.ts'
import { cliPage } from '../src/cli/help.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string) => readFileSync(join(root, path), 'utf8')
const documents = [
  ...readdirSync(root).filter(name => name.endsWith('.md')),
  'llms.txt',
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' }).flatMap(name =>
    name.endsWith('.md') ? [`docs/${name}`] : [],
  ),
  ...readdirSync(join(root, 'bench')).flatMap(name => (name.endsWith('.md') ? [`bench/${name}`] : [])),
]
const manifest = JSON.parse(read('package.json'))

const MAX_LINE = 140

test('docs/cli.md is what the commands say of themselves', async () => {
  const commands = await Promise.all(Object.values(COMMANDS).map(async ({ load }) => (await load()).default))
  expect(commands.map(({ usage }) => usage.split(' ')[0])).toEqual(Object.keys(COMMANDS))
  await expect(cliPage(commands)).toMatchFileSnapshot(join(root, 'docs/cli.md'))
})

test('the example in the README is examples/prune.mjs', () => {
  const blocks = [...read('README.md').matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code)
  expect(blocks).toEqual([read('examples/prune.mjs')])
})

test('the first screen of the README shows the results, and what it links to is in the package', () => {
  const linked = [...read('README.md').matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(m => m[1])
  const packed: string[] = [...manifest.files, 'LICENSE']
  expect(linked.filter(path => !packed.some(one => path === one || path.startsWith(`${one}/`)))).toEqual([])
  const pictures = read('README.md')
    .split('\n')
    .slice(0, 20)
    .join('\n')
    .matchAll(/!\[.+\]\((.+)\)/g)
  expect([...pictures].map(m => m[1])).toEqual(['docs/page.png', 'docs/results.svg'])
})

test('docs/results.md has the tables of bench/results', () => {
  const { status, stderr } = spawnSync(process.execPath, [join(root, 'bench/results-page.mjs'), '--check'])
  expect(status, String(stderr)).toBe(0)
})

test.each(documents)('%s names files that exist and keeps its lines short', document => {
  const text = read(document)
  const named = [...text.matchAll(/`((?:src|test|docs|scripts|examples|bench|assets|\.ci)\/[\w./-]+)`/g)].map(m => m[1])
  const linked = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(m => join(dirname(document), m[1]))
  expect([...named, ...linked].filter(path => !existsSync(join(root, path)))).toEqual([])
  const prose = text.replace(/```[\s\S]*?```/g, '').split('\n')
  expect(prose.filter(line => [...line].length > MAX_LINE)).toEqual([])
})

test('docs/method.md or docs/methods.md names every file that scores, selects, allocates or restores', () => {
  const stages = ['score', 'select', 'allocate', 'restore'].flatMap(stage =>
    readdirSync(join(root, 'src/method', stage)).map(name => `src/method/${stage}/${name}`),
  )
  const method = read('docs/method.md') + read('docs/methods.md')
  expect(stages.filter(path => !path.endsWith('.test.ts') && !method.includes(`\`${path}\``))).toEqual([])
})

test('docs/dependencies.md lists every dependency with its version', () => {
  const rows = read('docs/dependencies.md')
  const all = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })
  expect(all.length).toBeGreaterThan(0)
  expect(all.filter(([name, range]) => !rows.includes(`| \`${name}\` | ${range} |`))).toEqual([])
})

test('scripts/sbom.mjs lists what is installed, fetched and bundled, with licences, and nothing else', () => {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'scripts/sbom.mjs')], { encoding: 'utf8' })
  expect([status, stderr]).toEqual([0, ''])
  const { bomFormat, metadata, components } = JSON.parse(stdout)
  expect([bomFormat, metadata.component.name]).toEqual(['CycloneDX', manifest.name])
  const how = new Map<string, string | undefined>()
  for (const { name, properties } of components)
    how.set(name, properties.find((one: { name: string }) => one.name === 'fasp:how')?.value)
  const named = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })
  expect(named.filter(name => !how.has(name) || how.get(name))).toEqual([])
  const development = Object.keys(manifest.devDependencies).filter(name => how.has(name))
  expect(development.map(name => `${name} ${how.get(name)}`)).toEqual([
    '@observablehq/plot bundled',
    'linkedom bundled',
    'onnxruntime-node fetched by fasp',
    'preact bundled',
  ])
  expect(how.get('d3-scale')).toBe('bundled')
})

test('CHANGELOG.md has the version of package.json', () => {
  expect(read('CHANGELOG.md')).toContain(`\n## [${manifest.version}] - `)
})
