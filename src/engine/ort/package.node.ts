// The npm package onnxruntime-node, which the engine computes with. It is no dependency: npm would install binaries for
// five platforms, and its script would ask NuGet for CUDA's. Instead `postinstall` (cli/postinstall.ts) or, where
// scripts are off, the first engine fetches the files for this machine into fasp's folder. A package of this version in
// the user's project comes first.
import { type SpawnSyncOptions, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { channel } from 'node:diagnostics_channel'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DeviceError } from '../../base/errors.ts'
import { FETCHING } from '../../base/events.ts'
import { removeLeftovers, tellUnfinished, unfinishedPath } from '../../base/unfinished.node.ts'

/** The version, and the hash of the tarball in npm's registry; a test compares both with package-lock.json. */
export const RUNTIME_VERSION = '1.30.0'
export const INTEGRITY =
  'sha512-twhs1C2C/BFkz1yc5OY0KIU2GUq6DURO7hD4bx5Q2Qy3nAMJwRXW8xU3NVczE29VA9lolLOYepoD8fjTGOfIqw=='
const BUILDS = ['darwin/arm64', 'linux/arm64', 'linux/x64', 'win32/arm64', 'win32/x64']

const build = `${process.platform}/${process.arch}`
/** Folder of the package with the libraries for this machine. */
export const BINARIES = `bin/napi-v6/${build}`
const PACKAGE = 'onnxruntime-node'
const TARBALL = `${PACKAGE}-${RUNTIME_VERSION}.tgz`
const WANTED = ['package.json', 'README.md', 'dist', BINARIES].map(part => `package/${part}`)
/** The library for macOS, of which the binding loads another copy, with the major version in its name. */
const TWICE = `libonnxruntime.${RUNTIME_VERSION}.dylib`
const own = fileURLToPath(new URL('../onnxruntime', import.meta.url))
const script = fileURLToPath(new URL('../dist/postinstall.js', import.meta.url))
const require = createRequire(import.meta.url)

/** Folder of the package, which is fetched (blocking) if it is missing. @throws DeviceError where it cannot be */
export const onnxRuntime = (): string => complete(PACKAGE) ?? complete(own) ?? fetchPackage()

/** @param where name or folder of a package */
function complete(where: string): string | undefined {
  try {
    const manifest = require.resolve(`${where}/package.json`)
    const folder = dirname(manifest)
    return require(manifest).version === RUNTIME_VERSION && existsSync(join(folder, BINARIES)) ? folder : undefined
  } catch {
    return undefined
  }
}

function fetchPackage(): string {
  const name = `ONNX Runtime ${RUNTIME_VERSION}`
  if (!BUILDS.includes(build))
    throw new DeviceError(build, `${name}, which fasp computes with, has builds for ${BUILDS.join(', ')} only.`)
  channel(FETCHING).publish(`Fetching ${name} for ${build} by npm, once (114 MB)`)
  removeLeftovers(dirname(own))
  const unfinished = unfinishedPath(own)
  try {
    mkdirSync(unfinished, { recursive: true })
    pack(unfinished)
    run('tar', ['-xzf', TARBALL, '--exclude', TWICE, ...WANTED], { cwd: unfinished })
    if (!complete(own)) {
      rmSync(own, { recursive: true, force: true })
      renameSync(join(unfinished, 'package'), own)
    }
    return own
  } catch (cause) {
    const { message } = cause as Error
    throw new DeviceError(
      'cpu',
      `${name}, which fasp computes with, is not here and cannot be fetched (${message}). Run node ${script} with ` +
        'the npm registry in reach, as a user who may write there, or install it beside fasp: ' +
        `npm install --ignore-scripts ${PACKAGE}@${RUNTIME_VERSION}`,
      { cause },
    )
  } finally {
    rmSync(unfinished, { recursive: true, force: true, maxRetries: 3 })
    tellUnfinished(unfinished, 'kept')
  }
}

/** Gets and checks the tarball, by the user's npm: through their registry, proxy, login and cache. */
function pack(folder: string): void {
  const { npm_execpath: path = '', INIT_CWD: cwd = process.cwd() } = process.env
  const [command, ...first] = basename(path) === 'npm-cli.js' ? [process.execPath, path] : ['npm']
  run(command, [...first, 'pack', `${PACKAGE}@${RUNTIME_VERSION}`], {
    cwd, // for the .npmrc of the project
    env: { ...process.env, npm_config_pack_destination: folder, npm_config_loglevel: 'error' },
    shell: process.platform === 'win32' && command === 'npm', // there it is npm.cmd
  })
  const integrity = `sha512-${createHash('sha512')
    .update(readFileSync(join(folder, TARBALL)))
    .digest('base64')}`
  if (integrity !== INTEGRITY) throw new Error(`npm gave a tarball of ${integrity}, expected is ${INTEGRITY}`)
}

function run(command: string, args: readonly string[], options: SpawnSyncOptions): void {
  const { status, error, stderr } = spawnSync(command, args, { ...options, encoding: 'utf8' })
  if (status !== 0)
    throw error ?? new Error(/^npm (?:error|ERR!) (?!code|syscall|errno)(.+)$/m.exec(stderr)?.[1] ?? stderr.trim())
}
