import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { madeResult } from '../../test/report/made-result.ts'
import { FormatError } from '../base/errors.ts'
import { mergeResults } from './merge-results.ts'
import { parseResult } from './parse-result.ts'
import { type Protocol, type ResultFile, serializeResult } from './result-file.ts'

const made = madeResult()
const result: ResultFile = { ...made, runs: made.runs.slice(0, 2) }
const text = serializeResult(result)

/** The result with one field replaced, or removed where undefined. */
function changed(path: string, value: unknown): string {
  const copy = JSON.parse(text)
  const names = path.split('.')
  const last = names.pop()!
  const parent = names.reduce((object, name) => object[name], copy)
  parent[last] = value
  return JSON.stringify(copy)
}

test('what is written is read', () => {
  expect(parseResult(text, 'r.json')).toEqual(JSON.parse(text))
})

test('numbers that JSON does not have are null, and read as NaN', () => {
  const [dense] = result.runs
  const perplexity = dense.perplexity.map(one => ({ ...one, standardError: Number.NaN, perplexity: Infinity }))
  const read = parseResult(serializeResult({ ...result, runs: [{ ...dense, perplexity }] }), 'r.json')
  expect(read.runs[0].perplexity[0]).toMatchObject({ standardError: Number.NaN, perplexity: Number.NaN })
})

test('threads are there only where they were asked for', () => {
  expect(parseResult(text, 'r.json').machine.threads).toBe(2)
  expect(parseResult(changed('machine.threads', undefined), 'r.json').machine).not.toHaveProperty('threads')
})

test('fields that this version does not know stay', () => {
  expect(parseResult(changed('runs.0.newer', { a: 1 }), 'r.json').runs[0]).toHaveProperty('newer.a', 1)
})

test.each([1, 100, text.length >> 1, text.length - 3])('a file cut short after %d characters', length => {
  expect(() => parseResult(text.slice(0, length), 'r.json')).toThrow(FormatError)
  expect(() => parseResult(text.slice(0, length), 'r.json')).toThrow('r.json: is cut short, or is not JSON')
})

test.each([
  ['', 'is empty. Give a .json that --report or fasp compare wrote.'],
  ['[]', 'is JSON, not a result of fasp'],
  ['{"schema":1}', 'is JSON, not a result of fasp'],
  [JSON.stringify(result.runs[1].prune), 'is the fasp.json of a pruned model, not a result'],
  ['{"schema":1,"speeds":[]}', 'is a result of fasp bench, not a result of fasp prune'],
  [changed('command', 'train'), 'not a result of fasp prune, eval or compare'],
  [
    changed('schema', 2),
    'has schema 2; fasp 0.1.0 reads schema 1. Use the fasp that wrote it ("0.1.0"), or a newer one.',
  ],
  [changed('schema', { toString: 0 }), 'has schema an object; fasp'],
  ['['.repeat(3e4) + ']'.repeat(3e4), 'nested 30000 deep, allowed are 64'],
  [changed('runs', undefined), 'runs is missing; it must be a list.'],
  [changed('machine.cores', '2'), 'machine.cores is "2"; it must be a number.'],
  [changed('runs.0.perplexity.1.bos', 1), 'runs[0].perplexity[1].bos is 1; it must be true or false.'],
  [changed('runs.1.prune.layers.3.ffn.errorAfter', 'x'), 'runs[1].prune.layers[3].ffn.errorAfter is'],
  [changed('runs.1.prune.allocation.halfBlocks.0.kind', 'mlp'), 'it must be one of attention, ffn'],
  [changed('runs.1.prune.widths.after', []), 'runs[1].prune.widths.after has 0'],
  [changed('runs.1.made', { fasp: '0.1.0', created: '' }), 'runs[1].made.machine is missing; it must be an object.'],
  [changed('runs.1.seconds', []), 'runs[1].seconds is []; it must be an object.'],
])('refuses %#', (json, problem) => {
  expect(() => parseResult(json, 'r.json')).toThrow(FormatError)
  expect(() => parseResult(json, 'r.json')).toThrow(problem)
})

