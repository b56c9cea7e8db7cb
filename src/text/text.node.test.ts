import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { nightly } from '../../test/nightly.ts'
import { describeShared, sharedPath } from '../../test/shared.ts'
import { TextError } from '../base/errors.ts'
import { readText } from './text.node.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../../test/fixtures/text/${name}`, import.meta.url))
const documents = 'It was a dark night.\n\nnaïve café, £5\n\nthe last line\n'
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fasp-text-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function write(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(folder, name)
  await writeFile(path, content)
  return path
}

/** The message of the TextError that reading must end in. */
async function problem(path: string): Promise<string> {
  const error = await readText(path).catch((error: unknown) => error)
  expect(error).toBeInstanceOf(TextError)
  expect((error as Error).message).toContain(path)
  return (error as Error).message
}

describe('plain text', () => {
  test('is read as it is, a byte order mark dropped', async () => {
    expect(await readText(await write('bom.txt', '\ufeffnaïve\r\n— £5 \u{1f600}\n'))).toBe('naïve\r\n— £5 \u{1f600}\n')
    expect(await readText(await write('UPPER.TXT', 'a \ufffd b'))).toBe('a \ufffd b')
  })

  test('that is not UTF-8 is refused with the offset of the first bad byte', async () => {
    const bytes = Buffer.concat([Buffer.from('\ufeffé \ufffd '), Buffer.from([0xe9, 0x20]), Buffer.from('\ufffd')])
    expect(await problem(await write('latin1.txt', bytes))).toMatch(/not UTF-8 from byte 10 on/)
    expect(await problem(await write('cut.txt', Buffer.from('abé').subarray(0, 3)))).toMatch(/from byte 2 on/)
  })

  test('without anything in it is refused', async () => {
    expect(await problem(await write('empty.txt', ''))).toMatch(/no text/)
    expect(await problem(await write('blank.txt.gz', gzipSync(' \n\n')))).toMatch(/no text/)
    expect(await problem(await write('none.jsonl', '\n'))).toMatch(/no text/)
  })
})

describe('paths', () => {
  test('a missing file, a folder and an unknown kind say what is allowed', async () => {
    expect(await problem(join(folder, 'nothing.txt'))).toMatch(/no such file.*\.parquet/)
    await mkdir(join(folder, 'folder.txt'))
    expect(await problem(join(folder, 'folder.txt'))).toMatch(/folder.*\.jsonl/)
    for (const name of ['page.html', 'page.html.gz', 'README', 'a.gz'])
      expect(await problem(await write(name, 'text'))).toMatch(/unknown kind.*\.txt/)
  })
})

describe('JSON lines', () => {
  const lines = '{"text":"one"}\n\n{"id":2,"text":"two\\nlines"}\r\n'

  test('are joined with a blank line', async () => {
    for (const name of ['a.jsonl', 'a.json']) expect(await readText(await write(name, lines))).toBe('one\n\ntwo\nlines')
  })

  test('name the line that is malformed', async () => {
    expect(await problem(await write('bad.jsonl', `${lines}{"text":"thr`))).toMatch(/line 4: not JSON/)
    for (const [name, line] of Object.entries({
      field: '{"content":"x"}',
      number: '{"text":3}',
      null: 'null',
      array: '["x"]',
    }))
      expect(await problem(await write(`${name}.jsonl`, `{"text":"one"}\n${line}\n`))).toMatch(/line 2: .*"text"/)
  })
})

describe('gzip', () => {
  test('is inflated before the form inside it is read', async () => {
    expect(await readText(await write('a.txt.gz', gzipSync('one\ntwo')))).toBe('one\ntwo')
    expect(await readText(await write('a.jsonl.gz', gzipSync('{"text":"one"}\n{"text":"two"}')))).toBe('one\n\ntwo')
    const parquet = gzipSync(await readFile(fixture('documents-zstd.parquet')))
    expect(await readText(await write('a.parquet.GZ', parquet))).toBe(documents)
  })

  test('that is cut short or no gzip at all is refused', async () => {
    const whole = gzipSync('one\ntwo'.repeat(100))
    expect(await problem(await write('cut.txt.gz', whole.subarray(0, whole.length - 12)))).toMatch(/not a whole gzip/)
    expect(await problem(await write('plain.txt.gz', 'plain text'))).toMatch(/not a whole gzip/)
  })

  nightly('that inflates past what one string holds is stopped on the way', async () => {
    const piece = gzipSync(Buffer.alloc(2 ** 26, 'a'), { level: 1 })
    const bomb = await write('bomb.txt.gz', Buffer.concat(Array(9).fill(piece)))
    expect(await problem(bomb)).toMatch(/more than the \d+ that fit one string; give a part/)
  })
})

describe('parquet', () => {
  test.each(['none', 'snappy', 'zstd'])('with codec %s gives the documents of column text', async codec => {
    expect(await readText(fixture(`documents-${codec}.parquet`))).toBe(documents)
  })

  test('without the column names the columns that it has', async () => {
    expect(await problem(fixture('no-text.parquet'))).toMatch(/no column "text", only id/)
  })

  test('that is cut short is refused', async () => {
    const whole = await readFile(fixture('documents-none.parquet'))
    for (const length of [0, 3, 20, whole.length - 1])
      expect(await problem(await write('cut.parquet', whole.subarray(0, length)))).toMatch(/parquet/)
  })
})

describeShared('files of the shared folder', () => {
  test('are read whole', async () => {
    const text = await readText(sharedPath('data/calibration/wikitext2-valid.txt'))
    expect(text.startsWith(' \n\n = Homarus gammarus = \n')).toBe(true)
    expect(text.length).toBe(1_100_516)
    const zipped = await readText(sharedPath('data/c4/dolma_000.json.gz'))
    expect(zipped.length).toBeGreaterThan(10_000)
  })
})
