// Zero-shot tasks beside lm-evaluation-harness (test/fixtures/tasks/make.py): made-up items from the Hub as parquet, with tiny-llama.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { TASKS } from '../src/evaluate/tasks/definitions.ts'
import type { Task } from '../src/evaluate/tasks/evaluate.ts'
import { WIKITEXT } from '../src/evaluate/tasks/wikitext.ts'
import type { Split } from '../src/hub/dataset.node.ts'
import { loadTasks, loadWikitext } from '../src/hub/tasks.node.ts'
import {
  describeModel,
  type Engine,
  evaluate,
  loadTokenizer,
  logits,
  type Model,
  openCheckpoint,
  openEngine,
  prune,
  TASK_NAMES,
  type TaskName,
  type TaskResult,
} from '../src/node.ts'
import { evaluateTasks, taskLikelihoods, wordPerplexity } from './evaluation.ts'
import { fasp, put, refused, TEXT, TINY_LLAMA, workplaces } from './fasp.ts'
import { finish } from './finish.ts'
import { hubPlace, told } from './hub.ts'
import { TINY_OPT, withContext } from './tiny.ts'

interface OracleItem {
  readonly requests: readonly [context: string, continuation: string][]
  readonly loglikelihoods: readonly number[]
  readonly acc: number
  readonly acc_norm?: number
}

interface OracleTask<T> {
  readonly version: string
  readonly results: Readonly<Record<string, number>>
  readonly items: readonly T[]
}

const fixtures = fileURLToPath(new URL('fixtures/tasks', import.meta.url))
const fixture = (name: string) => readFileSync(join(fixtures, name))
const oracle: {
  tasks: Record<TaskName, OracleTask<OracleItem>> & {
    wikitext: OracleTask<{ text: string; loglikelihood: number; words: number; bytes: number }>
  }
} = JSON.parse(fixture('oracle.json').toString())

/** Nats of a whole answer, of tens of them: float32 on both sides. */
const LIKELIHOOD_TOLERANCE = 1e-3

const place = hubPlace()
const workplace = workplaces()

/** The data sets of all tasks on the Hub of this machine, with other splits and configurations beside those wanted. */
function serve(): void {
  const repos = new Map<string, Record<string, Buffer>>()
  for (const name of [...TASK_NAMES, 'wikitext'] as const) {
    const { id, split, config }: Split = name === 'wikitext' ? WIKITEXT.dataset : TASKS[name].dataset
    const files = repos.get(id) ?? {}
    repos.set(id, files)
    files[`${config ?? 'default'}/${split}/0000.parquet`] = fixture(`${name}.parquet`)
    files[`${config ?? 'default'}/train/0000.parquet`] = Buffer.from('another split')
    if (config) files[`other/${split}/0000.parquet`] = Buffer.from('another configuration')
  }
  for (const [id, files] of repos) place.server.put(`datasets/${id}`, files, {}, 'refs/convert/parquet')
}

async function withModel<T>(path: string, use: (model: Model, engine: Engine) => Promise<T>): Promise<T> {
  const engine = openEngine()
  const checkpoint = await openCheckpoint(path)
  try {
    return await use(describeModel(checkpoint), engine)
  } finally {
    await checkpoint.close()
    await engine.close()
  }
}

