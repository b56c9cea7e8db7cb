// Solves for the outputs of wide layers, over the ranks: each output is solved for by itself. The root decides, and calls the others, who wait
// for it (`Group.onCall`). They are sent the matrix, of which the upper half is enough, and factor it while the root does: a factor is as large,
// and what it is made of is the engine's own. Then each gets some of the right-hand sides, and gives what it solved back. For elimination each
// solves for some rows of the inverse, and keeps them (downdates.ts). Numbers that float32 holds travel in it, which are all where nothing was
// centred.
import type { Engine } from '../engine/engine.ts'
import type { Factor, RowReader } from '../linalg/cholesky.ts'
import { type Downdate, downdate } from '../linalg/downdate.ts'
import { type Doubles, type Matrix, matrix, type Numbers } from '../linalg/matrix.ts'
import { ownRows, type SharedRows, type Step, stepsOver, takeStep } from './downdates.ts'
import type { Group } from './group.ts'
import { bytesOf, dealt, narrowest, sendMatrix } from './matrices.ts'

/**
 * Right-hand sides of which a rank takes a multiple: of fewer all of the factor passes for little work, and products that are narrower than half
 * of it are rounded elsewhere (MLAS adds up more at once), so that last bits would depend on the number of ranks more often than they do.
 */
const OUTPUTS = 64
/** FLOPs in float64 in the time of a byte between machines: of 1 TFLOP/s over 10 Gb Ethernet, 900. */
const FLOPS_PER_BYTE = 1000

/** What goes over the ranks. */
export interface SharedSolve {
  /** Of the matrix [n, n]. */
  readonly n: number
  /** Right-hand sides. */
  readonly outputs: number
  /** Bytes of an element of either: 4 where float32 holds all. */
  readonly bytes: 4 | 8
}

/** Whether solving on all ranks saves the root more than sending takes. @param each as `GroupOptions.outputs` */
export function pays({ n, outputs, bytes }: SharedSolve, ranks: number, each?: number): boolean {
  if (outputs % (each ?? OUTPUTS) > 0) return false
  if (each !== undefined) return outputs > each
  const others = 1 - 1 / Math.min(ranks, outputs / OUTPUTS)
  const sent = (bytes * n ** 2) / 2 + (bytes + 8) * n * outputs * others
  return 2 * n ** 2 * outputs * others > FLOPS_PER_BYTE * sent
}

/**
 * As `pays`, of an elimination of n columns. Alone: n³ to invert, and about as many FLOPs in all rounds; together each n³ / 3 to factor, and a
 * part of 3 n³. What is sent: half of the matrix, and all rows as they go, in float64.
 */
export function paysToEliminate(n: number, ranks: number, each?: number): boolean {
  if (n % (each ?? OUTPUTS) > 0) return false
  if (each !== undefined) return n > each
  return n ** 3 * (5 / 3 - 3 / Math.min(ranks, n / OUTPUTS)) > FLOPS_PER_BYTE * 12 * n ** 2
}

/** Of so many right-hand sides, a multiple of `each`, the first of `rank`: its own end where the next one's begin. */
export function firstOutput(rank: number, ranks: number, outputs: number, each = OUTPUTS): number {
  return each * Math.floor((rank * outputs) / each / ranks)
}

/** What the root calls for: to factor, or to solve with what was factored. */
type Asked =
  | { readonly n: number; readonly outputs: number }
  | { readonly columns: number; readonly bytes: 4 | 8 }
  | { readonly rows: SharedRows }
  | Step

/**
 * The engine whose solves for many right-hand sides, those that `factor` was told of, and whose downdates go over the ranks where that pays. All
 * ranks make one.
 */
