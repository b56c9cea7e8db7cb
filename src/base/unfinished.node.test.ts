import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { goneOwner } from '../../test/fasp.ts'
import { newOwner, removeLeftovers, unfinishedIn } from './unfinished.node.ts'

let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'fasp-unfinished-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const make = (owner: string): string => {
  const path = join(folder, `.out.${owner}.partial`)
  mkdirSync(path)
  writeFileSync(join(path, 'x'), '')
  return path
}
const owners = () => unfinishedIn(folder).map(({ owner }) => owner)

test('what a running process has is its own', () => {
  const path = make(newOwner())
  expect(unfinishedIn(folder)).toEqual([{ path, start: '.out', pid: process.pid, owner: 'here' }])
  removeLeftovers(folder)
  expect(existsSync(path)).toBe(true)
})
test('what one that has gone had is removed, links not followed', () => {
  const path = make(goneOwner())
  mkdirSync(join(folder, 'mine'))
  symlinkSync(join(folder, 'mine'), join(path, 'link'))
  symlinkSync(join(folder, 'mine'), join(folder, `.link.${goneOwner()}.partial`))
  expect(owners()).toEqual(['gone', 'gone'])
  removeLeftovers(folder)
  expect([owners(), existsSync(join(folder, 'mine'))]).toEqual([[], true])
})
test('what another machine has is left alone', () => {
  const path = make(newOwner().replace(/^\w+/, '00000000'))
  expect(owners()).toEqual(['elsewhere'])
  removeLeftovers(folder)
  expect(existsSync(path)).toBe(true)
})
test.runIf(process.getuid?.() === 0)('what another user had is left alone', () => {
  const path = make(goneOwner())
  chownSync(path, 1000, 1000)
  expect(owners()).toEqual(['elsewhere'])
  removeLeftovers(folder)
  expect(existsSync(path)).toBe(true)
})

test.runIf(existsSync('/proc'))(
  'a process that has the number of another by chance is told from it by its start',
  () => {
    make(newOwner().replace(/-(\d+)-(\w+)$/, '-1-$2'))
    expect(owners()).toEqual(['gone'])
  },
)
test.runIf(existsSync('/proc'))(
  'a process that has ended, and that its parent has not asked for, has gone',
  async () => {
    // The shell starts one, becomes another program before that ends, and never waits for it.
    const parent = spawn('sh', ['-c', 'sleep 0.5 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] })
    const pid = String((await once(parent.stdout, 'data'))[0]).trim()
    const since = readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[21]
    make(newOwner().replace(/-\d+-\d+-/, `-${pid}-${since}-`))
    await expect.poll(owners).toEqual(['gone'])
    parent.kill()
  },
)
