// A prepared run of Node: what it plans is what it does, and the model is closed again on every path.
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import {
  evaluate,
  generate,
  MemorySink,
  openEngine,
  openModel,
  type ProgressEvent,
  perplexity,
  planPrune,
  prepare,
  prune,
  pruneEvents,
} from '../src/node.ts'
import { TEXT, TINY_LLAMA } from './fasp.ts'
import { randomLlama, writeModel } from './made-models.ts'
import { asWindows } from './tiny.ts'

const folder = mkdtempSync(join(tmpdir(), 'fasp-prepare-'))
afterAll(() => rmSync(folder, { recursive: true }))
const text = join(folder, 'text.txt')
writeFileSync(text, TEXT)

const cut = { sparsity: 0.2, windows: 2, seqLen: 32, calibration: [text] }
const options = { ...cut, output: join(folder, 'out'), overwrite: true }

/** Files of the model that this process has open. */
const open = () =>
  readdirSync('/proc/self/fd').filter(fd => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(TINY_LLAMA)
    } catch {
      return false // closed since
    }
  }).length

test('it is planned as `planPrune` says, measured on while it is open, and pruned as planned', async () => {
  const plan = await planPrune(TINY_LLAMA, cut)
  expect(open()).toBe(0)
  {
    await using run = await prepare(TINY_LLAMA, options)
    expect({ ...run.plan, options: run.options, exports: [] }).toEqual(plan)
    expect(readdirSync(folder)).toEqual(['text.txt'])
    const { perplexity } = await evaluate(run.model, { text: [text], seqLen: 32, windows: 2 })
    expect(perplexity[0].windows).toBe(2)
    expect(open()).toBe(1) // evaluating has left it open
    const { sizes, widths, options: used } = await run.prune()
    const few = { damp: used.damp, alpha: used.alpha, score: used.score, shrinkage: used.shrinkage } // by the tokens that there are
    expect([sizes.parameters, widths, used]).toEqual([plan.sizes.parameters, plan.widths, { ...run.options, ...few }])
  }
  expect(open()).toBe(0)
})

test('an output of a .gguf file decides the type of the folder that it is made from', async () => {
  await using run = await prepare(TINY_LLAMA, { ...cut, output: join(folder, 'out.gguf') })
  expect(run.options.dtype).toBe('BF16')
})

test('options that the model cannot meet, targets that do not fit it, and a caller that stops leave nothing open', async () => {
  for (const [wrong, says] of [
    [{ sparsity: 0.8 }, /sparsity 0.8 cannot be reached/],
    [{ to: [{ to: 'onnx', dtype: 'F64' }] }, /onnx cannot be written in f64/],
  ] as const) {
    await expect(prepare(TINY_LLAMA, { ...options, ...wrong })).rejects.toThrow(says)
    expect(open()).toBe(0)
  }
  for await (const { type } of pruneEvents(TINY_LLAMA, options)) if (type === 'phase') break
  expect(open()).toBe(0)
})

test('a caller whose listener throws leaves nothing open', async () => {
  const onEvent = () => {
    throw new Error('enough')
  }
  await expect(prune(TINY_LLAMA, { ...options, onEvent })).rejects.toThrow('enough')
  expect(open()).toBe(0)
})

test('into a sink, of an open model and on an open engine, the same is written, and both stay open', async () => {
  const output = new MemorySink()
  await using engine = openEngine()
  await using model = await openModel(TINY_LLAMA)
  const texts = [{ name: text, text: async () => TEXT }]
  const { exports } = await prune(model, { ...cut, calibration: texts, output, engine })
  expect(exports).toEqual([])
  expect(open()).toBe(1)
  await prune(TINY_LLAMA, options)
  const name = 'model.safetensors'
  expect(readFileSync(join(options.output, name)).equals(output.files.get(name)!)).toBe(true)
  const { perplexity: value } = await perplexity(model, texts[0], { engine, seqLen: 32, windows: 2 })
  const measures = await evaluate(TINY_LLAMA, { text: [text], seqLen: 32, windows: 2 })
  expect(value).toBe(measures.perplexity[0].perplexity)
  await expect(prune(model, { ...cut, output, to: [{ to: 'gguf' }] })).rejects.toThrow('a sink takes no exports')
})

test('what is written is told as it is written', async () => {
  const told: string[] = []
  const onEvent = (event: ProgressEvent) => void (event.type === 'text' && told.push(event.text))
  const { text, ids } = await generate(TINY_LLAMA, 'It was a dark', { maxTokens: 8, onEvent })
  expect(ids).toHaveLength(8)
  expect(told.length).toBeGreaterThan(1)
  expect(told.join('')).toBe(text)
})

test('few calibration tokens are told of, and enough are not', async () => {
  const width = 32
  const model = writeModel(join(folder, 'narrow'), randomLlama({ intermediate_size: width }, 1), TINY_LLAMA)
  const enough = (48 * width) / 64 // windows
  for (const windows of [enough - 1, enough]) {
    const rows = Array.from({ length: windows }, (_, w) =>
      Array.from({ length: 64 }, (_, i) => (31 * w + 7 * i) % 1024),
    )
    const told: string[] = []
    const onEvent = (event: ProgressEvent) => void (event.type === 'notice' && told.push(event.message))
    const given = { method: 'stock:multiple=4', sparsity: 0.2, calibration: asWindows(rows) }
    const { options } = await prune(model, { ...given, output: new MemorySink(), onEvent })
    expect(options.shrinkage).toBe(0.5)
    expect(told.filter(message => message.includes('are few for the width'))).toHaveLength(windows < enough ? 1 : 0)
  }
})
