// Virtual environments of Python in a cache folder, made where they are missing and again where other packages are asked for.
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const CACHE = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'fasp-ci')
const run = promisify(execFile)

/** The interpreter of an environment with these packages; what it lacks is taken from that of `borrowed`, another interpreter. */
export async function environment(name: string, packages: string, borrowed?: string): Promise<string> {
  const folder = join(CACHE, name)
  const python = join(folder, 'bin/python')
  const complete = join(folder, 'complete.txt')
  if (existsSync(complete) && readFileSync(complete, 'utf8') === packages) return python
  rmSync(folder, { recursive: true, force: true })
  await run('python3', ['-m', 'venv', folder])
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check']
  await run(python, [...pip, ...packages.trim().split('\n')])
  if (borrowed) writeFileSync(join(sitePackages(python), 'borrowed.pth'), `${sitePackages(borrowed)}\n`)
  writeFileSync(complete, packages) // last: an interrupted installation is not complete
  return python
}

function sitePackages(python: string): string {
  const lib = join(dirname(python), '../lib')
  return join(lib, readdirSync(lib).find(name => name.startsWith('python3.'))!, 'site-packages')
}
