import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TextError } from '../errors.ts'
import { parquetRows } from './rows.node.ts'

/** Reads rows of two columns, "id" and "text", as `change` left the file. `column` is where the first row group describes "text". */
async function read(change: (bytes: Buffer, column: number) => void): Promise<unknown> {
  const bytes = await readFile(new URL('../../test/fixtures/text/documents-none.parquet', import.meta.url))
  change(bytes, bytes.indexOf('text', bytes.indexOf('text') + 4)) // after its name in the schema
  const folder = await mkdtemp(join(tmpdir(), 'fasp-rows-'))
  try {
    const path = join(folder, 'a.parquet')
    await writeFile(path, bytes)
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
  })
  expect(error).toBeInstanceOf(TextError)
  expect((error as Error).message).toMatch(/other columns than the schema/)
})

test('columns that lie in another order than in the schema', async () => {
  const row = await read((bytes, column) => {
    for (const field of [12, 15, 18]) bytes.set([0x80, 0], column + field) // compressed bytes, offsets of pages and dictionary: 0
  })
  expect(row).toMatchObject({ value: { id: 1n } })
})
