// Systems in float64 on an NVIDIA card, by cuSOLVER and cuBLAS, where a trial at first use finds it right and faster than the host's way, which
// may have the card's products in float32 (float32-products.ts): cards for games have a 64th of float64's rate. What is small, what the card
// has no room for, and all where its libraries are missing, is the host's.

import { kindOf, type Library, type Linalg, type Timed } from '../engine/linalg.ts'
import type { EngineOptions } from '../engine/options.ts'
import type { Factor, RowReader } from '../linalg/cholesky.ts'
import { type Doubles, type Gemm, type Matrix, matrix } from '../linalg/matrix.ts'
import { mirrorUpper } from '../linalg/scatter.ts'
import { type Cuda, CudaError, type Operand, openCuda } from '../native/cuda.node.ts'
import type { Moved } from '../values.ts'
import { factorChecked } from './float32-products.ts'

/**
 * Rows and columns from which on a matrix goes to the card: below, the way there and back takes as long as the host. The trial's system, and its
 * right-hand sides.
 */
const SIZES = { least: 1024, trial: 2048, sides: 256 }
/** What the seconds of the card count under, and those of the trial, the host's among them. */
const [KIND, TRIAL] = ['cusolver', 'trial']

/** Undefined on other devices, and where they are not wanted or not there. */
export function cudaSolver({ device, blas }: EngineOptions): Library | undefined {
  if (device !== 'cuda' || blas === false || blas === 'none') return undefined
  try {
    const cuda = openCuda()
    return { name: cuda.name, linalg: (timed, graphs, moved) => cudaLinalg(cuda, timed, graphs, moved) }
  } catch {
    return undefined
  }
}

/** @param host for what is not the card's @param moved counts what goes over and comes back */
export function cudaLinalg(cuda: Cuda, timed: Timed, host: Linalg, moved?: Moved, sizes = SIZES): Linalg {
  const { least } = sizes
  const card = new Card(cuda, moved)
  let trial: Promise<boolean> | undefined
  const pays = () => {
    trial ??= tryCard(cuda, timed, host, sizes).then(
      ({ card, host }) => card < host,
      () => false,
    )
    return trial
  }
  return {
    ...host,
    async gemm(a, b, c, options = {}) {
      const inner = options.transA ? a.rows : a.columns
      const byHost = () => host.gemm(a, b, c, options)
      if (kindOf(c) !== 'gemm64' || Math.min(c.rows, c.columns, inner) < least || !(await pays())) return byHost()
      try {
        await timed(KIND, () => card.multiply(a as Matrix, b as Matrix, c as Matrix, inner, options))
      } catch (error) {
        if (!lacksRoom(error)) throw error
        await byHost()
      }
    },
    async factor(n, read) {
      if (n < least || !(await pays())) return host.factor(n, read)
      return factorOn(card, timed, host, n, read)
    },
  }
}

const lacksRoom = (error: unknown): boolean => error instanceof CudaError && error.lacksRoom

/** Seconds of a system on each, once both are warm. @throws where the card fails, or solves it wrongly */
async function tryCard(cuda: Cuda, timed: Timed, host: Pick<Linalg, 'gemm'>, sizes = SIZES) {
  const card = new Card(cuda)
  const counted: Timed = (_, call) => timed(TRIAL, call)
  const gemm: Gemm = (a, b, c, options) => host.gemm(a, b, c, { ...options, kind: TRIAL })
  const onCard = () => solveKnown((n, read) => factorOn(card, counted, undefined, n, read), sizes)
  const onHost = () => solveKnown((n, read) => factorChecked(gemm, gemm, n, read), sizes) // as linalg-graphs.ts
  await onCard()
  const { seconds, error } = await onCard()
  if (!(error <= TOLERANCE)) throw new Error(`a system whose solution is known comes out ${error.toPrecision(2)} off`)
  await onHost()
  return { card: seconds, host: (await onHost()).seconds }
}

/** Of the trial's system: the condition is 9, and so small is what float64 leaves of its solution. */
const [R, TOLERANCE] = [0.5, 1e-10]

/**
 * Solves for the first columns of the inverse of `r^|i−j|`, which is tridiagonal: (1 + r²) / (1 − r²) on the diagonal, 1 / (1 − r²) at its ends,
 * −r / (1 − r²) beside it (Kac, Murdock & Szegő, J. Rational Mech. Anal. 2, 1953).
 * @returns its seconds, and by how much what comes is something else
 */
async function solveKnown(factor: Linalg['factor'], { trial: n, sides }: typeof SIZES) {
  const powers = Float64Array.from({ length: n }, (_, i) => R ** i)
  const x = matrix(n, sides)
  for (let i = 0; i < sides; i++) x.data[i * (sides + 1)] = 1
  const started = performance.now()
  const made = await factor(n, (i, j, row) => row.set(powers.subarray(j - i, j - i + row.length)))
  await made?.solve(x)
  const seconds = (performance.now() - started) / 1000
  made?.drop?.()
  let error = made ? 0 : Number.POSITIVE_INFINITY
  for (let i = 0; i < n; i++)
    for (let j = 0; j < sides; j++) {
      const expected = i === j ? 1 + (i > 0 ? R * R : 0) : Math.abs(i - j) === 1 ? -R : 0
      error = Math.max(error, Math.abs(x.data[i * sides + j] - expected / (1 - R * R)))
    }
  return { seconds, error }
}

