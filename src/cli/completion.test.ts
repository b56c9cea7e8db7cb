import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { COMMANDS } from './commands.ts'
import { completion, SHELLS } from './completion.ts'

const commands = Object.fromEntries(
  await Promise.all(Object.entries(COMMANDS).map(async ([name, { load }]) => [name, (await load()).default] as const)),
)

/** What bash offers after these words. */
const offered = (...words: string[]): string[] =>
  execFileSync('bash', [
    '-c',
    `${completion('bash', commands)}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _fasp; printf '%s\\n' "\${COMPREPLY[@]}"`,
    'bash',
    ...words,
  ])
    .toString()
    .trim()
    .split('\n')

test.each([
  [['fasp', 'pr'], ['prune']],
  [['fasp', 'help', 'in'], ['inspect']],
  [
    ['fasp', 'completion', ''],
    ['bash', 'zsh', 'fish'],
  ],
  [['fasp', 'prune', 'model', '--calib'], ['--calibration']],
  [
    ['fasp', 'prune', 'model', '--device', ''],
    ['cpu', 'webgpu', 'cuda', 'auto'],
  ],
  [
    ['fasp', 'prune', 'model', '--method', 's'],
    ['stock', 'shortgpt', 'sleb'],
  ],
  [['fasp', 'prune', 'mod'], ['']], // a file
  [['fasp', 'eval', '--method', ''], ['']], // it has none
])('bash: %j', (words, expected) => expect(offered(...words)).toEqual(expected))

test.each(SHELLS)('%s reads its script', shell => {
  const script = join(mkdtempSync(join(tmpdir(), 'fasp-completion-')), shell)
  writeFileSync(script, completion(shell, commands))
  const { error, status, stderr } = spawnSync(shell, ['-n', script])
  rmSync(dirname(script), { recursive: true })
  if (error && shell !== 'bash') return expect(completion(shell, commands)).toContain('fasp') // it is not installed here
  expect([status, stderr.toString()]).toEqual([0, ''])
})
