import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { TextError } from '../errors.ts'
import { parquetRows } from './rows.node.ts'

test('a damaged column before one that is not in the schema', async () => {
  const bytes = await readFile(new URL('../../test/fixtures/text/documents-none.parquet', import.meta.url))
  bytes.fill(0xff, 4, 40) // the first page of the column "id"
  const inSchema = bytes.indexOf('text')
  bytes.write('toxt', bytes.indexOf('text', inSchema + 4)) // in the first row group
  const folder = await mkdtemp(join(tmpdir(), 'fasp-rows-'))
  try {
    const path = join(folder, 'a.parquet')
    await writeFile(path, bytes)
    const error = await parquetRows(path, '')
      .next()
      .catch((error: unknown) => error)
    expect(error).toBeInstanceOf(TextError)
    expect((error as Error).message).toMatch(/other columns than the schema/)
    await setTimeout(20) // a promise that is rejected unseen fails the run
  } finally {
    await rm(folder, { recursive: true })
  }
})
