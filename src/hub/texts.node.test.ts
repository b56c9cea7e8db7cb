import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { hubPlace, told } from '../../test/hub.ts'
import { readText } from '../text/text.node.ts'
import { findTexts, type Purpose } from './texts.node.ts'

const { server } = hubPlace()
const fixture = (path: string) =>
  readFileSync(fileURLToPath(new URL(`../../test/fixtures/${path}.parquet`, import.meta.url)))
const DOCUMENTS = fixture('text/documents-none') // the column text
const PAGES = fixture('tasks/wikitext') // the column page alone
const QUESTIONS = fixture('tasks/arc_easy') // several columns of strings
const TEXT = 'It was a dark night.\n\nnaïve café, £5\n\nthe last line\n'

let folder: string
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'fasp-texts-'))))
afterAll(() => rmSync(folder, { recursive: true }))

const convert = (id: string, files: Readonly<Record<string, Buffer>>) =>
  server.put(`datasets/${id}`, files, {}, 'refs/convert/parquet')
const find = async (name: string, purpose: Purpose = 'evaluation') => {
  const { result, events } = await told(findTexts([name], purpose))
  return { file: result[0], text: await readText(result[0].path, result[0]), events }
}
const problem = async (name: string) =>
  String(
    await find(name).then(
      () => 'none',
      error => error,
    ),
  )

test('wikitext2 is the test split, and its train split to calibrate on', async () => {
  const config = 'wikitext-2-raw-v1'
  const revision = convert('Salesforce/wikitext', {
    [`${config}/test/0000.parquet`]: DOCUMENTS,
    [`${config}/train/0000.parquet`]: PAGES,
    'wikitext-103-raw-v1/test/0000.parquet': PAGES,
  })
  const { file, text } = await find('wikitext2')
  expect(text).toBe(TEXT) // rows with an empty line between, as GPTQ joins them
  expect(file).toMatchObject({
    name: 'wikitext2:test',
    source: { dataset: 'Salesforce/wikitext', file: `${config}/test/0000.parquet`, revision },
  })
  expect(server.downloads()).toHaveLength(1)
  expect((await find('wikitext2', 'calibration')).file).toMatchObject({
    name: 'wikitext2:train',
    source: { file: `${config}/train/0000.parquet` },
  })
  vi.stubEnv('HF_HUB_OFFLINE', '1')
  server.requests.length = 0
  expect((await find('wikitext2')).file).toEqual(file)
  expect(server.requests).toEqual([])
})

test('c4 is the first 1,100 documents of a shard, which alone is fetched', async () => {
  const shard = (word: string) =>
    gzipSync(Array.from({ length: 1200 }, (_, i) => JSON.stringify({ text: `${word}${i}`, url: '' })).join('\n'))
  const [one, other] = [0, 1].map(n => `en/c4-validation.0000${n}-of-00008.json.gz`)
  const revision = server.put('datasets/allenai/c4', {
    [one]: shard('a'),
    [other]: shard('b'),
    'multilingual/x.json.gz': 'x',
  })
  const { file, text } = await find('c4')
  expect(text).toBe(Array.from({ length: 1100 }, (_, i) => `a${i}`).join(' '))
  expect(file).toMatchObject({ name: 'c4', source: { dataset: 'allenai/c4', file: one, revision } })
  const trees = server.requests.filter(({ path }) => path.includes('/tree/'))
  expect(trees.every(({ path }) => path.endsWith('/en'))).toBe(true)
  expect(server.downloads()).toHaveLength(1)
  const calibration = await find('c4', 'calibration')
  expect(calibration.text.split('\n\n').at(-1)).toBe('b1099')
  expect(calibration.file.source!.file).toBe(other)
})

test('any data set', async () => {
  convert('org/one', { 'default/train/0000.parquet': DOCUMENTS, 'default/train/0001.parquet': QUESTIONS })
  convert('org/two', { 'a/partial-train/0000.parquet': PAGES, 'b/test/0000.parquet': DOCUMENTS })
  expect(await find('hf:org/one', 'calibration')).toMatchObject({ text: TEXT, file: { name: 'hf:org/one:train' } })
  expect(server.downloads()).toHaveLength(1) // the first file of the split
  expect((await find('hf:org/two/a:train')).file).toMatchObject({
    name: 'hf:org/two/a:train',
    source: { file: 'a/partial-train/0000.parquet' },
  })
  expect((await find('hf:org/two/b')).text).toBe(TEXT)
  vi.stubEnv('HF_HUB_OFFLINE', '1')
  expect((await find('hf:org/two/a:train')).file.name).toBe('hf:org/two/a:train')
})

test('what cannot be read', async () => {
  convert('org/one', { 'default/test/0000.parquet': QUESTIONS, 'default/train/0000.parquet': DOCUMENTS })
  expect(await problem('hf:org/one')).toMatch(/no column "text", only id, question, choices, answerKey.*Chats/)
  expect(await problem('hf:org/one:valid')).toContain(
    'datasets/org/one: there is no valid in refs/convert/parquet; it has default/test, default/train.',
  )
  expect(await problem('hf:org/none')).toContain('there is no such dataset at')
  server.put('datasets/allenai/c4', { 'en/other.json.gz': 'x' })
  expect(await problem('c4')).toContain('the repository has no file en/c4-validation.00000-of-00008.json.gz')
  expect(await problem('wikitext3')).toMatch(
    /wikitext3: no such file; give a text file: \.txt.*; or the name of a data set on the Hub: wikitext2, c4, hf:org/,
  )
})

test('of a data set that is too large the beginning', async () => {
  const long = JSON.stringify({ text: 'word '.repeat(1000) })
  writeFileSync(join(folder, 'long.jsonl'), `${long}\n`.repeat(3))
  expect(await readText(join(folder, 'long.jsonl'), { characters: 5001 })).toHaveLength(10002)
})
