// The state of a run of several processes. The root has it (state.ts), as one process has it, so that any number of
// ranks goes on from it. The others are told what is done, and give and get their rows where the root saves or goes on.
import type { Progress } from '../base/events.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import { type FoundState, State } from './state.ts'
import { giveRows, readRows } from './state-rows.ts'
import { type Doing, done, type Held, type Saved, UNSAVED } from './steps.ts'

/** What the others are told. */
interface Told {
  readonly isSaved: boolean
  readonly manifest?: FoundState['manifest']
  readonly values: readonly (readonly [name: string, value: unknown])[]
}

/** What each rank of a group saves by. All of them call this. @param own of the root @default nothing is saved */
export async function savedByAll(group: Group, own: Saved = UNSAVED): Promise<Saved> {
  const isSaved = own instanceof State
  const found = isSaved ? own.found : undefined
  if (isSaved) own.processes = group.size
  const told = { isSaved, manifest: found?.manifest, values: [...(found?.values ?? [])] }
  const { manifest, values, ...root } = await group.decide<Told>(() => told)
  if (group.rank === 0) return own
  return root.isSaved ? new Follower(group, manifest && { manifest, values: new Map(values) }) : UNSAVED
}

/** At the root: what `work` does all ranks do, step by step. @param saved as it was given to `savedByAll` */
export async function* together<T>(saved: Saved, group: Group, work: Doing<T>): Progress<T> {
  if (!(saved instanceof State)) return yield* done(work)
  saved.group = group
  try {
    return yield* done(work)
  } finally {
    saved.group = ALONE
  }
}

class Follower implements Saved {
  #held?: Held
  #restored = false

  constructor(
    readonly group: Group,
    readonly found?: FoundState,
  ) {}

  has(name: string): boolean {
    return this.found?.values.has(name) ?? false
  }

  holds(held?: Held): void {
    this.#held = held
    this.#restored = false
  }

  async *step<T>(name: string, doing: Doing<T>): Progress<T> {
    if (this.has(name)) return this.found!.values.get(name) as T
    yield* this.restore()
    const value = yield* done(doing, name)
    const saves = await this.group.decide<boolean>(() => false)
    if (saves && this.#held) await giveRows(this.group, this.#held)
    return value
  }

  restore(): Progress<void> {
    return done(() => this.#restore())
  }

  async drop(): Promise<void> {}

  async #restore(): Promise<void> {
    if (this.#restored || !this.#held) return
    this.#restored = true
    if (!this.found) return
    const { rows, written } = this.found.manifest
    for (const [of, output] of Object.entries(this.#held.outputs ?? {}))
      await output?.resume(Object.keys(written[of] ?? {}))
    if (rows) await readRows(this.group, this.#held, rows)
  }
}
