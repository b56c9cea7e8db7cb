// What a run gives again: on the same machine the same bytes, with other numbers of threads the same columns (docs/output.md, Exactness).
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { METHOD_NAMES, prune } from '../src/node.ts'
import { TEXT, workplaces } from './fasp.ts'
import { someOf } from './nightly.ts'
import { TINY_MODELS, TINY_NAMES } from './tiny.ts'

const workplace = workplaces()
const cases = Object.keys(TINY_MODELS).flatMap(model =>
  METHOD_NAMES.map(method => [model as keyof typeof TINY_MODELS, method] as const),
)
/** A method on one of the models; nightly on both. */
const stands = (model: keyof typeof TINY_MODELS, method: (typeof METHOD_NAMES)[number]) =>
  TINY_NAMES.indexOf(model) === METHOD_NAMES.indexOf(method) % TINY_NAMES.length

test.each(someOf(cases, of => stands(...of)).filter(([, method]) => method !== 'reap'))(
  '%s by %s keeps the same with one, two and three threads, and writes the same bytes twice',
  async (model, method) => {
    const folder = await workplace()
    const kept = []
    const files = []
    for (const threads of [1, 1, 2, 3]) {
      const output = join(folder, `${kept.length}`)
      const options = {
        method,
        sparsity: 0.3,
        windows: 8,
        seqLen: 64,
        calibration: [{ name: 'text', text: async () => TEXT }],
      }
      const { layers } = await prune(TINY_MODELS[model], { ...options, output, engine: { threads, blas: 'none' } })
      kept.push(layers.map(({ attention, ffn }) => [attention?.kept, ffn?.kept]))
      files.push(weightsIn(output))
    }
    expect(kept[1]).toEqual(kept[0])
    expect(kept[2]).toEqual(kept[0])
    expect(kept[3]).toEqual(kept[0])
    expect(files[1].equals(files[0])).toBe(true)
  },
)

const weightsIn = (folder: string) =>
  Buffer.concat(
    readdirSync(folder)
      .filter(name => name.endsWith('.safetensors'))
      .map(name => readFileSync(join(folder, name))),
  )
