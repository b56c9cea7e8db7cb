// Files of a page to the Hub.
import type { Progress } from '../base/events.ts'
import { VERSION } from '../base/version.ts'
import { accessOf, type HubOptions } from './models.web.ts'
import { type PushOptions, type PushResult, pushFiles, repository } from './push.ts'
import type { Send, SendInit } from './request.ts'

export interface PushInPageOptions extends PushOptions, HubOptions {}

export async function* pushEvents(
  files: ReadonlyMap<string, Blob>,
  id: string,
  options: PushInPageOptions,
): Progress<PushResult> {
  const access = { ...accessOf(repository(id.trim()), options), send }
  const sent = new Map([...files].map(([path, content]) => [path, { size: content.size, content }]))
  return yield* pushFiles(access, sent, `Upload ${access.id} with fasp ${VERSION}`, options)
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
