// Writes a model for transformers.js: one ONNX file for each number format, config, tokenizer and model card. Each file
// is read back and compared before anything appears.
import { UsageError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import type { Engine } from '../../engine/engine.ts'
import { memoryContext } from '../../forward/context.ts'
import type { Model } from '../../model/model.ts'
import { type Sink, writeFile } from '../../output/sink.ts'
import { type Steps, stepsOf, UNSAVED } from '../../output/steps.ts'
import { verifyOnnx } from '../verify/verify-onnx.ts'
import { ONNX_DTYPES, ONNX_FORMATS, type OnnxDtype } from './dtypes.ts'
import { type OnnxPlan, planOnnxFile, writeOnnxFile } from './file.ts'
import { cacheBytesPerToken, type OnnxFileResult, onnxFolderFiles } from './folder.ts'

export interface OnnxOptions {
  /** What the files are read back with. */
  readonly engine: Engine
  /** Number formats, each a file. @default fp32 and q8: what transformers.js takes in Node and in browsers */
  readonly dtypes?: readonly OnnxDtype[]
  /** Weights of one file; more are external data, in files of at most this (or of one tensor). @default 2e9 */
  readonly fileBytes?: number
  readonly signal?: AbortSignal
  /** Each tensor of a file is a step. @default none is saved */
  readonly saved?: Steps
}

const DEFAULT_DTYPES: readonly OnnxDtype[] = ['fp32', 'q8']

/**
 * Writes `onnx/model.onnx` and its like with the files beside them, and commits the sink.
 * @throws UsageError for a dtype that is unknown or given twice @throws NumericError for weights that exceed float16
 * @throws OutputError where a file does not read back. After an error nothing is left
 */
export async function* exportOnnx(
  model: Model,
  sink: Sink,
  { engine, dtypes = DEFAULT_DTYPES, fileBytes, signal, saved = UNSAVED }: OnnxOptions,
): Progress<readonly OnnxFileResult[]> {
  const context = memoryContext(engine, signal)
  let finished = false
  try {
    checkDtypes(dtypes)
    const files: OnnxFileResult[] = []
    for (const dtype of dtypes) {
      const plan = planOnnxFile(model.architecture, ONNX_FORMATS[dtype], fileBytes)
      yield* writeOnnxFile(model, plan, sink, stepsOf(saved, dtype), signal)
      files.push({
        dtype,
        file: plan.file,
        bytes: bytesOf(plan),
        external: plan.layout.files.size - 1,
        cacheBytesPerToken: cacheBytesPerToken(model.architecture, dtype),
        divergence: yield* verifyOnnx(context, model, dtype, plan, sink),
      })
    }
    for (const file of onnxFolderFiles(model, files)) await writeFile(sink, file)
    await sink.commit()
    finished = true
    return files
  } finally {
    if (!finished) await sink.abort()
  }
}

/** Bytes of the ONNX files, before any weight is read. @throws UsageError as `exportOnnx` */
export function onnxBytes({ architecture }: Model, dtypes: readonly OnnxDtype[] = DEFAULT_DTYPES): number {
  checkDtypes(dtypes)
  return dtypes.reduce((sum, dtype) => sum + bytesOf(planOnnxFile(architecture, ONNX_FORMATS[dtype])), 0)
}

const bytesOf = ({ layout }: OnnxPlan): number => [...layout.files.values()].reduce((sum, n) => sum + n, 0)

function checkDtypes(dtypes: readonly string[]): void {
  const wrong = dtypes.find((dtype, i) => !Object.hasOwn(ONNX_FORMATS, dtype) || dtypes.indexOf(dtype) !== i)
  if (wrong !== undefined || dtypes.length === 0)
    throw new UsageError(
      `ONNX dtypes are "${dtypes.join(', ')}"; they must be some of ${ONNX_DTYPES.join(', ')}, each once.`,
    )
}
