// `fasp demo` as a user runs it. A file of its own, so that it takes its half minute beside the other commands.
import type { ChildProcess } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { fasp, refused, run, snapshot, workplaces } from '../fasp.ts'

const workplace = workplaces()

test('demo shows sizes, perplexity and divergence, and leaves nothing behind', { timeout: 180_000 }, async () => {
  const folder = await workplace()
  const before = await snapshot(folder)
  const { stdout } = await run(folder, 'demo')
  expect(stdout).toMatch(
    /^2\.6 MB → 1\.9 MB, 1\.3 M → 943\.7 k parameters,( a prompt at \d+ → \d+ tokens\/s\s+here,)?\s+\+\d+ % perplexity on text/m,
  )
  expect(stdout).toMatch(/^weights on disk +2\.6 MB +1\.9 MB/m)
  const rows = ['dense', 'pruned', 'pruned, not restored'].map(name => {
    const [, perplexity, divergence] = new RegExp(`^${name} +([\\d.]+) +([\\d.]+)$`, 'm').exec(stdout)!
    return { perplexity: Number(perplexity), divergence: Number(divergence) }
  })
  const [dense, pruned, unrestored] = rows
  expect(dense.divergence).toBe(0)
  expect(pruned.divergence).toBeGreaterThan(0)
  expect(unrestored.divergence).toBeGreaterThan(pruned.divergence)
  expect(pruned.perplexity).toBeGreaterThan(dense.perplexity)
  expect(stdout.match(/^(dense|pruned) +(It was a dark|Once upon a time|The prince)/gm)).toHaveLength(6)
  expect(await snapshot(folder)).toEqual(before)
})

test('what a killed run has left in TMPDIR is removed by the next', async () => {
  const folder = await workplace({ 'tmp/mine.partial/x': '' })
  const env = { TMPDIR: join(folder, 'tmp') }
  const killed = await fasp(['demo'], { folder, env, onProgress: (_, child) => child.kill('SIGKILL') })
  expect(killed.code).toBe(null)
  const [left] = readdirSync(env.TMPDIR)
  const removed = `${left} is removed: a run that was killed had left it.`
  const onProgress = (stderr: string, child: ChildProcess) => stderr.includes(removed) && child.kill('SIGTERM')
  const { stderr } = await fasp(['demo'], { folder, env, onProgress })
  expect(stderr).toContain(removed)
  expect(readdirSync(env.TMPDIR)).toEqual(['mine.partial'])
})

test('a folder for temporary files that is not there is named', async () => {
  const folder = await workplace()
  const TMPDIR = join(folder, 'nowhere')
  await refused(folder, ['demo'], {
    env: { TMPDIR },
    says: [`cannot make a temporary folder in ${TMPDIR}`, 'Set TMPDIR'],
  })
})