describe('as in lm-evaluation-harness, from the Hub', () => {
  test('prompts, to the letter', async () => {
    serve()
    for (const task of await finish(loadTasks(TASK_NAMES))) {
      const { items, version } = oracle.tasks[task.name]
      const requests = task.items.map(item => item.requests.map(({ context, continuation }) => [context, continuation]))
      expect(requests, task.name).toEqual(items.map(item => item.requests))
      expect(TASKS[task.name].version).toBe(version)
    }
  })

  test('word perplexity, over documents longer than the context', async () => {
    serve()
    const pages = await finish(loadWikitext())
    const { results, items } = oracle.tasks.wikitext
    const measured = await withModel(TINY_LLAMA, (model, engine) =>
      finish(wordPerplexity(withContext(model, 512), engine, pages)),
    )
    expect(measured).toMatchObject({
      task: 'wikitext',
      version: oracle.tasks.wikitext.version,
      documents: items.length,
    })
    expect(measured.wordPerplexity / results.word_perplexity).toBeCloseTo(1, 5)
    expect(measured.bytePerplexity / results.byte_perplexity).toBeCloseTo(1, 5)
    expect(measured.bitsPerByte / results.bits_per_byte).toBeCloseTo(1, 5)
  })

  test('progress by layers, and the end at a signal', async () => {
    serve()
    const tasks = await finish(loadTasks(['piqa', 'boolq']))
    await withModel(TINY_LLAMA, async (model, engine) => {
      const { events } = await told(evaluateTasks(model, engine, tasks))
      expect(events[0]).toEqual({ type: 'phase', phase: 'tasks', total: 6, unit: 'layers' })
      expect(events.slice(1)).toMatchObject([1, 2, 3, 4, 5, 6].map(done => ({ type: 'progress', done })))
      const signal = AbortSignal.abort(new Error('enough'))
      await expect(finish(evaluateTasks(model, engine, tasks, { signal }))).rejects.toThrow('enough')
    })
  })

  test('once fetched, offline; and it tells that these are not all items', async () => {
    serve()
    await finish(loadTasks(['piqa', 'arc_easy']))
    expect(place.server.downloads()).toHaveLength(2)
    const { result, events } = await told(loadTasks(['arc_easy']))
    expect(result[0].items).toHaveLength(4)
    expect(events).toEqual([
      {
        type: 'notice',
        message: 'arc_easy: 4 items, where the whole data set has 2376. Published figures are of all.',
      },
    ])
    expect(place.server.downloads()).toEqual([])
    const args = ['eval', TINY_LLAMA, '--tasks', 'arc_easy', '--json']
    const offline = { ...place.env, HF_HUB_OFFLINE: '1', HF_ENDPOINT: 'http://127.0.0.1:9' }
    const { code, stdout, stderr } = await fasp(args, { folder: await workplace(), env: offline })
    expect(code, stderr).toBe(0)
    expect(JSON.parse(stdout.trimEnd().split('\n').at(-1)!).tasks[0]).toMatchObject({ task: 'arc_easy', items: 4 })
    await refused(await workplace(), ['eval', TINY_LLAMA, '--tasks', 'boolq'], {
      env: offline,
      says: ['datasets/aps/super_glue: is not, or not all of it, in the cache', 'HF_HUB_OFFLINE'],
    })
  })

  test('a data set that is not there, or lacks the split', async () => {
    const { env } = place
    const args = ['eval', TINY_LLAMA, '--tasks', 'piqa']
    await refused(await workplace(), args, { env, says: ['datasets/baber/piqa: there is no such dataset at '] })
    place.server.put('datasets/baber/piqa', { 'default/train/0000.parquet': 'x' }, {}, 'refs/convert/parquet')
    await refused(await workplace(), args, {
      env,
      says: ['datasets/baber/piqa: there is no validation in refs/convert/parquet; it has default/train.'],
    })
  })
})

describe('zero-shot tasks', () => {
  test('log-likelihoods and accuracies of lm-evaluation-harness', async () => {
    serve()
    const tasks = await finish(loadTasks(TASK_NAMES))
    const { likelihoods, results } = await withModel(TINY_LLAMA, async (model, engine) => ({
      likelihoods: await finish(taskLikelihoods(model, engine, tasks)),
      results: await finish(evaluateTasks(model, engine, tasks)),
    }))
    for (const [t, name] of TASK_NAMES.entries()) {
      const expected = oracle.tasks[name]
      const flat = likelihoods[t].flat()
      const theirs = expected.items.flatMap(item => item.loglikelihoods)
      expect(flat.length).toBe(theirs.length)
      for (const [i, value] of flat.entries()) expect(Math.abs(value - theirs[i])).toBeLessThan(LIKELIHOOD_TOLERANCE)
      const { acc, acc_stderr, acc_norm, acc_norm_stderr } = expected.results
      const close = (value: number, standardError: number) => ({
        value: expect.closeTo(value, 12),
        standardError: expect.closeTo(standardError, 12),
      })
      const result: TaskResult = {
        task: name,
        version: expected.version,
        items: expected.items.length,
        accuracy: close(acc, acc_stderr),
        ...(acc_norm === undefined ? {} : { accuracyNorm: close(acc_norm, acc_norm_stderr) }),
      }
      expect(results[t]).toEqual(result)
    }
  })
})

