// A prepared run of Node: what it plans is what it does, and the model is closed again on every path.
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import * as everywhere from '../src/index.ts'
import { evaluate, openEngine, planPrune, prepare, prune } from '../src/node.ts'
import { TEXT, TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { withModel } from './opened.ts'

const folder = mkdtempSync(join(tmpdir(), 'fasp-prepare-'))
afterAll(() => rmSync(folder, { recursive: true }))
const text = join(folder, 'text.txt')
writeFileSync(text, TEXT)

const cut = { sparsity: 0.2, samples: 2, seqLen: 32, calibration: [text] }
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
  const plan = await finish(planPrune(TINY_LLAMA, cut))
  expect(open()).toBe(0)
  {
    await using run = await finish(prepare(TINY_LLAMA, options))
    expect(run.plan).toEqual(plan)
    expect(readdirSync(folder)).toEqual(['text.txt'])
    const { perplexity } = await finish(evaluate(run.model, { text: [text], seqLen: 32, maxWindows: 2 }))
    expect(perplexity[0].windows).toBe(2)
    expect(open()).toBe(1) // evaluating has left it open
    const { sizes, widths, options: used } = await finish(run.prune())
    expect([sizes.parameters, widths, used]).toEqual([plan.sizes.parameters, plan.widths, run.options])
  }
  expect(open()).toBe(0)
})

test('an output of a .gguf file decides the type of the folder that it is made from', async () => {
  await using run = await finish(prepare(TINY_LLAMA, { ...cut, output: join(folder, 'out.gguf') }))
  expect(run.options.dtype).toBe('BF16')
})

test('options that the model cannot meet, targets that do not fit it, and a caller that stops leave nothing open', async () => {
  for (const [wrong, says] of [
    [{ sparsity: 0.8 }, /sparsity 0.8 cannot be reached/],
    [{ to: [{ to: 'onnx', dtype: 'F64' }] }, /onnx cannot be written in f64/],
  ] as const) {
    await expect(finish(prepare(TINY_LLAMA, { ...options, ...wrong }))).rejects.toThrow(says)
    expect(open()).toBe(0)
  }
  for await (const { type } of prune(TINY_LLAMA, options)) if (type === 'phase') break
  expect(open()).toBe(0)
})

test('a run of the API without files writes the same weights into a sink', async () => {
  const texts = [{ name: text, read: async () => TEXT }]
  const { calibration, ...asked } = cut
  const sink = new everywhere.MemorySink()
  await using engine = openEngine()
  await withModel(TINY_LLAMA, async model => {
    const run = everywhere.prepare(model, asked, { texts })
    await finish(everywhere.prune(run, { engine, sink }))
  })
  await finish(prune(TINY_LLAMA, options))
  const name = 'model.safetensors'
  expect(readFileSync(join(options.output, name)).equals(sink.files.get(name)!)).toBe(true)
})
