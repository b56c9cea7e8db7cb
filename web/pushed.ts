// A result to the Hub, from the worker that computes. Loaded when it is asked for.
import { finish } from '../src/base/events.ts'
import { VERSION } from '../src/base/version.ts'
import { pushFiles, repository } from '../src/hub/push.ts'
import type { Send, SendInit } from '../src/hub/request.ts'
import { passOn, pushedFacts } from '../src/page/facts.ts'
import type { PushAsk, Pushed } from '../src/page/protocol.ts'
import { accessOf } from './hub.ts'
import type { JobContext } from './serve.ts'

/** @param files by their paths in the repository @throws as `pushFiles` */
export async function pushed(
  files: ReadonlyMap<string, File>,
  name: string,
  { id, ...asked }: PushAsk,
  { tell, signal }: JobContext,
): Promise<Pushed> {
  const access = { ...accessOf(repository(id.trim()), asked, signal), send }
  const sent = new Map([...files].map(([path, file]) => [path, { size: file.size, content: file }]))
  return pushedFacts(await finish(pushFiles(access, sent, `Upload ${name} with fasp ${VERSION}`, asked), passOn(tell)))
}

/** XMLHttpRequest tells what of a body has gone out; `fetch` does not. */
const send: Send = (url, { onSent, ...init }) =>
  onSent && init.body instanceof Blob ? sendCounted(url, init, init.body, onSent) : fetch(url, init)

/** @throws Error where the connection breaks: why is not told to pages, so it may be tried again */
function sendCounted(
  url: URL,
  { method = 'PUT', headers, signal }: SendInit,
  body: Blob,
  onSent: (fraction: number) => void,
): Promise<Response> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted()
    const request = new XMLHttpRequest()
    request.open(method, url)
    for (const [name, value] of new Headers(headers)) request.setRequestHeader(name, value)
    request.responseType = 'arraybuffer'
    request.upload.onprogress = ({ loaded }) => onSent(loaded / body.size)
    request.onload = () => resolve(responseOf(request))
    request.onerror = () => reject(Object.assign(new Error('the connection broke'), { code: 'ECONNRESET' }))
    request.onabort = () => reject(signal?.reason)
    signal?.addEventListener('abort', () => request.abort(), { once: true })
    request.send(body)
  })
}

function responseOf(request: XMLHttpRequest): Response {
  const lines = request.getAllResponseHeaders().trim().split('\r\n')
  const headers = lines.filter(Boolean).map((line): [string, string] => {
    const [, name, value] = /^(.*?): (.*)$/.exec(line)!
    return [name, value]
  })
  const { status, response } = request
  return new Response(status === 204 ? null : response, { status, headers })
}
