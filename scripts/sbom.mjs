// Writes what is installed with `fasp` as a CycloneDX bill of materials: each package with version, licence and sha512, as package-lock.json
// has them. usage: node scripts/sbom.mjs [FILE]   to stdout without FILE; exits 1 after naming what is missing in it or too much
// `npm sbom --omit dev` leaves out what packages for development need, too (npm 11.19), so those are taken out here.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = name => JSON.parse(readFileSync(`${root}/${name}`, 'utf8'))
const { name, version } = read('package.json')

const command = ['sbom', '--sbom-format', 'cyclonedx', '--package-lock-only']
const all = JSON.parse(execFileSync('npm', command, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 }))
const components = all.components.filter(
  ({ properties }) => !properties.some(property => property.name === 'cdx:npm:package:development'),
)
const refs = new Set(components.map(component => component['bom-ref']))
const own = { ...all.metadata.component, name, version } // npm names it after the folder
const dependencies = all.dependencies
  .filter(({ ref }) => refs.has(ref) || ref === own['bom-ref'])
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(one => refs.has(one)) }))
const bill = { ...all, metadata: { ...all.metadata, component: own }, components, dependencies }

const locked = Object.entries(read('package-lock.json').packages).filter(([path, { dev }]) => path !== '' && !dev)
const wanted = new Set(locked.map(([path, one]) => `${path.replace(/^.*node_modules\//, '')}@${one.version}`))
const problems = [
  ...[...wanted].filter(one => !refs.has(one)).map(one => `${one} is missing`),
  ...[...refs].filter(one => !wanted.has(one)).map(one => `${one} is not installed with fasp`),
  ...components
    .filter(({ licenses, hashes }) => !licenses?.length || !hashes?.length)
    .map(one => `${one['bom-ref']} lacks a licence or a hash`),
]
for (const problem of problems) console.error(`error: ${problem}`)
if (problems.length > 0) process.exitCode = 1
const text = `${JSON.stringify(bill, null, 2)}\n`
if (process.argv[2]) writeFileSync(process.argv[2], text)
else process.stdout.write(text)
