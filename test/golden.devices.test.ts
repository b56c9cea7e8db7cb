// Our numbers against the PyTorch reference (test/fixtures/golden), on each device of this machine.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, test } from 'vitest'
import type { Checkpoint } from '../src/checkpoint/checkpoint.ts'
import type { Engine } from '../src/engine/engine.ts'
import { openFile } from '../src/formats/file.node.ts'
import { openSafetensors } from '../src/formats/safetensors.ts'
import { describeModel, logits, openCheckpoint, openEngine, type ProgressEvent, prune } from '../src/node.ts'
import { describeOn, devices, type Place, withBinding, withBlas } from './devices.ts'
import { perplexity } from './evaluation.ts'
import { finish } from './finish.ts'
import { casesOf, expectChosen, expectMeasured, type GoldenCase, optionsOf, stands } from './goldens.ts'
import { NIGHTLY, someOf } from './nightly.ts'
import { asWindows, goldenLogitsOf, goldenOf, TINY_MODELS, TINY_NAMES, type TinyModel } from './tiny.ts'

for (const on of [...(await devices()), await withBlas(), ...withBinding])
  for (const name of someOf(TINY_NAMES, name => (on.device === 'cpu' && !on.binding) || name === 'tiny-llama'))
    describeOn(on, `${name} agrees with the reference`, () => compareAll(name, on))

function compareAll(name: TinyModel, { device, blas, binding }: Place) {
  const isPlainCpu = device === 'cpu' && !blas && !binding
  const one = device === 'cpu' ? stands : (of: string) => of === 'paper-0.3' // drivers in software are slow
  const cases = isPlainCpu ? casesOf(name) : someOf(casesOf(name), one)
  const golden = () => goldenOf(name)
  const folder = mkdtempSync(join(tmpdir(), 'fasp-golden-'))
  let engine: Engine
  let expected: Awaited<ReturnType<typeof openSafetensors>>
  beforeAll(async () => {
    engine = openEngine({ device, blas })
    expected = await openSafetensors(await openFile(goldenLogitsOf(name)))
  })
  afterAll(async () => {
    await engine.close()
    await expected.close()
    rmSync(folder, { recursive: true })
  })

  async function compare(checkpoint: Checkpoint, reference: GoldenCase) {
    const { prompt, evaluation_windows } = golden()
    const model = describeModel(checkpoint)
    const rows = await logits(model, engine, prompt)
    const measured = await finish(perplexity(model, engine, asWindows(evaluation_windows), 'evaluate'))
    expectMeasured({ rows, perplexity: measured.perplexity }, await expected.float32(reference.name), reference)
  }

  if (isPlainCpu || NIGHTLY)
    test('dense', async () => {
      const checkpoint = await openCheckpoint(TINY_MODELS[name])
      await compare(checkpoint, golden().cases[0])
      await checkpoint.close()
    })

  test.each(cases)('%s', async caseName => {
    const reference: GoldenCase = golden().cases.find((c: GoldenCase) => c.name === caseName)
    const output = join(folder, caseName)
    const options = {
      ...optionsOf(reference.options),
      calibration: asWindows(golden().calibration_windows),
      output,
      engine: { device, blas },
    }
    const scores: Float64Array[] = []
    const onEvent = (event: ProgressEvent) => {
      if (event.type === 'selected') scores.push(event.scores)
    }
    const result = await prune(TINY_MODELS[name], { ...options, onEvent })
    expectChosen({ layers: result.layers, scores }, reference)
    const checkpoint = await openCheckpoint(output)
    await compare(checkpoint, reference)
    await checkpoint.close()
  })
}
