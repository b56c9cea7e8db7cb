// `npm install` of the packed tarball in folders outside the repository, with the npm of each Node that we support and none of our settings,
// and the commands from there. Needs `npm run build`, git and the npm registry.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { put, QUICK, TEXT } from '../fasp.ts'
import { someOf } from '../nightly.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'fasp-install-'))
const MODEL = 'node_modules/fasp/assets/tiny-llama'
const GENERATE = ['generate', MODEL, '-p', 'It was', '--max-tokens', '3']

/** Without what `npx vitest` says of our .npmrc, and what would keep onnxruntime-node's script from its downloads. */
const env = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^(npm_|INIT_CWD|ONNXRUNTIME)/i.test(name)),
)

type Tools = Readonly<Record<string, string>>

async function run(cwd: string, tools: Tools, command: string, ...args: string[]) {
  return await promisify(execFile)(command, args, { cwd, env: { ...env, ...tools }, maxBuffer: 2 ** 24 })
}

/** A folder with a manifest, since npm looks for one further up otherwise. */
async function project(name: string): Promise<string> {
  await put(join(folder, name), { 'package.json': '{}', 'text.txt': TEXT })
  return join(folder, name)
}

/** Node and npm from npm's registry, to be found first. */
async function tools(node: string, npm: string): Promise<Tools> {
  const at = await project(`node-${node}-npm-${npm}`)
  await run(at, {}, 'npm', 'install', `node-${process.platform}-${process.arch}@${node}`, `npm@${npm}`)
  return { PATH: `${join(at, 'node_modules/.bin')}:${env.PATH}` }
}

const megabytes = (of: string): number =>
  readdirSync(of, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0) / 1e6

/** Of each file of an archive. */
async function contents(archive: string, of: (path: string) => string): Promise<Record<string, string>> {
  const unpacked = mkdtempSync(join(folder, 'unpacked-'))
  const { stdout } = await run(unpacked, {}, 'tar', '-xzvf', archive)
  return Object.fromEntries(stdout.split('\n').flatMap(file => (file ? [[file, of(join(unpacked, file))]] : [])))
}

let tarball: string

beforeAll(async () => {
  const { stdout } = await run(root, {}, 'npm', 'pack', '--json', '--pack-destination', folder)
  tarball = join(folder, JSON.parse(stdout)[0].filename)
  // Of another version, as beside transformers.js: not to be taken.
  await put(folder, { 'node_modules/onnxruntime-node/package.json': '{ "version": "1.24.0" }' })
})
afterAll(() => rmSync(folder, { recursive: true }))

const VERSIONS = [
  { node: '20', npm: '10', scripts: true },
  { node: '22', npm: '10', scripts: true },
  { node: '24', npm: '11', scripts: true },
  { node: '24', npm: '12', scripts: false }, // it runs no script that the user has not allowed
]
test.for(someOf(VERSIONS, ({ npm }, i) => i === 0 || npm === '12'))(
  'on Node $node with npm $npm',
  { timeout: 600_000 },
  async ({ node, npm, scripts }) => {
    const on = await tools(node, npm)
    expect((await run(folder, on, 'node', '--version')).stdout).toMatch(`v${node}.`)
    expect((await run(folder, on, 'npm', '--version')).stdout).toMatch(new RegExp(`^${npm}\\.`))
    const at = await project(`on-${node}-${npm}`)
    await run(at, on, 'npm', 'install', tarball)
    expect(existsSync(join(at, 'node_modules/fasp/onnxruntime'))).toBe(scripts)

    const demo = await run(at, on, 'npx', 'fasp', 'demo')
    expect(demo.stdout).toContain('pruned, not restored')
    expect(demo.stderr.includes('Fetching ONNX Runtime')).toBe(!scripts)
    await run(at, on, 'npx', 'fasp', 'prune', MODEL, '-s', '0.2', '-o', 'smaller', ...QUICK)
    await run(at, on, 'npx', 'fasp', 'export', 'smaller', '--to', 'gguf', '-o', 'smaller.gguf')
    await run(at, on, 'npx', 'fasp', 'export', 'smaller', '--to', 'onnx', '-o', 'onnx')
    expect(readdirSync(at)).toEqual(expect.arrayContaining(['smaller', 'smaller.gguf', 'onnx']))
    const size = megabytes(join(at, 'node_modules'))
    console.info(`Node ${node}, npm ${npm}: node_modules has ${size.toFixed(1)} MB`)
    expect(size).toBeLessThan(100)
  },
)

test('without scripts the first use fetches, or says what to do and leaves nothing', { timeout: 600_000 }, async () => {
  const at = await project('no-scripts')
  const installed = join(at, 'node_modules/fasp')
  await run(at, {}, 'npm', 'install', '--ignore-scripts', tarball)
  const before = readdirSync(installed)
  const use = async (tools: Tools = {}): Promise<string> =>
    (await run(at, tools, 'node', 'node_modules/.bin/fasp', ...GENERATE).catch(error => error)).stderr

  await put(folder, {
    'other/npm-cli.js': `require('fs').writeFileSync(process.env.npm_config_pack_destination + '/onnxruntime-node-1.30.0.tgz', 'other')`,
  })
  const other = { npm_execpath: join(folder, 'other/npm-cli.js') }
  expect(await use(other)).toContain('npm gave a tarball of sha512-')
  const away = { npm_config_registry: 'http://127.0.0.1:9/', npm_config_fetch_retries: '0', npm_config_cache: 'cache' }
  const message = await use(away)
  expect(message).toContain('127.0.0.1:9')
  expect(message).toContain(`Run node ${join(installed, 'dist/postinstall.js')}`)
  expect(readdirSync(installed)).toEqual(before)

  expect(await use()).toMatch(/^Fetching ONNX Runtime .*\n$/)
  expect(readdirSync(installed).sort()).toEqual([...before, 'onnxruntime'].sort())
  expect(await use(away)).toBe('')
})

test('a clone elsewhere packs the same bytes, if all is committed here', { timeout: 600_000 }, async () => {
  const clone = join(folder, 'a/clone')
  await run(folder, {}, 'git', 'clone', '--quiet', root, clone)
  symlinkSync(join(root, 'node_modules'), join(clone, 'node_modules'))
  await run(clone, {}, 'npm', 'run', 'build')
  await run(clone, {}, 'npm', 'pack')
  const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
  const other = join(clone, tarball.slice(folder.length + 1))
  expect(await contents(other, sha256)).toEqual(await contents(tarball, sha256)) // says which files differ
  expect(sha256(other)).toBe(sha256(tarball))
})
