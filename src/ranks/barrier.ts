// How ranks wait for each other: a rank that has come tells the root, which then tells all. A rank at work gives a sign
// of life wherever JavaScript runs between two native calls. A rank that others wait for without a sign of life is
// named: it hangs in a native call, its process was stopped, or its machine or network is gone.
import { duration } from '../base/display.ts'
import { GroupError } from '../base/errors.ts'

/** What one rank says to another, in a byte. */
export type Word = 0 | 1
const AT_WORK: Word = 0
const HERE: Word = 1

/** Carries words, one at a time to each rank and from each, in the order in which they are sent. */
export interface Mail {
  /** @returns whether it has gone */
  send(to: number, word: Word): () => boolean
  /** @returns what has come, if something has */
  receive(from: number): () => Word | undefined
}

export interface WaitingOptions {
  /**
   * Milliseconds without a sign of life after which a rank is given up. One native call may take minutes. 0: never.
   * @default an hour
   */
  readonly timeout?: number
  /** Aborted where the run is to stop: nobody waits for others any more. */
  readonly signal?: AbortSignal
}

/** A rank that gives no sign of life: the others know it by themselves, or not at all. */
export class AbsentError extends GroupError {}

const HOUR = 3600_000
/** Milliseconds between two signs of life, at most. */
const BEAT = 15_000
/** Milliseconds between two looks at what has come. */
const PAUSE = 1
/** Milliseconds from one rank to the next: the first that misses the root says so, and ends all. */
const TURN = 5000

interface Link {
  readonly rank: number
  heard: number
  isHere: boolean
  hasGone: () => boolean
  coming?: () => Word | undefined
}

export class Waiting {
  readonly #links: readonly Link[]
  readonly #beats: ReturnType<typeof setInterval> | undefined
  readonly #timeout: number
  readonly #signal: AbortSignal | undefined

  constructor(
    readonly rank: number,
    readonly size: number,
    readonly mail: Mail,
    { timeout = HOUR, signal }: WaitingOptions = {},
  ) {
    this.#signal = signal
    const others = rank === 0 ? Array.from({ length: size - 1 }, (_, i) => i + 1) : [0]
    this.#links = others.map(rank => ({ rank, heard: 0, isHere: false, hasGone: () => true }))
    this.#timeout = timeout + TURN * rank
    if (timeout === 0) this.#timeout = Number.POSITIVE_INFINITY
    else this.#beats = setInterval(() => this.#beat(), Math.min(timeout / 4, BEAT))
    // Of a run that ends before it has met anybody nothing stays. Browsers have numbers here.
    const beats: { unref?(): void } | undefined = this.#beats
    beats?.unref?.()
  }

  /** Comes back when all ranks are there. @throws AbsentError */
  async meet(): Promise<void> {
    if (this.rank > 0) await this.#say(this.#links[0])
    await this.until(() => this.#links.every(({ isHere }) => isHere))
    for (const link of this.#links) link.isHere = false
    if (this.rank === 0) for (const link of this.#links) await this.#say(link)
  }

  /** @param spin for what gets on by being asked @throws AbsentError */
  async until(isDone: () => boolean, spin = false): Promise<void> {
    const started = performance.now()
    for (const link of this.#links) link.heard = started
    while (spin && performance.now() < started + PAUSE) if (isDone()) return
    for (let looked = 0; ; ) {
      const now = performance.now()
      if (!spin || now > looked + PAUSE) {
        looked = now
        this.#hear(now)
        this.#checkAll(now)
      }
      if (isDone()) return
      this.#signal?.throwIfAborted()
      await new Promise(resolve => (spin ? setImmediate(resolve) : setTimeout(resolve, PAUSE)))
    }
  }

  /** No sign of life after this. */
  close(): void {
    clearInterval(this.#beats)
  }

  #hear(now: number): void {
    for (const link of this.#links) {
      link.coming ??= this.mail.receive(link.rank)
      const word = link.coming()
      if (word === undefined) continue
      link.coming = undefined
      link.heard = now
      if (word === HERE) link.isHere = true
    }
  }

  #checkAll(now: number): void {
    const silent = this.#links.filter(({ isHere, heard }) => !isHere && now - heard > this.#timeout)
    if (silent.length === 0) return
    const [first, ...more] = silent.map(({ rank }) => rank)
    const nor = more.length > 0 ? `, nor of ${more.map(rank => `rank ${rank}`).join(', ')}` : ''
    const problem = `no sign of life for ${duration(this.#timeout / 1000)}${nor}, and others wait for it.`
    throw new AbsentError(
      first,
      this.size,
      `${problem} It hangs, was stopped, is cut off, or needs a longer --mpi-timeout.`,
    )
  }

  #beat(): void {
    for (const link of this.#links) if (link.hasGone()) link.hasGone = this.mail.send(link.rank, AT_WORK)
  }

  async #say(link: Link): Promise<void> {
    await this.until(() => link.hasGone())
    link.hasGone = this.mail.send(link.rank, HERE)
    await this.until(() => link.hasGone())
  }
}
