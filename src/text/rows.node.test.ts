import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TextError } from '../base/errors.ts'
import { parquetRows } from './rows.node.ts'

/** Reads rows of two columns, "id" and "text", as `change` left the file. `column` is where the first row group describes "text". */
async function read(change: (bytes: Buffer, column: number) => Buffer): Promise<unknown> {
  const bytes = await readFile(new URL('../../test/fixtures/text/documents-none.parquet', import.meta.url))
  const changed = change(bytes, bytes.indexOf('text', bytes.indexOf('text') + 4)) // after its name in the schema
  const folder = await mkdtemp(join(tmpdir(), 'fasp-rows-'))
  try {
    const path = join(folder, 'a.parquet')
    await writeFile(path, changed)
    return await parquetRows(path, '').next()
  } catch (error) {
    return error
  } finally {
    await setTimeout(20) // a promise that is rejected with nobody to see it fails the run
    await rm(folder, { recursive: true })
  }
}

test('a damaged column before one that is not in the schema', async () => {
  const error = await read((bytes, column) => {
    bytes.fill(0xff, 4, 40) // the first page of "id"
    bytes.write('toxt', column)
    return bytes
  })
  expect(error).toBeInstanceOf(TextError)
  expect((error as Error).message).toMatch(/other columns than the schema/)
})

test('columns that lie in another order than in the schema', async () => {
  const row = await read((bytes, column) => {
    for (const field of [12, 15, 18]) bytes.set([0x80, 0], column + field) // compressed bytes, offsets of pages and dictionary: 0
    return bytes
  })
  expect(row).toMatchObject({ value: { id: 1n } })
})

test('a page that claims a quarter of a billion values', async () => {
  const before = process.memoryUsage.rss()
  const error = await read(bytes => {
    const claim = [0x2c, 0x15] // the header of a data page begins with how many values it has
    const at = bytes.indexOf(Uint8Array.from([...claim, 4])) + claim.length
    return Buffer.concat([bytes.subarray(0, at), Uint8Array.of(0x80, 0x80, 0x80, 0x80, 2), bytes.subarray(at + 1)])
  })
  expect(error).toBeInstanceOf(TextError)
  expect((error as Error).message).toMatch('a page of 268435456 values, allowed are 4194304')
  expect(process.memoryUsage.rss() - before).toBeLessThan(2 ** 26)
})