describe('the text that choices have in common is run once', () => {
  /** Every sequence as a question of its own. */
  const alone = (tasks: readonly Task[]) =>
    tasks.map(({ name, items }) => ({
      name,
      items: items.flatMap(item => item.requests.map(request => ({ ...item, requests: [request] }))),
    }))

  async function compare(path: string): Promise<void> {
    serve()
    const tasks = await finish(loadTasks(TASK_NAMES))
    await withModel(path, async (model, engine) => {
      const shared = (await finish(taskLikelihoods(model, engine, tasks))).flat(2)
      const each = (await finish(taskLikelihoods(model, engine, alone(tasks)))).flat(2)
      expect(shared.every(value => value < 0)).toBe(true)
      for (const [i, value] of shared.entries()) expect(Math.abs(value - each[i])).toBeLessThan(LIKELIHOOD_TOLERANCE)
    })
  }

  test('in a model with layers of different widths', async () => {
    const folder = await workplace()
    const output = join(folder, 'compact')
    const calibration = [join(folder, 'text.txt')]
    await prune(TINY_LLAMA, { sparsity: 0.3, method: 'best', output, calibration, windows: 4, seqLen: 64 })
    await compare(output)
  })

  test('in a model with learned positions', () => compare(TINY_OPT))
})

const ARC = (id: number, answerKey = 'B') =>
  JSON.stringify({
    ...{ id: String(id), question: 'Who wears wool?' },
    ...{ choices: { text: ['a stone', 'a sheep'], label: ['A', 'B'] }, answerKey },
  })

describe('files of tasks', () => {
  const args = (task: string) => ['eval', TINY_LLAMA, '--tasks', task, '--tasks-data', 'data']

  test('are counted up to --limit, beside texts', async () => {
    const folder = await workplace({ 'data/arc_easy.jsonl': `${ARC(1)}\n`.repeat(5) })
    const more = ['--limit', '3', '--text', 'text.txt', '--seq-len', '32,64', '--windows', '2']
    const { code, stdout, stderr } = await fasp([...args('arc_easy'), ...more], { folder })
    expect(code, stderr).toBe(0)
    expect(stdout).toMatch(
      /^Zero-shot accuracy\nmodel +arc_easy +mean\ntiny-llama .*\nPercent ± standard error; 3 items a task/m,
    )
    const { tasks, texts } = JSON.parse((await fasp([...args('arc_easy'), ...more, '--json'], { folder })).stdout)
    expect(tasks).toMatchObject([{ task: 'arc_easy', items: 3 }])
    expect(texts.map((one: { seqLen: number }) => one.seqLen)).toEqual([32, 64])
  })

  test('may be compressed, and have lines that end as on Windows', async () => {
    const items = `${ARC(1)}\n${ARC(2, 'A')}\n`
    const folder = await workplace({
      'lf/arc_easy.jsonl': items,
      'crlf/arc_easy.jsonl.gz': gzipSync(items.replaceAll('\n', '\r\n')),
    })
    const read = (data: string) => finish(loadTasks(['arc_easy'], { data: [join(folder, data)] }))
    const [task] = await read('lf')
    expect(task.items.map(({ gold }) => gold)).toEqual([1, 0])
    expect(await read('crlf')).toEqual([task])
  })

  const LINES = `${ARC(1)}\n${ARC(2)}\n`
  const cases: Record<string, [files: Readonly<Record<string, string | Uint8Array>>, says: string[], task?: string]> = {
    'cut short': [{ 'arc_easy.jsonl': LINES.slice(0, -9) }, ['data/arc_easy.jsonl: line 2: not JSON']],
    empty: [{ 'arc_easy.jsonl': '' }, ['data/arc_easy.jsonl: there are no items of arc_easy in it.']],
    'no objects': [{ 'arc_easy.jsonl': '7\n' }, ['line 1: not an object']],
    'of another task': [
      { 'arc_easy.jsonl': '{"goal":"a"}\n' },
      ['data/arc_easy.jsonl: line 1: not an item of arc_easy: there is no "question"; it must be a string.'],
    ],
    'an answer that is no choice': [{ 'arc_easy.jsonl': ARC(1, 'C') }, ['the right answer is none of the 2 choices']],
    'choices without a letter': [
      {
        'arc_easy.jsonl': '{"question":"a","choices":{"text":["b","c","d"],"label":["A"]},"answerKey":"A"}\n',
      },
      ['3 choices have 1 letters'],
    ],
    'no parquet': [{ 'arc_easy.parquet': 'PAR1' }, ['data/arc_easy.parquet: cannot be read as parquet']],
    'parquet cut short': [
      { 'arc_easy.parquet': fixture('arc_easy.parquet').subarray(0, 2000) },
      ['data/arc_easy.parquet: cannot be read as parquet'],
    ],
    'no blank': [
      { 'winogrande.jsonl': '{"sentence":"He saw","option1":"a","option2":"b","answer":"1"}' },
      ['"sentence" has no blank "_"'],
      'winogrande',
    ],
    'no document': [
      { 'wikitext.jsonl': '{"page":""}\n' },
      ['data/wikitext.jsonl: there is no document of wikitext in it.'],
      'wikitext',
    ],
  }
  test.for(Object.entries(cases))('%s', async ([, [files, says, task = 'arc_easy']]) => {
    const folder = await workplace()
    await put(join(folder, 'data'), files)
    await refused(folder, args(task), { says })
  })

  test('an answer that does not fit the context, before anything is run', async () => {
    const folder = await workplace({ 'data/arc_easy.jsonl': ARC(1).replace('a sheep', 'a sheep '.repeat(300)) })
    await refused(folder, args('arc_easy'), { code: 2, says: ['arc_easy: item 1: an answer has', 'room for 256'] })
  })

  const usage: Record<string, [args: string[], says: string[]]> = {
    'an unknown task': [args('arc_hard'), ['unknown task "arc_hard"; there is: arc_easy, arc_challenge, boolq,']],
    'no file': [args('piqa'), ['there are no items of piqa in data. Wanted is piqa as .jsonl']],
    'no folder': [
      ['eval', TINY_LLAMA, '--tasks', 'piqa', '--tasks-data', 'nowhere'],
      ['nowhere: there is no such folder.'],
    ],
    'limit 0': [[...args('arc_easy'), '--limit', '0'], ['limit is 0; it must be an integer from 1']],
    'a limit of no tasks': [
      ['eval', TINY_LLAMA, '--text', 'text.txt', '--limit', '1'],
      ['--limit and --tasks-data are for'],
    ],
    'dense without text': [[...args('arc_easy'), '--dense', TINY_LLAMA], ['--dense compares models on texts.']],
    'lengths that are none': [['eval', TINY_LLAMA, '--text', 'text.txt', '--seq-len', '64,x'], ['--seq-len is "x"']],
  }
  test.for(Object.entries(usage))('%s', async ([, [args, says]]) => {
    const folder = await workplace({ 'data/arc_easy.jsonl': LINES })
    await refused(folder, args, { code: 2, says })
  })
})

