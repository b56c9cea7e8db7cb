// Runs of tiny models on windows of their goldens, by ranks in one process or by one.
import { fileURLToPath } from 'node:url'
import { finish } from '../src/base/events.ts'
import type { Engine } from '../src/engine/engine.ts'
import { openCheckpoint } from '../src/hub/open.node.ts'
import { describeModel, MemorySink, type PruneOptions, type Windows } from '../src/node.ts'
import { prune } from '../src/prune/prune.ts'
import { prepare } from '../src/prune/run.ts'
import type { Group } from '../src/ranks/group.ts'
import { goldenOf, TINY_MODELS, type TinyModel } from './tiny.ts'

export const SEQ_LEN = 48
const MIXTURE = fileURLToPath(new URL('fixtures/trained/tiny-mixture', import.meta.url))

/** Of the golden's tokens: some to calibrate on, and some that are held out. */
export function windowsOf(name: TinyModel, used: number, heldOut: number): Windows {
  const ids: number[] = goldenOf(name).calibration_windows.flat()
  const all = Array.from({ length: used + heldOut }, (_, i) =>
    Int32Array.from(ids.slice(i * SEQ_LEN, (i + 1) * SEQ_LEN)),
  )
  const text = { name: 'golden', tokens: ids.length, available: all.length, used, heldOut }
  return { seqLen: SEQ_LEN, windows: all.slice(0, used), heldOut: all.slice(used), texts: [text] }
}

export async function tinyRun(
  name: TinyModel | 'tiny-mixture',
  options: PruneOptions,
  windows: Windows,
  engine: Engine,
  group: Group,
) {
  const checkpoint = await openCheckpoint({ ...TINY_MODELS, 'tiny-mixture': MIXTURE }[name])
  try {
    const sink = new MemorySink()
    const model = describeModel(checkpoint)
    const run = prepare(model, { sparsity: 0.3, ...options }, { windows })
    const result = await finish(prune(run, { engine, sink, group }))
    await sink.commit()
    return { model, result, files: sink.files, options: result.options, tensors: run.plan.tensors }
  } finally {
    await checkpoint.close()
  }
}
