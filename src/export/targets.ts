// The targets of `fasp export`, by name: a new one is one line here.
import { UsageError } from '../errors.ts'
import type { Model } from '../model/model.ts'
import { gguf } from '../write/gguf.ts'
import { huggingface, padded } from '../write/huggingface.ts'
import type { ExportPlan, Target } from '../write/target.ts'

export const TARGETS = { gguf, padded, huggingface } satisfies Record<string, Target>

export type TargetName = keyof typeof TARGETS

export interface ExportRequest {
  readonly to: TargetName
  /** Element type of most weights, one of the target's `dtypes`. @default as the source */
  readonly dtype?: string
}

/**
 * What an export will write, before any weight is read.
 * @param source what the default type is taken from: the model before it was pruned
 * @throws UsageError for an unknown target or type @throws UnsupportedModelError where the model cannot go there
 */
export function planExport(model: Model, { to, dtype }: ExportRequest, source = model): ExportPlan {
  const target: Target | undefined = Object.hasOwn(TARGETS, to) ? TARGETS[to] : undefined
  if (!target) throw new UsageError(`target "${to}" is unknown; there are ${Object.keys(TARGETS).join(', ')}.`)
  if (dtype !== undefined && !target.dtypes.includes(dtype)) {
    const allowed = target.dtypes.join(', ').toLowerCase()
    throw new UsageError(`${to} cannot be written in ${dtype.toLowerCase()}; its types are ${allowed}.`)
  }
  return target.plan(model, dtype ?? target.dtypeFor?.(source))
}
