// The npm package onnxruntime-node, which the engine computes with. It is no dependency: npm would install the binaries of five platforms,
// and its script would ask NuGet for CUDA's. The files of this machine are fetched into fasp's own folder instead, by `postinstall`
// (cli/postinstall.ts) or, where scripts are off, by the first engine. A package of this version that a project has itself is taken first.
import { spawnSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { DeviceError } from './errors.ts'
import { tellUnfinished } from './unfinished.node.ts'

/** Its version, and what npm's registry says of its tarball; a test compares both with package-lock.json. */
export const RUNTIME_VERSION = '1.30.0'
export const INTEGRITY =
  'sha512-twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw=='
const BUILDS = ['darwin/arm64', 'linux/arm64', 'linux/x64', 'win32/arm64', 'win32/x64']

const build = `${process.platform}/${process.arch}`
const binaries = `bin/napi-v6/${build}/`
// The library for macOS is there twice; the binding loads the one whose name has the major version alone.
const wanted = new RegExp(
  `^package/(package\\.json|README\\.md|dist/.*\\.js|${binaries}(?!libonnxruntime\\.\\d+\\.\\d+\\.).*)$`,
)

const PACKAGE = 'onnxruntime-node'
const own = fileURLToPath(new URL('../onnxruntime', import.meta.url))
const script = fileURLToPath(new URL('../dist/postinstall.js', import.meta.url))
const require = createRequire(import.meta.url)

/** Name of the channel (nodejs.org/api/diagnostics_channel.html) of what there is to wait for. Its messages are texts for people. */
export const FETCHING = 'fasp:fetching'

/** Folder of the package. Fetches it if it is not there, which blocks. @throws DeviceError where that cannot be */
export const onnxRuntime = (): string => complete(PACKAGE) ?? complete(own) ?? fetchPackage()

/** @param where name or folder of a package */
function complete(where: string): string | undefined {
  try {
    const manifest = require.resolve(`${where}/package.json`)
    const folder = dirname(manifest)
    return require(manifest).version === RUNTIME_VERSION && existsSync(join(folder, binaries)) ? folder : undefined
  } catch {
    return undefined
  }
}

function fetchPackage(): string {
  const name = `ONNX Runtime ${RUNTIME_VERSION}`
  if (!BUILDS.includes(build))
    throw new DeviceError(build, `${name}, which fasp computes with, has builds for ${BUILDS.join(', ')} only.`)
  channel(FETCHING).publish(`Fetching ${name} for ${build} by npm, once (114 MB)`)
  const unfinished = `${own}.${randomUUID()}.partial`
  tellUnfinished(unfinished, 'temporary')
  try {
    mkdirSync(unfinished, { recursive: true })
    unpack(gunzipSync(packed(unfinished)), unfinished)
    if (!complete(own)) {
      rmSync(own, { recursive: true, force: true })
      renameSync(join(unfinished, 'package'), own)
    }
    return own
  } catch (cause) {
    const advice = `Run node ${script} with the npm registry in reach, as a user who may write there, or install it beside fasp: npm install --ignore-scripts ${PACKAGE}@${RUNTIME_VERSION}`
    const problem = `${name}, which fasp computes with, is not here and cannot be fetched (${(cause as Error).message}).`
    throw new DeviceError('cpu', `${problem} ${advice}`, { cause })
  } finally {
    rmSync(unfinished, { recursive: true, force: true })
    tellUnfinished(unfinished, 'kept')
  }
}

/** The tarball, by the user's npm: through their registry, proxy, login and cache. */
function packed(folder: string): Buffer {
  const { npm_execpath: path = '', INIT_CWD: cwd = process.cwd() } = process.env
  const [command, ...first] = basename(path) === 'npm-cli.js' ? [process.execPath, path] : ['npm']
  const { status, error, stderr } = spawnSync(command, [...first, 'pack', `${PACKAGE}@${RUNTIME_VERSION}`], {
    cwd, // for the .npmrc of the project
    env: { ...process.env, npm_config_pack_destination: folder, npm_config_loglevel: 'error' },
    shell: process.platform === 'win32' && command === 'npm', // there it is npm.cmd
    encoding: 'utf8',
  })
  if (status !== 0)
    throw error ?? new Error(/^npm (?:error|ERR!) (?!code|syscall|errno)(.+)$/m.exec(stderr)?.[1] ?? stderr)
  const tarball = readFileSync(join(folder, `${PACKAGE}-${RUNTIME_VERSION}.tgz`))
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`
  if (integrity !== INTEGRITY) throw new Error(`npm gave a tarball of ${integrity}, expected is ${INTEGRITY}`)
  return tarball
}

/** Writes what this machine needs. A block of 512 bytes with name and size stands before each file (POSIX, ustar). */
function unpack(tar: Buffer, folder: string): void {
  const field = (at: number, length: number) => tar.toString('latin1', at, at + length).split('\0')[0]
  for (let at = 0; at < tar.length; ) {
    const [name, size] = [field(at, 100), Number.parseInt(field(at + 124, 12), 8) || 0]
    at += 512
    if (wanted.test(name)) {
      mkdirSync(join(folder, dirname(name)), { recursive: true })
      writeFileSync(join(folder, name), tar.subarray(at, at + size))
    }
    at += 512 * Math.ceil(size / 512)
  }
}