export function solvesOver(engine: Engine, group: Group): Engine {
  const { linalg } = engine
  const { rank, size, outputs: each } = group
  if (size === 1) return engine

  const endsOf = (count: number) => Array.from({ length: size + 1 }, (_, rank) => firstOutput(rank, size, count, each))

  /** On all ranks. @param read at the root */
  const factorHere = async (n: number, read?: RowReader): Promise<Factor | undefined> => {
    const reads = await sendMatrix(group, n, read)
    const factor = await linalg.factor(n, reads)
    const all = await group.gather(factor !== undefined)
    if (all.every(Boolean)) return factor
    factor?.drop?.()
    return undefined // as one process: damped more
  }

  /** On all ranks. @param b at the root [n, columns]: becomes X */
  const solveHere = async (factor: Factor, n: number, columns: number, bytes: 4 | 8, b?: Matrix): Promise<void> => {
    const ends = endsOf(columns)
    const widthOf = (rank: number) => ends[rank + 1] - ends[rank]
    const lengths = ends.slice(1).map((_, rank) => n * widthOf(rank))
    const fill = (part: Numbers, to: number) => eachRow(b!, ends[to], widthOf(to), part, (row, own) => own.set(row))
    const own = await dealt(group, lengths, bytes, b && fill)
    const solved = matrix(n, widthOf(rank), Float64Array.from(own))
    if (solved.columns > 0) await factor.solve(solved)
    for (let from = 0; from < size; from++) {
      if (widthOf(from) === 0) continue
      const part = from === rank ? solved.data : new Float64Array(b ? n * widthOf(from) : 0)
      await group.move(from, 0, bytesOf(part))
      if (b) eachRow(b, ends[from], widthOf(from), part, (row, own) => row.set(own))
    }
  }

  /** On all ranks. @param read, x, c at the root */
  const downdateHere = async (rows: SharedRows, read?: RowReader, x?: Matrix, c?: () => Matrix) => {
    const factor = await factorHere(rows.n, read)
    return factor && ownRows(linalg, group, factor, { ...rows, ends: endsOf(rows.n) }, x, c)
  }

  let held: { readonly factor: Factor; readonly n: number; left: number } | undefined
  /** Before there is another, or once it is needed no more. */
  const letGo = () => {
    held?.factor.drop?.()
    held = undefined
  }
  let kept: Downdate | undefined
  const call = group.onCall<Asked>(async asked => {
    if ('step' in asked) return void (await takeStep(kept!, asked))
    kept = undefined // of what went before
    if ('rows' in asked) {
      letGo()
      kept = await downdateHere(asked.rows)
    } else if ('n' in asked) {
      letGo()
      const factor = await factorHere(asked.n)
      if (factor) held = { factor, n: asked.n, left: asked.outputs }
    } else {
      await solveHere(held!.factor, held!.n, asked.columns, asked.bytes)
      held!.left -= asked.columns
      if (held!.left <= 0) letGo()
    }
  })
  const shared: Engine['linalg'] = {
    ...linalg,
    async factor(n, read, outputs = 0) {
      const first = new Float64Array(n)
      if (outputs > 0) read(0, 0, first)
      if (!pays({ n, outputs, bytes: narrowest(first.subarray(1)) }, size, each)) return linalg.factor(n, read)
      await call({ n, outputs })
      const factor = await factorHere(n, read)
      return (
        factor && {
          ...factor,
          async solve(b) {
            const bytes = narrowest(b.data)
            await call({ columns: b.columns, bytes })
            await solveHere(factor, n, b.columns, bytes, b)
          },
        }
      )
    },
    async downdate(n, read, x, c) {
      const rows = { n, columns: x.columns, bytes: narrowest(x.data), adds: c !== undefined } as const
      if (!paysToEliminate(n, size, each)) return downdate(linalg, n, read, x, c)
      await call({ rows })
      const own = await downdateHere(rows, read, x, c)
      return own && stepsOver(own, call)
    },
  }
  return { ...engine, linalg: shared }
}

/** The rows of so many columns of `b` from `first` on, each with its row of `part` [rows, width]. */
function eachRow(b: Matrix, first: number, width: number, part: Numbers, of: (row: Doubles, own: Numbers) => void) {
  for (let i = 0; i < b.rows; i++)
    of(b.data.subarray(i * b.columns + first, i * b.columns + first + width), part.subarray(i * width, (i + 1) * width))
}
