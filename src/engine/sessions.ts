// Sessions made from graphs on first use and kept by key. Each has threads of its own, and widths that differ from
// layer to layer need new sessions, so that only the sessions used last are kept.
import type { Graph } from '../formats/onnx.ts'
import type { GraphRuntime, GraphSession } from './graph-runtime.ts'

/** More than a half-block uses. On 64 cores they have 2000 threads. OpenVINO's sessions are counted apart. */
const MOST = 32

interface Kept {
  readonly session: Promise<GraphSession>
  readonly uses: Set<Promise<unknown>>
}

export class Sessions {
  readonly #kept = new Map<string, Kept>() // the last used comes last
  readonly #closing = new Set<Promise<void>>()
  #closed = false

  constructor(readonly graphs: GraphRuntime) {}

  /** Calls with the session of `key`, which stays open until the call ends. @throws Error once closed */
  async use<T>(key: string, build: () => Graph, call: (session: GraphSession) => Promise<T>): Promise<T> {
    if (this.#closed) throw new Error(`The engine is closed; "${key}" came too late.`)
    const kept = this.#kept.get(key) ?? this.#open(key, build)
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    const using = kept.session.then(call)
    kept.uses.add(using)
    try {
      return await using
    } finally {
      kept.uses.delete(using)
    }
  }

  #open(key: string, build: () => Graph): Kept {
    const unused = [...this.#kept].find(([, { uses }]) => uses.size === 0)
    if (unused && this.#kept.size >= MOST) {
      this.#kept.delete(unused[0])
      const closing = unused[1].session.then(session => session.close()).catch(() => {}) // only its memory is lost
      this.#closing.add(closing)
      void closing.then(() => this.#closing.delete(closing))
    }
    const session = this.graphs.open(build())
    session.catch(() => this.#kept.delete(key)) // nothing to release
    return { session, uses: new Set() }
  }

  /** Releases each session when its last use has ended. */
  async close(): Promise<void> {
    this.#closed = true
    const kept = [...this.#kept.values()]
    this.#kept.clear()
    await Promise.allSettled(kept.flatMap(({ uses }) => [...uses]))
    const opened = await Promise.allSettled(kept.map(({ session }) => session))
    try {
      await this.graphs.close?.() // in a page the device goes with the last session
    } finally {
      await Promise.all(opened.map(result => result.status === 'fulfilled' && result.value.close()))
      await Promise.all(this.#closing)
    }
  }
}
