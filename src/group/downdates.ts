// Elimination over the ranks (linalg/downdate.ts): each has some rows of the inverse, for which it has solved, and the same rows of the weights.
// In each round the root says which rows go; those who have them give them to all, and each makes up for them in its own.
import type { Linalg } from '../engine/linalg.ts'
import type { Factor } from '../linalg/cholesky.ts'
import { type Downdate, DowndatedRows } from '../linalg/downdate.ts'
import { type Doubles, type Matrix, matrix, type Numbers, rowsOf } from '../linalg/matrix.ts'
import { transposed } from '../linalg/scatter.ts'
import type { Group } from './group.ts'
import { dealt, narrowed } from './matrices.ts'

/** What the root has to share. */
export interface SharedRows {
  /** Of P [n, n]. */
  readonly n: number
  /** Of X [n, columns]. */
  readonly columns: number
  /** Of an element of X: 4 where float32 holds all. */
  readonly bytes: 4 | 8
  /** There is a C, of which P C is added to X. */
  readonly adds: boolean
}

/** On all ranks. @param ends where the rows of each end, from 0 on @param x, c at the root */
export async function ownRows(
  linalg: Linalg,
  group: Group,
  factor: Factor,
  { n, columns, bytes, adds, ends }: SharedRows & { readonly ends: readonly number[] },
  x?: Matrix,
  c?: () => Matrix,
): Promise<Downdate> {
  const first = ends[group.rank]
  const count = ends[group.rank + 1] - first
  const unit = matrix(n, count)
  for (let i = 0; i < count; i++) unit.data[(first + i) * count + i] = 1
  if (count > 0) await factor.solve(unit)
  factor.drop?.()
  const p = matrix(count, n, count > 0 ? transposed(unit.data, count) : unit.data)
  const own = matrix(count, columns)
  const lengths = ends.slice(1).map((end, to) => (end - ends[to]) * columns)
  const fill = (part: Numbers, to: number) => part.set(rowsOf(x!, ends[to], ends[to + 1]).data)
  own.data.set(await dealt(group, lengths, bytes, x && fill))
  if (adds) {
    const all = matrix(n, columns, Float64Array.from(await group.decide(() => narrowed(c!().data))))
    if (count > 0) await linalg.gemm(p, all, own, { accumulate: true })
  }
  return new DowndatedRows(linalg, p, own, first, async part => joined(await group.gather(part)))
}

/** What the root has the others do. */
export interface Step {
  readonly step: keyof Downdate
  readonly given: readonly unknown[]
}

export async function takeStep(rows: Downdate, { step, given }: Step): Promise<unknown> {
  return (rows[step] as (...given: unknown[]) => Promise<unknown>).apply(rows, [...given])
}

/** Rows that the root has, with those that the others have: each step is all ranks'. */
export function stepsOver(rows: Downdate, call: (step: Step) => Promise<void>): Downdate {
  const onAll =
    (step: keyof Downdate) =>
    async (...given: unknown[]): Promise<never> => {
      await call({ step, given })
      return (await takeStep(rows, { step, given })) as never
    }
  return { costs: onAll('costs'), remove: onAll('remove'), keep: onAll('keep') }
}

function joined(parts: readonly Doubles[]): Doubles {
  const all = new Float64Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    all.set(part, at)
    at += part.length
  }
  return all
}
