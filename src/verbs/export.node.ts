// `exportModel`: a model in other formats, into a folder or a .gguf file.
import { baseName, isGgufFile } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import { notice, type Progress } from '../base/events.ts'
import { VERSION } from '../base/version.ts'
import { jsonFile } from '../checkpoint/checkpoint.ts'
import { hashModel } from '../checkpoint/hash-model.node.ts'
import { openCheckpoint } from '../hub/open.node.ts'
import type { Model } from '../model/model.ts'
import { checkOutput } from '../output/place.node.ts'
import { openResumable } from '../output/resumable.node.ts'
import { committed, writeFile } from '../output/sink.ts'
import { identityHere } from '../output/state.node.ts'
import { exportRequests, type PlacedExport, placed, writeExports } from '../write/export.node.ts'
import { type ExportRequest, planExport } from '../write/targets.ts'
import { choose, type EngineChoice, nodeVerbs } from './platform.node.ts'
import { nameOf } from './verbs.ts'

export interface ExportPathOptions extends EngineChoice {
  /** Folder to write, or a `.gguf` file. */
  readonly output: string
  /** Several have a folder each below `output`. @default gguf where `output` is a `.gguf` */
  readonly to?: readonly ExportRequest[]
  /** Element type of those in `to` that name none, one of the target's. @default as the source */
  readonly dtype?: string
  /** Replace an output that an earlier run wrote. @default false */
  readonly overwrite?: boolean
  /** Go on from what an earlier run into this output has saved that was stopped, to the same bytes. @default false */
  readonly resume?: boolean
  /** Seconds between two savings for `resume`, at least; 0: after each tensor. @default 15 */
  readonly saveEvery?: number
  /** Run each export in its runtime, too, if installed (node-llama-cpp, @huggingface/transformers). @default false */
  readonly verify?: boolean
}

export async function* exportModelEvents(of: string | Model, options: ExportPathOptions): Progress<PlacedExport[]> {
  const { output, to, dtype, overwrite = false, resume = false, saveEvery, verify, signal } = options
  const requests = exportRequests(output, to, dtype)
  if (requests.length === 0) throw new UsageError('no target. Say to what: to, for example --to gguf.')
  if (resume && typeof of !== 'string')
    throw new UsageError('only an export of a path, its vocabulary whole, has a state to resume from.')
  await checkOutput(output, overwrite, [nameOf(of)])
  await using chosen = choose(options)
  await using model = yield* nodeVerbs.openModel(of, { signal })
  const expectedBytes = requests.reduce((sum, request) => sum + planExport(model, request).bytes, 0)
  const { path } = model.checkpoint
  const into = isGgufFile(output) ? 'a .gguf file' : 'a folder'
  const asked = typeof of === 'string' && path && { export: requests, model: await hashModel(path), output: into }
  const run = asked ? identityHere(asked, chosen.engine.facts) : undefined
  const opened = { inputs: [nameOf(of)], expectedBytes }
  const { sink, saved, notices } = await openResumable(output, overwrite, opened, { run, resume, every: saveEvery })
  return yield* committed(sink, async function* () {
    for (const message of notices) yield notice(message)
    const context = { open: openCheckpoint, engine: chosen.engine, apart: requests.length > 1, verify, signal, saved }
    const results = yield* writeExports(model, requests, sink, context)
    const { name, format, recipe, vocabulary = recipe?.vocabulary } = model.checkpoint
    const source = { name: baseName(name), format, modelType: model.architecture.modelType }
    await writeFile(
      sink,
      jsonFile('fasp.json', {
        schema: 1,
        fasp: VERSION,
        source,
        ...recipe,
        vocabulary,
        logits: undefined,
        exports: results,
      }),
    )
    return placed(output, results)
  })
}
