// The page's side of `fasp ui` (src/page/server.node.ts): each call is a request, answered by lines of what is said.
import type { Answer, CallName, Said } from '../src/page/protocol.ts'
import { type Call, CallError } from './client.ts'

const KEY = 'fasp token'
const TOKEN = /^#([\w-]{43})$/

/** Of the address; or what the address had before a link in the page changed it. */
function tokenOf(): string {
  const [, token] = TOKEN.exec(location.hash) ?? []
  if (token) sessionStorage.setItem(KEY, token)
  return token ?? sessionStorage.getItem(KEY) ?? ''
}

/** What goes on in the server when the page no longer listens; to abort such a call is to cancel the job. */
const OF_JOBS: readonly CallName[] = ['prune', 'follow']

/** Calls of the server. A tab that is given the address of another server asks that one. */
export function reachServer(): Call {
  const token = tokenOf()
  addEventListener('hashchange', () => tokenOf() === token || location.reload())
  const ask = (name: CallName, ask: unknown, signal?: AbortSignal) =>
    fetch('./api', {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify({ name, ask }),
      signal,
    })
  return async (name, asked, { onTold, signal } = {}) => {
    const ofJob = OF_JOBS.includes(name)
    if (ofJob) signal?.addEventListener('abort', () => void ask('stop', null).catch(() => {}), { once: true })
    try {
      const answer = await ask(name, asked, ofJob ? undefined : signal)
      if (!answer.ok) throw new CallError((await answer.json()).message, false, true)
      for await (const said of linesOf(answer.body!)) {
        if (said.type === 'told') onTold?.(said.told)
        else if (said.type === 'done') return said.answer as Answer<typeof name>
        else throw new CallError(said.message, said.stopped, said.ours)
      }
    } catch (error) {
      if (error instanceof CallError) throw error
    }
    throw new CallError(GONE, signal?.aborted ?? false, true)
  }
}

const GONE =
  'fasp ui has ended, or does not answer. Start it again and open the address that it prints: ' +
  'it offers to go on with what was stopped.'

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<Said> {
  const reader = body.pipeThrough(new TextDecoderStream() as unknown as TransformStream<Uint8Array, string>).getReader()
  let text = ''
  for (;;) {
    const { value, done } = await reader.read()
    if (done) return
    const lines = (text + value).split('\n')
    text = lines.pop()!
    for (const line of lines) yield JSON.parse(line) as Said
  }
}
