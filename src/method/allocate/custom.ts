// How much to cut where, by the user's function: `plain({ allocate })` of method.ts.
import { UsageError } from '../../base/errors.ts'
import { type Architecture, fullWidths, layersOf } from '../../model/architecture.ts'
import type { Widths } from '../../model/half-block.ts'
import type { WidthOptions } from './uniform.ts'

/** The neurons, and the value channels of each KV head, that each layer keeps. */
export type Allocate = (of: {
  readonly layers: number
  readonly full: Pick<Widths, 'ffn' | 'value'>
  readonly sparsity: number
}) => readonly Widths[] | Promise<readonly Widths[]>

/** @throws UsageError for widths that do not fit */
export async function ownWidths(
  allocate: Allocate,
  a: Architecture,
  { sparsity, scope, layout }: WidthOptions & { readonly layout: string },
): Promise<readonly Widths[]> {
  const [layers, { ffn, value }] = [layersOf(a), fullWidths(a)]
  const widths = await allocate({ layers, full: { ffn, value }, sparsity })
  const within = (n: number, low: number, high: number) => Number.isInteger(n) && n >= low && n <= high
  const fits = (of: Widths) =>
    within(of.ffn, 1, ffn) &&
    (layout !== 'stock' || of.ffn === widths[0].ffn) &&
    within(of.value, scope === 'ffn' ? value : 1, value)
  if (!Array.isArray(widths) || widths.length !== layers || !widths.every(fits))
    throw new UsageError(
      `allocate must return { ffn, value } for each of ${layers} layers: 1 to ${ffn} neurons (in layout stock as ` +
        `many in all), 1 to ${value} value channels (with scope ffn all). Mend the function, or use another scope or ` +
        'layout.',
    )
  return widths.map(of => ({ ffn: of.ffn, value: of.value }))
}