test('distance to a dense model, against softmax in float64', async () => {
  const folder = await workplace()
  const text = [join(folder, 'text.txt')]
  const output = join(folder, 'pruned')
  await prune(TINY_LLAMA, { sparsity: 0.2, method: 'plain', output, calibration: text, windows: 4, seqLen: 64 })
  const options = { text, dense: TINY_LLAMA, seqLen: [32, 64], windows: 2 }
  const measured = await evaluate(output, options)
  const [{ kl, topAgreement }, other] = measured.divergence!
  expect(other).toMatchObject({ file: text[0], windows: 2, seqLen: 64 })
  const side = (path: string) => withModel(path, (model, engine) => predictions(model, engine, TEXT, 32, 2))
  const [p, q] = [await side(TINY_LLAMA), await side(output)]
  const divergence = p.reduce((sum, row, r) => sum + row.reduce((s, x, i) => s + x * Math.log(x / q[r][i]), 0), 0)
  expect(kl).toBeGreaterThan(1e-4)
  expect(kl / (divergence / p.length)).toBeCloseTo(1, 3)
  const top = (row: readonly number[]) => row.indexOf(Math.max(...row))
  expect(topAgreement).toBe(p.filter((row, r) => top(row) === top(q[r])).length / p.length)
  // Bits a token over bytes a token: the second is the text's, whatever the windows.
  const bytesPerToken = measured.perplexity.map(one => Math.log2(one.perplexity) / one.bitsPerByte!)
  const tokens = await withModel(output, async ({ checkpoint }) => loadTokenizer(checkpoint).encode(TEXT).length - 1)
  for (const one of bytesPerToken) expect(one).toBeCloseTo(Buffer.byteLength(TEXT) / tokens, 10)
})

/** Next-token probabilities at the positions of each window that predict. */
async function predictions(model: Model, engine: Engine, text: string, length: number, windows: number) {
  const { vocabularySize } = model.architecture
  const ids = loadTokenizer(model.checkpoint).encode(text)
  const rows: number[][] = []
  for (let w = 0; w < windows; w++) {
    const all = await logits(model, engine, ids.subarray(w * length, (w + 1) * length))
    for (let t = 0; t < length - 1; t++) {
      const scores = [...all.subarray(t * vocabularySize, (t + 1) * vocabularySize)].map(Math.exp)
      const sum = scores.reduce((total, x) => total + x, 0)
      rows.push(scores.map(x => x / sum))
    }
  }
  return rows
}
