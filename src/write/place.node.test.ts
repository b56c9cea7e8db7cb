import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { goneOwner } from '../../test/fasp.ts'
import { newOwner } from '../unfinished.node.ts'
import { claim } from './place.node.ts'

let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'fasp-place-'))))
afterEach(() => rmSync(folder, { recursive: true }))

const leave = (): string => {
  const path = join(folder, `.out.${goneOwner()}.partial`)
  mkdirSync(join(path, 'state'), { recursive: true })
  writeFileSync(join(path, 'state', 'manifest.json'), '{}')
  return path
}
const out = () => join(folder, 'out')

test('what an earlier run has left is gone on with', async () => {
  leave()
  const seen: string[] = []
  const claimed = await claim(out(), out(), async state => void seen.push(basename(state)))
  expect(seen).toHaveLength(1)
  expect(existsSync(join(claimed, 'state', 'manifest.json'))).toBe(true)
})
test('what another run takes while it is read is that one’s', async () => {
  const left = leave()
  const taken = join(folder, `.out.${newOwner()}.partial`)
  const taking = claim(out(), out(), async () => {
    renameSync(left, taken)
    throw new Error('no such file')
  })
  await expect(taking).rejects.toThrow(`out is being written by process ${process.pid}, in ${taken}`)
})
test('what cannot be read is told', async () => {
  leave()
  const taking = claim(out(), out(), () => Promise.reject(new Error('is damaged')))
  await expect(taking).rejects.toThrow('is damaged')
})
