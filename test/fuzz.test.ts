// Readers of foreign files on files that are broken at random: each case gives a result or a FaspError, soon, and in little memory.
// FASP_FUZZ_SEED: other cases (default 1). FASP_FUZZ_CASES: so many times the 23,900 (default a sixth, nightly 1). FASP_FUZZ_CASE: only the case of this number.
import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'tsdown'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Found } from './fuzz/child.ts'
import { makeCase, TARGETS } from './fuzz/targets.ts'
import { NIGHTLY } from './nightly.ts'

const { FASP_FUZZ_SEED: seed = '1', FASP_FUZZ_CASE: only } = process.env
const times = Number(process.env.FASP_FUZZ_CASES ?? (NIGHTLY ? 1 : 1 / 6))

/** A case takes a millisecond; this is for a machine that does much else. */
const HANG_MS = 15_000
/** Files of a case have some kB; what holds them to their readers' own limits is with the readers. */
const HEAP_MB = 512
/** A process that ends or hangs is started again after that case, so often. */
const MAX_ENDS = 3

let work: string
beforeAll(async () => {
  work = mkdtempSync(join(tmpdir(), 'fasp-fuzz-'))
  // Node 20 runs no TypeScript, and vitest cannot end a worker of its own that hangs.
  await build({
    ...{ config: false, logLevel: 'error', entry: { child: 'test/fuzz/child.ts' }, outDir: work, noExternal: [/./] },
    ...{ format: 'esm', platform: 'node', target: 'node20', fixedExtension: false, dts: false, sourcemap: true },
  })
})
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** Waits for the end of the process. @returns why it was no good one */
function watch(child: ChildProcess, at: () => number): Promise<string | undefined> {
  let [last, since, hangs, stderr] = [at(), Date.now(), false, '']
  child.stderr!.on('data', chunk => (stderr += chunk))
  const timer = setInterval(() => {
    if (at() !== last) [last, since] = [at(), Date.now()]
    else if (Date.now() - since > HANG_MS) hangs = child.kill('SIGKILL')
  }, 500)
  return new Promise(resolve =>
    child.on('close', (code, signal) => {
      clearInterval(timer)
      if (hangs) resolve(`runs for more than ${HANG_MS} ms`)
      else resolve(code === 0 ? undefined : `ends the process (${code ?? signal}): ${stderr.slice(-2000)}`)
    }),
  )
}

async function fuzz(name: string): Promise<Found[]> {
  const found: Found[] = []
  const folder = join(work, name)
  mkdirSync(folder)
  const at = () => Number(readFileSync(join(folder, 'current'), 'utf8'))
  let from = Number(only ?? 0)
  const to = only === undefined ? Math.ceil(TARGETS[name].cases * times) : from + 1
  for (let ends = 0; ends < MAX_ENDS; ends++) {
    writeFileSync(join(folder, 'current'), String(from))
    const child = fork(join(work, 'child.js'), [name, seed, String(from), String(to), folder], {
      execArgv: [`--max-old-space-size=${HEAP_MB}`, '--enable-source-maps'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    child.on('message', message => found.push(message as Found))
    const problem = await watch(child, at)
    if (problem === undefined) break
    found.push({ number: at(), problem })
    from = at() + 1
  }
  return found
}

/** Keeps the files of a case, and says how to run it again. */
function describe(name: string, { number, problem }: Found): string {
  const folder = join(mkdtempSync(join(tmpdir(), `fasp-fuzz-${name}-${seed}-${number}-`)))
  for (const [file, bytes] of Object.entries(makeCase(TARGETS[name], Number(seed), number)))
    writeFileSync(join(folder, file), bytes)
  const again = `FASP_FUZZ_SEED=${seed} FASP_FUZZ_CASE=${number} npx vitest run test/fuzz.test.ts -t ${name}`
  return `${name}, seed ${seed}, case ${number}: ${problem}\nIts files: ${folder}\nAgain: ${again}`
}

test.each(Object.keys(TARGETS))('%s', { timeout: Math.max(1, times) * 600_000 }, async name => {
  const found = await fuzz(name)
  expect(found.map(one => describe(name, one)).join('\n\n')).toBe('')
})
