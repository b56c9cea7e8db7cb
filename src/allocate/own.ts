// How much to cut where, by a function of the user's: `fasp({ allocate })` of method.ts.
import { UsageError } from '../errors.ts'
import type { Architecture, Widths } from '../model/architecture.ts'
import type { WidthOptions } from './uniform.ts'

/** The widths that each layer keeps: neurons, and value channels of each KV head. */
export type Allocate = (
  a: Architecture,
  options: Pick<WidthOptions, 'sparsity'>,
) => readonly Widths[] | Promise<readonly Widths[]>

/** @throws UsageError where a layer has none, or one that it cannot keep */
export async function ownWidths(
  allocate: Allocate,
  a: Architecture,
  { sparsity, scope, layout }: WidthOptions & { readonly layout: string },
): Promise<readonly Widths[]> {
  const widths = await allocate(a, { sparsity })
  const within = (n: number, low: number, high: number) => Number.isInteger(n) && n >= low && n <= high
  const fits = ({ ffn, value }: Widths) =>
    within(ffn, 1, a.ffnWidth) &&
    within(value, scope === 'ffn' ? a.headSize : 1, a.headSize) &&
    (layout !== 'stock' || ffn === widths[0].ffn)
  if (!Array.isArray(widths) || widths.length !== a.layers || !widths.every(fits))
    throw new UsageError(
      `allocate must return { ffn, value } for each of ${a.layers} layers: 1 to ${a.ffnWidth} neurons (in layout stock as many in all), ` +
        `1 to ${a.headSize} value channels (with scope ffn all). Mend the function, or use another scope or layout.`,
    )
  return widths.map(({ ffn, value }) => ({ ffn, value }))
}