/** What is on the card: of one matrix its factor, as long as nobody drops it or wants another; all else for the time of a call. */
class Card {
  #held?: { readonly a: Matrix; readonly l: bigint }

  constructor(
    readonly cuda: Cuda,
    readonly moved?: Moved,
  ) {}

  /** @param a what is above its diagonal; row by row that is the lower half column by column @returns L, undefined where there is none */
  factor(a: Matrix): bigint | undefined {
    if (this.#held?.a === a) return this.#held.l
    if (this.#held) this.drop(this.#held.a)
    const l = this.#put(a.data)
    try {
      const last = new Float64Array(1)
      const definite = this.cuda.factor(l, a.rows)
      this.cuda.toHost(last, l + BigInt(8 * (a.data.length - 1)))
      if (definite && Number.isFinite(last[0])) {
        this.#held = { a, l }
        return l
      }
    } finally {
      if (this.#held?.l !== l) this.cuda.free(l)
    }
    return undefined
  }

  drop(a: Matrix): void {
    if (this.#held?.a !== a) return
    const { l } = this.#held
    this.#held = undefined
    this.cuda.free(l)
  }

  solve(l: bigint, n: number, b: Matrix): void {
    this.#with([b.data], at => {
      this.cuda.solve(l, n, at, b.columns)
      this.get(b.data, at)
    })
  }

  /** Row by row a matrix is its transpose column by column: Cᵀ ← op(B)ᵀ op(A)ᵀ. */
  multiply(a: Matrix, b: Matrix, c: Matrix, k: number, options: Parameters<Gemm>[3] = {}): void {
    const { transA = false, transB = false, alpha = 1, accumulate } = options
    this.#with([a.data, b.data, c.data], (atA, atB, atC) => {
      const [left, right]: Operand[] = [
        [atB, b.columns, transB],
        [atA, a.columns, transA],
      ]
      this.cuda.multiply(c.columns, c.rows, k, alpha, left, right, accumulate ? 1 : 0, atC)
      this.get(c.data, atC)
    })
  }

  get(to: Doubles, from: bigint): void {
    this.cuda.toHost(to, from)
    if (this.moved) this.moved.fromDevice += to.byteLength
  }

  #put(from: Doubles): bigint {
    const at = this.cuda.allocate(from.byteLength)
    try {
      this.cuda.toCard(at, from)
    } catch (error) {
      this.cuda.free(at)
      throw error
    }
    if (this.moved) this.moved.toDevice += from.byteLength
    return at
  }

  #with(arrays: readonly Doubles[], call: (...at: bigint[]) => void): void {
    const there: bigint[] = []
    try {
      for (const array of arrays) there.push(this.#put(array))
      call(...there)
    } finally {
      for (const at of there) this.cuda.free(at)
    }
  }
}

/** @param host takes over where the card has no room */
async function factorOn(
  card: Card,
  timed: Timed,
  host: Pick<Linalg, 'factor'> | undefined,
  n: number,
  read: RowReader,
): Promise<Factor | undefined> {
  const a = matrix(n, n)
  for (let i = 0; i < n; i++) read(i, i, a.data.subarray(i * (n + 1), (i + 1) * n))
  let byHost: Factor | undefined
  /** Calls with the factor on the card, or once that has no room, with the host's. @returns undefined where there is none */
  const by = async <T>(onCard: (l: bigint) => T, onHost: (factor: Factor) => T | Promise<T>) => {
    if (!byHost)
      try {
        return await timed(KIND, () => {
          const l = card.factor(a)
          return l === undefined ? undefined : onCard(l)
        })
      } catch (error) {
        card.drop(a)
        if (!host || !lacksRoom(error)) throw error
        byHost = await host.factor(n, (i, j, row) => row.set(a.data.subarray(i * n + j, i * n + j + row.length)))
      }
    return byHost && onHost(byHost)
  }
  const made = await by(
    () => true,
    () => true,
  )
  if (!made) return undefined
  /** Brings [n, n] here. */
  const fetched = (l: bigint): Matrix => {
    const here = matrix(n, n)
    card.get(here.data, l)
    card.drop(a)
    return here
  }
  return {
    async solve(b) {
      if (b.columns > 0)
        await by(
          l => card.solve(l, n, b),
          factor => factor.solve(b),
        )
    },
    async invert() {
      const inverse = await by(
        l => {
          if (!card.cuda.invert(l, n)) throw new Error('cuSOLVER finds a zero on the diagonal of a Cholesky factor.')
          const here = fetched(l)
          mirrorUpper(here.data, n)
          return here
        },
        factor => factor.invert(),
      )
      return inverse!
    },
    upper: () => byHost?.upper() ?? fetched(card.factor(a)!),
    drop: () => card.drop(a),
  }
}
