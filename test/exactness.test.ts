// What a run gives again: on the same machine the same bytes, with other numbers of threads the same columns (docs/output.md, Exactness).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { METHOD_NAMES, prune } from '../src/node.ts'
import { TEXT, workplaces } from './fasp.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { TINY_MODELS, TINY_NAMES, tinyOf2Layers } from './tiny.ts'

const workplace = workplaces()
const cases = TINY_NAMES.flatMap(model => METHOD_NAMES.map(method => [model, method] as const))
/** Each method on two layers, or on the other family where it removes layers; nightly all on whole models of both. */
const stands = (model: keyof typeof TINY_MODELS, method: (typeof METHOD_NAMES)[number]) =>
  (model === 'tiny-opt') === ['shortgpt', 'sleb'].includes(method)
const MODELS = { ...TINY_MODELS, ...(!NIGHTLY && { 'tiny-llama': tinyOf2Layers() }) }

test.each(someOf(cases, of => stands(...of)).filter(([, method]) => method !== 'reap'))(
  '%s by %s keeps the same with other numbers of threads, and writes the same bytes twice',
  async (model, method) => {
    const folder = await workplace()
    const kept = []
    const files = []
    for (const threads of NIGHTLY ? [1, 1, 2, 3] : [1, 1, 3]) {
      const output = join(folder, `${kept.length}`)
      const options = {
        method,
        sparsity: 0.3,
        windows: NIGHTLY ? 8 : 4,
        seqLen: NIGHTLY ? 64 : 32,
        calibration: [{ name: 'text', text: async () => TEXT }],
      }
      const { layers } = await prune(MODELS[model], { ...options, output, engine: { threads, blas: 'none' } })
      kept.push(layers.map(({ attention, ffn }) => [attention?.kept, ffn?.kept]))
      files.push(weightsIn(output))
    }
    for (const one of kept.slice(1)) expect(one).toEqual(kept[0])
    expect(files[1].equals(files[0])).toBe(true)
  },
)

const weightsIn = (folder: string) =>
  Buffer.concat(
    readdirSync(folder)
      .filter(name => name.endsWith('.safetensors'))
      .map(name => readFileSync(join(folder, name))),
  )
