// Writes a model as one GGUF file into a sink, and reads the file back before it appears.
import { memorySource } from '../../base/bytes.ts'
import { UsageError } from '../../base/errors.ts'
import { notice, type Progress } from '../../base/events.ts'
import { openGgufSource } from '../../checkpoint/gguf.ts'
import type { Engine } from '../../engine/engine.ts'
import { memoryContext } from '../../forward/context.ts'
import type { Model } from '../../model/model.ts'
import { committed, GGUF_FILE, type Sink, subSink } from '../../output/sink.ts'
import { planExport } from '../targets.ts'
import { verifyExport } from '../verify/verify.ts'

export interface GgufOptions {
  /** What rounds to quantised types, and runs both models where the file is read back. */
  readonly engine: Engine
  /** `q8_0`, `q4_k_m` and the like, of docs/gguf.md. @default the type that `source` has, or the nearest */
  readonly dtype?: string
  /** What the default type is taken from: the model before it was pruned. @default `model` */
  readonly source?: Model
  readonly signal?: AbortSignal
}

export interface GgufResult {
  /** Its name in the sink. */
  readonly file: string
  readonly dtype: string
  readonly bytes: number
}

/**
 * Writes `model.gguf` and commits the sink, which must keep its files in memory, as `MemorySink` does.
 * @throws UsageError for an unknown type @throws UnsupportedModelError for what llama.cpp's graphs do not compute
 * @throws OutputError where the file does not read back. After an error nothing is left
 */
export async function* exportGguf(
  model: Model,
  sink: Sink,
  { engine, dtype, source, signal }: GgufOptions,
): Progress<GgufResult> {
  const plan = planExport(model, { to: 'gguf', dtype: dtype?.toUpperCase() }, source)
  const context = memoryContext(engine, signal)
  return yield* committed(sink, async function* () {
    for (const message of plan.notices) yield notice(message)
    yield* plan.write(subSink(sink, ''), context)
    const bytes = sink.written(GGUF_FILE)
    if (typeof bytes === 'string')
      throw new UsageError(
        `${bytes}: a sink of paths cannot be read back here. Use a MemorySink, or exportModel in Node.`,
      )
    const written = await openGgufSource(memorySource(bytes, GGUF_FILE))
    try {
      yield* verifyExport(context, plan, written)
    } finally {
      await written.close()
    }
    return { file: GGUF_FILE, dtype: plan.dtype, bytes: bytes.byteLength }
  })
}
