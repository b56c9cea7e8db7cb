import { execFileSync } from 'node:child_process'
import { mkdtemp, open, rm, truncate, utimes, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { nightly } from '../../test/nightly.ts'
import { FormatError } from '../base/errors.ts'
import { openFile, openRegular, readSmallFile, writeAll } from './file.node.ts'

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

test('refuses a file that is written to while it is read, its length being the same', async () => {
  const path = join(folder, 'overwritten')
  await writeFile(path, new Uint8Array(2 ** 17))
  const file = await openFile(path)
  expect((await file.slice(0)).byteLength).toBe(2 ** 17)
  await utimes(path, 1, 1)
  await expect(file.slice(0, 2 ** 16)).rejects.toThrow('was changed while it was read')
  await file.close!()
})

nightly(
  'bytes over 2 GiB are written and read at once, beyond the first 4 GiB of a file',
  {
    timeout: 240_000,
  },
  async () => {
    const path = join(folder, 'large')
    const [start, length] = [2 ** 32 + 5, 2 ** 31 + 7]
    const bytes = new Uint8Array(length)
    const marks = [0, 2 ** 30, 2 ** 31 - 1, 2 ** 31, length - 1]
    for (const [i, at] of marks.entries()) bytes[at] = i + 1
    const handle = await open(path, 'w')
    await writeAll(bytes, handle, start)
    await handle.close()
    const file = await openFile(path)
    expect(file.byteLength).toBe(start + length)
    for (const [i, at] of marks.entries())
      expect(new Uint8Array(await file.slice(start + at, start + at + 1))).toEqual(Uint8Array.of(i + 1))
    expect(Buffer.compare(new Uint8Array(await file.slice(start)), bytes)).toBe(0)
    await file.close!()
    await rm(path)
  },
)

test.skipIf(process.platform === 'win32')(
  'a pipe, a socket and a device are refused at once',
  async () => {
    const [pipe, socket] = [join(folder, 'pipe'), join(folder, 'socket')]
    execFileSync('mkfifo', [pipe])
    await using _ = createServer().listen(socket)
    for (const path of [pipe, socket, '/dev/null', '/dev/zero'])
      for (const open of [openRegular, openFile, (file: string) => readSmallFile(file, 10)])
        await expect(open(path)).rejects.toThrow(
          new FormatError(path, 'is no regular file, but a folder, pipe, socket or device'),
        )
  },
  5000,
)
