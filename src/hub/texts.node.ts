// What users call a text → a file on disk: a path, or the name of a data set on the Hub, of which one file is fetched.
// wikitext2 and c4 are what GPTQ and those after it measure on (arXiv 2210.17323; IST-DASLab/gptq, datautils.py): the
// test split of WikiText-2, rows with empty lines between; of C4's first validation shard 1,100 documents, with spaces.
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { count } from '../base/display.ts'
import { TextError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { OWN_NAME, OWN_TEXT, type Reading, type TextFile } from '../text/calibration.ts'
import { ALLOWED, readText } from '../text/text.node.ts'
import { type DataFile, fetchDataFile, fetchSplit, type Split } from './dataset.node.ts'

/** What a text is for: `calibration` has its own part of a data set. */
export type Purpose = 'calibration' | 'evaluation'

type Named = (Split | DataFile) & Reading

const WIKITEXT = { id: 'Salesforce/wikitext', config: 'wikitext-2-raw-v1' }
/** The train shards have 319 MB, these 40. C4's splits are random: another shard of this one is as good. */
const C4 = { id: 'allenai/c4', documents: 1100 }
const c4Shard = (n: number) => `en/c4-validation.0000${n}-of-00008.json.gz`

const NAMES: Readonly<Record<string, Readonly<Record<Purpose, Named>>>> = {
  wikitext2: { calibration: { ...WIKITEXT, split: 'train' }, evaluation: { ...WIKITEXT, split: 'test' } },
  c4: { calibration: { ...C4, file: c4Shard(1) }, evaluation: { ...C4, file: c4Shard(0), separator: ' ' } },
}

/** hf:org/name, hf:org/name/config, hf:org/name:split, hf:org/name/config:split. */
const DATASET = /^hf:(?:\/\/)?(\w[\w.-]*\/\w[\w.-]*)(?:\/(\w[\w.-]*))?(?::(\w[\w.-]*))?$/
const SPLITS = { calibration: 'train', evaluation: 'test' } as const
/** Some 4 million tokens: no calibration takes more, and data sets of the web have a thousand times as much. */
const MAX_CHARACTERS = 2 ** 24

/**
 * Finds texts and reads each once, so that one that cannot be read is known before a long part.
 * @throws TextError for what is neither a file nor a name, and as `readText`; HubError; FormatError for a missing split
 */
export async function* findTexts(
  names: readonly string[],
  purpose: Purpose,
  options: { readonly signal?: AbortSignal } = {},
): Progress<TextFile[]> {
  const wanted = []
  const isOwn = (name: string) => purpose === 'calibration' && name === OWN_NAME
  // All, before the first is fetched.
  for (const name of names) wanted.push({ name, data: isOwn(name) ? undefined : await dataOf(name, purpose) })
  const found: TextFile[] = []
  for (const { name, data } of wanted) {
    if (isOwn(name)) {
      found.push(OWN_TEXT)
      continue
    }
    const file: Omit<TextFile, 'sha256'> = data ? yield* fetchText(name, data, options) : { name, path: name }
    const text = await readText(file.path, file)
    if (text.length >= (file.characters ?? Infinity))
      yield { type: 'notice', message: `${file.name}: the first ${count(text.length)} characters are used.` }
    found.push({ ...file, sha256: createHash('sha256').update(text).digest('hex') })
  }
  return found
}

/** Undefined for a file. */
async function dataOf(name: string, purpose: Purpose): Promise<Named | undefined> {
  const [, id, config, split = SPLITS[purpose]] = DATASET.exec(name) ?? []
  if (id !== undefined) return { id, config, split, first: true, characters: MAX_CHARACTERS }
  const there = await stat(name).then(
    () => true,
    error => error.code !== 'ENOENT',
  )
  if (there) return undefined
  if (Object.hasOwn(NAMES, name)) return NAMES[name][purpose]
  const known = [...Object.keys(NAMES), 'hf:org/dataset', 'hf:org/dataset/config:split'].join(', ')
  throw new TextError(
    `${name}: no such file; give a text file: ${ALLOWED}; or the name of a data set on the Hub: ${known}`,
  )
}

async function* fetchText(
  name: string,
  { id, documents, characters, separator, ...data }: Named,
  options: { readonly signal?: AbortSignal },
): Progress<Omit<TextFile, 'sha256'>> {
  const isFile = 'file' in data
  const path = isFile
    ? yield* fetchDataFile({ id, ...data }, options)
    : (yield* fetchSplit({ id, ...data }, options))[0]
  const [, revision, file] = /snapshots[/\\]([0-9a-f]{40})[/\\](.+)$/.exec(path)!
  const split = isFile ? '' : `:${data.split}`
  return {
    ...{ name: name.endsWith(split) ? name : `${name}${split}`, path, documents, characters, separator },
    source: { dataset: id, file: file.replaceAll('\\', '/'), revision },
  }
}
