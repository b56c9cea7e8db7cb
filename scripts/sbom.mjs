// Writes what is installed with `fasp` as a CycloneDX bill of materials: each package with version, licence and sha512, as package-lock.json
// has them; those that npm installs, those that are bundled into dist, and ONNX Runtime, which fasp fetches. Needs `npm run build`.
// usage: node scripts/sbom.mjs [FILE]   to stdout without FILE; exits 1 after naming what is missing in it or too much
// `npm sbom --omit dev` leaves out what packages for development need, too (npm 11.19), so those are taken out here.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const text = name => readFileSync(`${root}/${name}`, 'utf8')
const { name, version, devDependencies } = JSON.parse(text('package.json'))

/** Packages that are there although they are for development to npm, with how. */
const others = new Map([[`onnxruntime-node@${devDependencies['onnxruntime-node']}`, 'fetched by fasp']])
for (const file of ['dist/THIRD-PARTY.txt', 'dist/page/THIRD-PARTY.txt'])
  for (const part of text(file).split(`\n${'-'.repeat(80)}\n\n`)) {
    const [name, version] = part.split(' ', 2) // as scripts/licences.ts writes them
    others.set(`${name}@${version}`, 'bundled')
  }

const command = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only']
const all = JSON.parse(execFileSync('npm', command, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 }))
const DEVELOPMENT = 'cdx:npm:package:development'
const isForDevelopment = ({ properties }) => properties.some(({ name }) => name === DEVELOPMENT)
const components = all.components.flatMap(component => {
  if (!isForDevelopment(component)) return component
  const value = others.get(component['bom-ref'])
  return value ? { ...component, scope: 'required', properties: [{ name: 'fasp:how', value }] } : []
})
const refs = new Set(components.map(component => component['bom-ref']))
const own = { ...all.metadata.component, name, version } // npm names it after the folder
const dependencies = all.dependencies
  .filter(({ ref }) => refs.has(ref) || ref === own['bom-ref'])
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(one => refs.has(one)) }))
const bill = { ...all, metadata: { ...all.metadata, component: own }, components, dependencies }

const { packages } = JSON.parse(text('package-lock.json'))
const locked = Object.entries(packages).filter(([path, { dev }]) => path !== '' && !dev)
const installed = locked.map(([path, one]) => `${path.replace(/^.*node_modules\//, '')}@${one.version}`)
const wanted = new Set([...installed, ...others.keys()])
const problems = [
  ...[...wanted].filter(one => !refs.has(one)).map(one => `${one} is missing`),
  ...[...refs].filter(one => !wanted.has(one)).map(one => `${one} is not installed with fasp`),
  ...components
    .filter(({ licenses, hashes }) => !licenses?.length || !hashes?.length)
    .map(one => `${one['bom-ref']} lacks a licence or a hash`),
]
for (const problem of problems) console.error(`error: ${problem}`)
if (problems.length > 0) process.exitCode = 1
const written = `${JSON.stringify(bill, null, 2)}\n`
if (process.argv[2]) writeFileSync(process.argv[2], written)
else process.stdout.write(written)