test('several results are one, with the dense model once and all that was measured of it', () => {
  const [dense, ...pruned] = made.runs
  const part = (runs: typeof made.runs) => ({ ...made, runs })
  const other = dense.perplexity.map(one => ({ ...one, file: 'other.txt' }))
  const merged = mergeResults([
    { ...part([dense, pruned[0]]), created: '2026-11-24' },
    part([{ ...dense, perplexity: other.slice(0, 1), tasks: [{ ...dense.tasks[0], task: 'other' }] }, pruned[1]]),
  ])
  expect(merged.runs[0].tasks.map(({ task }) => task)).toEqual([...dense.tasks.map(({ task }) => task), 'other'])
  expect(merged.runs.map(run => [run.name, run.sparsity, run.perplexity.length])).toEqual([
    ['dense', 0, 3],
    ['preset best', 0.1, 2],
    ['preset best', 0.2, 2],
  ])
  expect(merged.runs.map(({ made }) => made?.created)).toEqual(['2026-11-24', '2026-11-24', made.created])
  const words = pruned[0].wordPerplexity!
  const both = mergeResults([part([dense]), part([{ ...dense, wordPerplexity: words }])])
  expect(both.runs.map(run => run.wordPerplexity)).toEqual([words])
  const elsewhere = { ...made, model: { ...made.model, layers: 12 } }
  expect(() => mergeResults([made, elsewhere])).toThrow('different models')
})

test('comparisons of one protocol, tasks and texts of their own aside', () => {
  const hash = (file: string, sha256 = 'a'.repeat(64)) => ({ file, sha256 })
  const protocol: Protocol = {
    ...{ model: 'b'.repeat(64), text: [hash('wiki.txt')], seqLen: 1024, maxWindows: [24], tasks: [] },
    ...{ calibration: [hash('valid.txt')], samples: 32, calibrationSeqLen: 1024, seed: 0, prompts: [], device: 'cpu' },
  }
  const merged = (other: Partial<Protocol>, ...varied: (keyof Protocol)[]) =>
    mergeResults(
      [protocol, { ...protocol, ...other }].map(one => ({ ...result, protocol: one })),
      varied,
    )
  const tasks = { tasks: [hash('piqa')], limit: 200 }
  merged({ ...tasks, prompts: ['x'], text: [hash('c4.txt')], maxWindows: [8] })
  merged({ samples: 64 }, 'samples')
  const differ: [Partial<Protocol>, string][] = [
    [{ samples: 64 }, 'the results differ in calibration windows: 32, and 64. Report on each of them alone.'],
    [{ calibrationSeqLen: 256 }, 'tokens of a calibration window: 1024, and 256.'],
    [{ seqLen: 256 }, 'tokens of a window: 1024, and 256.'],
    [{ seed: 1 }, 'the seed: 0, and 1.'],
    [{ calibration: [] }, 'calibration texts: valid.txt (SHA-256 aaaaaaaa…), and self-written.'],
    [{ maxWindows: undefined }, 'wiki.txt: the first 24 windows (SHA-256 aaaaaaaa…), and all windows (SHA'],
    [{ text: [hash('wiki.txt', 'c'.repeat(64))] }, 'and the first 24 windows (SHA-256 cccccccc…)'],
    [{ model: 'd'.repeat(64) }, 'the files of the model: SHA-256 bbbbbbbb…, and SHA-256 dddddddd….'],
  ]
  for (const [other, says] of differ) expect(() => merged(other)).toThrow(says)
  const limits = [tasks, { ...tasks, limit: undefined }].map(one => ({ ...result, protocol: { ...protocol, ...one } }))
  expect(() => mergeResults(limits)).toThrow('piqa: the first 200 items (SHA-256 aaaaaaaa…), and all items (')
})

test('the comparisons of docs/results.md are of one protocol', () => {
  const folder = new URL('../../bench/results/', import.meta.url)
  const names = ['smollm2-tasks.json', 'smollm2-cuts.json', 'smollm2-methods.json']
  const read = names.map(name => parseResult(readFileSync(new URL(name, folder), 'utf8'), name))
  const { runs } = mergeResults(read)
  expect(runs).toHaveLength(read.reduce((n, one) => n + one.runs.length, 0) - 2)
})
