// Texts and tables (.txt, .jsonl, .parquet, each also as .gz), result.json with the reports made of it, states of runs, and recipes.
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { stateFolder } from '../../src/output/state.node.ts'
import { readState } from '../../src/output/state.ts'
import { CHART_NAMES, chartFile } from '../../src/report/charts.ts'
import { mergeResults } from '../../src/report/merge-results.ts'
import { parseResult } from '../../src/report/parse-result.ts'
import type { ResultFile } from '../../src/report/result-file.ts'
import { resultMarkdown } from '../../src/report/tables.ts'
import { resultText } from '../../src/report/terminal.ts'
import { parquetRows } from '../../src/text/rows.node.ts'
import { readText } from '../../src/text/text.node.ts'
import { withRecipe } from '../../src/verbs/recipe.node.ts'
import { madeResult } from '../report/made-result.ts'
import { type Dice, jsonCase, mutateBytes } from './mutate.ts'
import { type Target, tolerate } from './target.ts'

const TABLES = [
  'text/documents-none',
  'text/documents-snappy',
  'text/documents-zstd',
  'tasks/piqa',
  'tasks/openbookqa',
].map(name => readFileSync(`test/fixtures/${name}.parquet`))
const DOCUMENTS = [{ text: 'It was a dark night.' }, { id: 2, text: 'naïve café\n' }, { text: '' }]
const TXT = Buffer.from('\ufeffIt was a dark night.\r\nnaïve café, £5 \u{1f600}\n')

const lines = (dice: Dice) =>
  Buffer.concat(
    DOCUMENTS.flatMap(document => [
      dice.or(0.4, Buffer.from(JSON.stringify(document)), () => Buffer.from(jsonCase(document, dice))),
      Buffer.from('\n'),
    ]),
  )

/** Ending and bytes. */
function anyText(dice: Dice): [string, Uint8Array] {
  const ending = dice.pick(['.txt', '.jsonl', '.parquet', '.parquet'])
  const good = ending === '.txt' ? TXT : ending === '.jsonl' ? lines(dice) : dice.pick(TABLES)
  const bytes = dice.or(ending === '.jsonl' ? 0.1 : 0.95, good, () => mutateBytes(good, dice))
  if (dice.chance(0.75)) return [ending, bytes]
  const zipped = gzipSync(bytes, { level: 1 })
  return [`${ending}.gz`, dice.or(0.4, zipped, () => mutateBytes(zipped, dice))]
}

const text: Target = {
  cases: 1000,
  onDisk: true,
  make(dice) {
    const [ending, bytes] = anyText(dice)
    return { [`a${ending}`]: bytes }
  },
  async read(files, folder) {
    const path = join(folder, Object.keys(files)[0])
    await tolerate(() => readText(path))
    if (path.includes('.parquet')) for await (const _ of parquetRows(path, '')); // all columns, as of tasks
  },
}

/** The made-up result with few of everything. */
function smallResult(): ResultFile {
  const { runs, ...rest } = { ...madeResult(), created: '2026-11-27T00:00:00.000Z' }
  const few = [runs[0], runs[1], runs.at(-1)!].map(run =>
    JSON.parse(JSON.stringify(run), (key, value) =>
      Array.isArray(value) && key !== 'curve' ? value.slice(0, 2) : value,
    ),
  )
  const hashes = [{ file: 'a.txt', sha256: '0'.repeat(64) }]
  const protocol = {
    ...{
      model: 'a',
      text: hashes,
      seqLen: 8,
      maxWindows: [2],
      tasks: hashes,
      limit: 3,
      calibration: hashes,
      samples: 2,
    },
    ...{ calibrationSeqLen: 8, seed: 1, prompts: ['a'], device: 'cpu' },
  }
  const exports = [{ to: 'gguf', dtype: 'Q8_0', folder: 'gguf', bytes: 1 }]
  return {
    ...rest,
    protocol,
    evaluation: { text: hashes, tasks: hashes },
    runs: few.map(run => ({ ...run, exports, asked: { a: 1 } })),
  }
}
const RESULT = smallResult()

/** Reports with pictures take a hundred times as long as tables. */
const DRAWN = 1 / 100

const result: Target = {
  cases: 2000,
  make: dice => ({
    'result.json': jsonCase(RESULT, dice),
    ...(dice.chance(DRAWN) ? { chart: Buffer.from(dice.pick(CHART_NAMES)) } : {}),
  }),
  async read(files) {
    const result = mergeResults([parseResult(new TextDecoder().decode(files['result.json']), 'result.json')])
    resultText(result)
    resultMarkdown(result)
    const name = new TextDecoder().decode(files.chart)
    if (files.chart) chartFile(result, CHART_NAMES.find(one => one === name)!)
  },
}

const RUN = {
  fasp: '0.1.0',
  model: 'a',
  sparsity: 0.3,
  calibration: [{ text: 'a.txt', sha256: 'b' }],
  engine: { device: 'cpu' },
}
const HALF = { kept: [0, 2], errorBefore: 0.5, errorAfter: 0.25, damp: 0 }
const WINDOWS = { seqLen: 2, windows: [{ $array: 'Int32Array', bytes: 'AQAAAAIAAAA=' }], loss: { $number: 'NaN' } }

const state: Target = {
  cases: 2000,
  onDisk: true,
  make(dice) {
    const steps = [WINDOWS, HALF].map(value =>
      dice.or(0.5, Buffer.from(JSON.stringify({ value })), () => Buffer.from(jsonCase({ value }, dice))),
    )
    const named = steps.map((bytes, i) => ({ name: `step ${i}`, file: `step-${i}.json`, sha256: sha256(bytes) }))
    const rows = { file: 'rows-0', sha256: 'a', parts: [{ of: 'calibration', name: 'pruned', length: 4 }] }
    const manifest = { schema: 2, run: RUN, steps: named, rows, written: { weights: { a: 'b' } } }
    return {
      'manifest.json': dice.or(0.5, Buffer.from(JSON.stringify(manifest)), () => Buffer.from(jsonCase(manifest, dice))),
      ...Object.fromEntries(steps.map((bytes, i) => [`step-${i}.json`, bytes])),
    }
  },
  async read(_, folder) {
    await readState(stateFolder(folder), RUN)
  },
}
/** Of less than a part (base/hash.ts). */
const sha256 = (bytes: Uint8Array) => hashed(hashed(bytes)).toString('hex')
const hashed = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

const ASKED = {
  calibration: [{ text: 'a.txt', sha256: 'b' }],
  vocabulary: { keep: [{ text: 'a.txt' }], size: 9 },
  to: [{ to: 'gguf' }],
}
const RECIPE = {
  ...{ schema: 1, fasp: '0.1.0', source: { name: 'a', sha256: 'b' }, calibration: { source: 'texts' }, asked: ASKED },
  options: { sparsity: 0.2, method: 'best:alpha=0.25', windows: 4, seqLen: 8, seed: 1, memory: 1, heldOut: 2 },
}

const recipe: Target = {
  cases: 2000,
  onDisk: true,
  make: dice => ({ 'fasp.json': Buffer.from(jsonCase(RECIPE, dice)) }),
  async read(_, folder) {
    await withRecipe({ recipe: join(folder, 'fasp.json'), output: 'out' })
  },
}

export const documents: Readonly<Record<string, Target>> = { text, result, state, recipe }
