// Writes exports below one output and verifies each. The caller makes the output appear.
import { join } from 'node:path'
import { isGgufFile } from '../base/display.ts'
import { UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import type { Checkpoint } from '../checkpoint/checkpoint.ts'
import type { Engine } from '../engine/engine.ts'
import { type Context, memoryContext } from '../forward/context.ts'
import { describeModel, type Model } from '../model/model.ts'
import type { FolderSink } from '../output/folder.node.ts'
import { subSink } from '../output/sink.ts'
import { type Saved, stepsOf, UNSAVED } from '../output/steps.ts'
import { recorded } from '../output/write-record.ts'
import type { ExportResult } from './export-result.ts'
import type { Target } from './target.ts'
import { type ExportRequest, planExport, TARGETS, type TargetName, targetOf } from './targets.ts'
import { verifyInLlamaCpp } from './verify/llama-cpp.node.ts'
import { verifyInTransformersJs } from './verify/transformers-js.node.ts'
import { verifyExport } from './verify/verify.ts'

/**
 * The exports asked for; a `.gguf` output is one to GGUF.
 * @param dtype of those that name none
 * @throws UsageError for an unknown target or type, and where they do not fit the output
 */
export function exportRequests(
  output: string,
  to: readonly ExportRequest[] = isGgufFile(output) ? [{ to: 'gguf' }] : [],
  dtype?: string,
): readonly ExportRequest[] {
  const requests = to.map(one => ({ to: one.to, dtype: (one.dtype ?? dtype)?.toUpperCase() }))
  requests.forEach(targetOf)
  const twice = requests.find((request, i) => requests.findIndex(other => other.to === request.to) !== i)
  if (twice) throw new UsageError(`--to ${twice.to} is given twice. Export once for each type.`)
  const other = requests.find(request => request.to !== 'gguf')
  if (isGgufFile(output) && other)
    throw new UsageError(`${output} is a .gguf file, and ${other.to} needs a folder. Name one: -o <folder>.`)
  const ending = /\.(onnx|safetensors)$/i.exec(output)?.[1].toLowerCase()
  if (ending === 'onnx')
    throw new UsageError(`${output}: ONNX for transformers.js is a folder. Name one: -o <folder> --to onnx.`)
  if (ending)
    throw new UsageError(`${output}: safetensors are in a folder with config and tokenizer. Name one: -o <folder>.`)
  return requests
}

/** An export in its place. */
export interface PlacedExport extends ExportResult {
  /** The file, or the folder. */
  readonly path: string
}

/** The exports with the paths that they have once `output` is there. */
export const placed = (output: string, exports: readonly ExportResult[]): PlacedExport[] =>
  exports.map(one => ({
    ...one,
    path: isGgufFile(output) ? output : join(output, one.folder, (TARGETS[one.to] as Target).file ?? ''),
  }))

/** Checks in other runtimes: each says what it found, or throws. `model` is what the file or folder at `path` holds. */
const RUNTIMES: Partial<
  Record<TargetName, (context: Context, model: Model, path: string, dtype: string) => Promise<readonly string[]>>
> = { gguf: verifyInLlamaCpp, onnx: verifyInTransformersJs }

const NO_RUNTIME = 'Read back by fasp alone: --verify runs llama.cpp and transformers.js, and no Python.'

export interface ExportContext {
  readonly open: (path: string) => Promise<Checkpoint>
  readonly engine: Engine
  /** A folder for each target, where it cannot be the output itself. */
  readonly apart: boolean
  /** Run each export in the runtime that it is for, where that is installed. */
  readonly verify?: boolean
  /** What default types are taken from. @default the model */
  readonly source?: Model
  readonly signal?: AbortSignal
  /** @default nothing is saved */
  readonly saved?: Saved
}

/** @throws FaspError as `planExport`, or where an export does not read back */
export async function* writeExports(
  model: Model,
  requests: readonly ExportRequest[],
  sink: FolderSink,
  { open, engine, apart, verify, source, signal, saved = UNSAVED }: ExportContext,
): Progress<ExportResult[]> {
  const planned = requests.map(request => ({ ...request, plan: planExport(model, request, source) }))
  const context = memoryContext(engine, signal)
  const { sink: recording, output } = recorded(sink)
  saved.holds({ streams: {}, outputs: { exports: output } })
  const results: ExportResult[] = []
  for (const { to, plan } of planned) {
    for (const message of plan.notices) yield { type: 'notice', message: `${to}: ${message}` }
    const folder = apart ? `${to}/` : ''
    const part = subSink(recording, folder)
    let bytes = 0
    const create = (name: string, length: number) => {
      bytes += length
      return part.create(name, length)
    }
    yield* plan.write({ ...part, create }, { ...context, saved: stepsOf(saved, to) })
    const path = join(sink.pending, folder, (TARGETS[to] as Target).file ?? '')
    const written = plan.expected && (await open(path))
    try {
      if (written) yield* saved.step(`${to} reads back`, () => verifyExport(context, plan, written))
      if (verify) {
        const held = written ? describeModel(written) : model
        const told = (await RUNTIMES[to]?.(context, held, path, plan.dtype)) ?? [NO_RUNTIME]
        for (const message of told) yield { type: 'notice', message: `${to}: ${message}` }
      }
    } finally {
      await written?.close()
    }
    results.push({ to, dtype: plan.dtype, folder, bytes })
  }
  yield* saved.restore() // where all was written
  return results
}
