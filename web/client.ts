// The page's side of the workers: one promise for each call.
import type { Answer, Ask, CallName, Reply, Request, Told } from '../src/page/protocol.ts'

export class CallError extends Error {
  /** @param stopped by the page itself @param ours whether the message was written for users */
  constructor(
    message: string,
    readonly stopped: boolean,
    readonly ours: boolean,
  ) {
    super(message)
  }
}

interface Waiting {
  resolve(answer: Answer): void
  reject(error: CallError): void
  readonly onTold?: (told: Told) => void
}

export interface CallOptions {
  readonly onTold?: (told: Told) => void
  readonly signal?: AbortSignal
}

export type Call = <N extends CallName>(name: N, ask: Ask<N>, options?: CallOptions) => Promise<Answer<N>>

/** Calls of one worker. */
function callsOf(worker: Worker): Call {
  const waiting = new Map<number, Waiting>()
  let last = 0
  const say = (request: Request) => worker.postMessage(request)
  worker.onmessage = ({ data }: MessageEvent<Reply>) => {
    const call = waiting.get(data.id)
    if (data.type === 'told') return call?.onTold?.(data.told)
    waiting.delete(data.id)
    if (data.type === 'done') call?.resolve(data.answer)
    else call?.reject(new CallError(data.message, data.stopped, data.ours))
  }
  worker.onerror = ({ message }) => {
    for (const call of waiting.values())
      call.reject(new CallError(`A worker of this page ended: ${message || 'no reason is known'}.`, false, false))
    waiting.clear()
  }
  return (name, ask, { onTold, signal } = {}) =>
    new Promise((resolve, reject) => {
      const id = ++last
      waiting.set(id, { resolve: resolve as Waiting['resolve'], reject, onTold })
      say({ id, type: 'call', name, ask })
      signal?.addEventListener('abort', () => say({ id, type: 'stop' }), { once: true })
    })
}

/** What the worker that plans does. */
const PLANNING: readonly CallName[] = ['plan', 'search', 'look', 'fetch', 'state', 'discard']

/** Starts the worker that plans; the one that computes when it is first asked, and anew with another model. */
export function startWorkers(): Call {
  const planning = callsOf(new Worker(new URL('./planning.ts', import.meta.url), { type: 'module' }))
  let model: Ask<'open'> | undefined
  let computing: { readonly worker: Worker; readonly call: Promise<Call> } | undefined
  async function start(): Promise<Call> {
    const worker = new Worker(new URL('./computing.ts', import.meta.url), { type: 'module' })
    const call = callsOf(worker)
    const ready = call('open', model!).then(() => call)
    computing = { worker, call: ready }
    return await ready
  }
  return async (name, ask, options) => {
    if (PLANNING.includes(name)) return await planning(name, ask, options)
    if (name !== 'open') return await (await (computing?.call ?? start()))(name, ask, options)
    const answer = await planning(name, ask, options)
    computing?.worker.terminate()
    computing = undefined
    model = ask as Ask<'open'>
    return answer
  }
}
