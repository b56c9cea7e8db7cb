// Installs node-llama-cpp, llama.cpp with a prebuilt CPU binary, into a cache folder outside the project: for the check in .ci/run and
// for bench/speed.mjs. It is no dependency of the package.
// usage: node scripts/llama-cpp.mjs   prints the folder: ~/.cache/fasp-ci/llama-cpp-VERSION, or below XDG_CACHE_HOME
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const VERSION = '3.22.1' // of node-llama-cpp; it brings llama.cpp v0.5.0

/** @returns {string} the folder that has it in node_modules; installed at the first call */
export function installLlamaCpp() {
  const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'fasp-ci')
  const folder = join(cache, `llama-cpp-${VERSION}`)
  if (existsSync(folder)) return folder
  const unfinished = `${folder}.${process.pid}.partial`
  mkdirSync(unfinished, { recursive: true })
  writeFileSync(join(unfinished, 'package.json'), '{"private":true,"type":"module"}')
  const system = { darwin: 'mac', win32: 'win' }[process.platform] ?? process.platform
  const metal = process.platform === 'darwin' && process.arch === 'arm64' ? '-metal' : ''
  const packages = ['node-llama-cpp', `@node-llama-cpp/${system}-${process.arch}${metal}`]
  const flags = ['--no-audit', '--no-fund', '--ignore-scripts', '--omit=optional']
  execFileSync('npm', ['install', ...flags, ...packages.map(name => `${name}@${VERSION}`)], {
    cwd: unfinished,
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  rmSync(folder, { recursive: true, force: true })
  renameSync(unfinished, folder) // last: an interrupted installation is not complete
  return folder
}

/** @returns {string} what to import */
export const nodeLlamaCpp = () =>
  pathToFileURL(join(installLlamaCpp(), 'node_modules/node-llama-cpp/dist/index.js')).href

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(installLlamaCpp())
