import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { FormatError } from '../errors.ts'
import { openFile } from './file.node.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fasp-file-'))
})
afterAll(() => rm(folder, { recursive: true }))

test('reads any range, as a fresh copy', async () => {
  const path = join(folder, 'a')
  await writeFile(path, Uint8Array.of(0, 1, 2, 3, 4))
  const file = await openFile(path)
  expect(file).toMatchObject({ name: path, byteLength: 5 })
  expect(new Uint8Array(await file.slice(1, 3))).toEqual(Uint8Array.of(1, 2))
  expect(new Uint8Array(await file.slice(3))).toEqual(Uint8Array.of(3, 4))
  expect((await file.slice(5)).byteLength).toBe(0)
  await file.close!()
})

test('refuses a missing file, a folder, and a file that shrinks', async () => {
  await expect(openFile(join(folder, 'none'))).rejects.toThrow(FormatError)
  await expect(openFile(folder)).rejects.toThrow('no regular file')
  const path = join(folder, 'shrinks')
  await writeFile(path, new Uint8Array(100))
  const file = await openFile(path)
  await truncate(path, 50)
  await expect(file.slice(0)).rejects.toThrow('ended at byte 50')
  await file.close!()
})
