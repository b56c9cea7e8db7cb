// What is done to each half-block, for what it takes of several processes (plans.ts).
import { inScope } from '../allocate/sensitivity.ts'
import type { Architecture } from '../model/architecture.ts'
import { expertCount, groupSize, type HalfBlock, narrows } from '../model/half-block.ts'
import type { ResolvedOptions } from '../options.ts'
import type { Plan } from '../plan.ts'

/** What is done to a half-block at the root. */
export interface HalfPlan {
  readonly half: HalfBlock
  /** Experts of a mixture that stay, each of which is cut and repaired as an FFN; or else 0. */
  readonly experts: number
  /** Columns of its output layer that stay. */
  readonly kept: number
  readonly cuts: boolean
  /** There is a gap to make up for: to the dense stream, which goes beside, or of a mixture to what it was. */
  readonly dense: boolean
  readonly aligns: boolean
  readonly rotates: boolean
  readonly eliminates: boolean
}

/** Those that are cut or repaired, as `pruneHalf` has them. */
export function halfPlans(
  a: Architecture,
  { widths, layers }: Pick<Plan, 'widths' | 'layers'>,
  o: ResolvedOptions,
): HalfPlan[] {
  const found: HalfPlan[] = []
  for (const half of a.halves) {
    const after = widths.after[layers.after.indexOf(half.layer)]
    if (!after) continue
    const cuts = narrows(half, after)
    const dense = o.target === 'dense' && o.alpha > 0 && found.length > 0
    if (!cuts && !dense) continue
    if (half.kind === 'ffn' && half.experts) {
      const [experts, kept] = [after.experts ?? expertCount(half), after.ffn]
      const cuts = kept < half.output.in
      const eliminates = cuts && o.score === 'eliminate'
      found.push({ half, experts, kept, cuts, dense: true, aligns: false, rotates: false, eliminates })
      continue
    }
    const perHead = half.kind === 'attention' ? (after.kvHeads ?? half.kvHeads) * groupSize(half) : 0
    const kept = half.kind === 'ffn' ? after.ffn : perHead * after.value
    const rotates = cuts && half.kind === 'attention' && o.vo === 'rotate'
    const eliminates = cuts && !rotates && o.score === 'eliminate'
    const aligns = dense && o.inputs === 'aligned'
    found.push({ half, experts: 0, kept, cuts, dense, aligns, rotates, eliminates })
  }
  return found
}

/** Those whose width is measured. */
export const measuredHalves = (a: Architecture, { scope }: ResolvedOptions) =>
  a.halves.filter(half => inScope(half, scope))
