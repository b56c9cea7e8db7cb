// The targets of `fasp export`, by name: a new one is one line here.
import { baseName } from '../base/display.ts'
import { didYouMean, UsageError } from '../base/errors.ts'
import type { Model } from '../model/model.ts'
import type { ResolvedOptions } from '../options/options.ts'
import type { Plan } from '../options/plan.ts'
import { gguf } from './gguf/file.ts'
import { huggingface, padded } from './huggingface/export.ts'
import { ONNX_DTYPES, type OnnxDtype } from './onnx/dtypes.ts'
import { exportOnnx, onnxBytes } from './onnx/export.ts'
import type { ExportPlan, Target } from './target.ts'

/** For transformers.js. Its files are read back by ONNX Runtime, and not by our own reader. */
const onnx: Target = {
  dtypes: ONNX_DTYPES.map(dtype => dtype.toUpperCase()),
  plan(model, dtype) {
    const dtypes = dtype === undefined ? undefined : [dtype.toLowerCase() as OnnxDtype]
    return {
      dtype: dtype ?? 'FP32, Q8',
      bytes: onnxBytes(model, dtypes),
      notices: [],
      write: (sink, context) => exportOnnx(model, sink, { ...context, dtypes }),
    }
  },
}

export const TARGETS = { gguf, onnx, padded, huggingface } satisfies Record<string, Target>

export type TargetName = keyof typeof TARGETS

export interface ExportRequest {
  readonly to: TargetName
  /** Element type of most weights, one of the target's `dtypes`. @default as the source */
  readonly dtype?: string
}

/** @throws UsageError for an unknown target or type */
export function targetOf({ to, dtype }: ExportRequest): Target {
  const target: Target | undefined = Object.hasOwn(TARGETS, to) ? TARGETS[to] : undefined
  if (!target)
    throw new UsageError(
      `target "${to}" is unknown; there are ${Object.keys(TARGETS).join(', ')}.${didYouMean(to, Object.keys(TARGETS))}`,
    )
  if (dtype !== undefined && !target.dtypes.includes(dtype)) {
    const allowed = target.dtypes.join(', ').toLowerCase()
    throw new UsageError(`${to} cannot be written in ${dtype.toLowerCase()}; its types are ${allowed}.`)
  }
  return target
}

/**
 * What an export will write, before any weight is read.
 * @param source what the default type is taken from: the model before it was pruned
 * @throws UsageError as `targetOf` @throws UnsupportedModelError where the model cannot go there
 */
export function planExport(model: Model, request: ExportRequest, source = model): ExportPlan {
  const target = targetOf(request)
  return target.plan(model, request.dtype ?? target.dtypeFor?.(source))
}

/** What a plan will write, without its weights: exports of it can be planned. */
export const plannedModel = (
  { checkpoint }: Model,
  { architecture, tensors, grams, widths }: Pick<Plan, 'architecture' | 'tensors' | 'grams' | 'widths'>,
  options: ResolvedOptions,
): Model => ({
  architecture,
  checkpoint: {
    ...checkpoint,
    tensors: { ...checkpoint.tensors, tensors: new Map(tensors.map(info => [info.name, info])) },
    statistics: { ...checkpoint.tensors, tensors: new Map(grams.map(info => [info.name, info])) },
    recipe: { source: { name: baseName(checkpoint.name), hubId: checkpoint.card?.hubId }, options, widths },
  },
})
