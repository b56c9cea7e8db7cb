// A worker's side: calls of the page one after the other, each with a signal that a message aborts.
import { failed } from '../src/page/facts.ts'
import type { Answer, Ask, CallName, Reply, Request, Told } from '../src/page/protocol.ts'

export interface JobContext {
  readonly tell: (told: Told) => void
  readonly signal: AbortSignal
}

/** What is done on a call. */
export type Job<N extends CallName> = (ask: Ask<N>, context: JobContext) => Promise<Answer<N>>

type AnyJob = (ask: Ask, context: JobContext) => Promise<Answer>

const say = (reply: Reply) => globalThis.postMessage(reply)

/** @param jobs those that this worker does */
export function serve(jobs: { readonly [N in CallName]?: Job<N> }): void {
  const stops = new Map<number, AbortController>()
  let before: Promise<void> = Promise.resolve()
  async function work(id: number, name: CallName, ask: Ask, { signal }: AbortController): Promise<void> {
    try {
      signal.throwIfAborted()
      const tell: JobContext['tell'] = told => say({ id, type: 'told', told })
      say({ id, type: 'done', answer: await (jobs[name] as AnyJob)(ask, { tell, signal }) })
    } catch (error) {
      say({ id, ...failed(error, signal) })
    } finally {
      stops.delete(id)
    }
  }
  globalThis.onmessage = ({ data }: MessageEvent<Request>) => {
    const { id } = data
    if (data.type === 'stop') return stops.get(id)?.abort()
    const stop = new AbortController()
    stops.set(id, stop)
    before = before.then(() => work(id, data.name, data.ask, stop))
  }
}
