// Answers of the Hub on this machine (hub-server.ts), and the ways in which they go wrong.
import type { IncomingMessage, ServerResponse } from 'node:http'

type Headers = Readonly<Record<string, string>>

export interface Answer {
  readonly status: number
  readonly body: Buffer
  readonly headers: Headers
}

/** What goes wrong with one answer. */
export interface Fault {
  /** Instead of doing what was asked for. */
  readonly answer?: Answer
  /** Milliseconds before the answer. */
  readonly delay?: number
  /** The connection breaks after so many bytes of the body. */
  readonly cutAt?: number
  /** Nothing more comes after so many bytes of the body. */
  readonly stallAt?: number
  /** The body comes a byte at a time, with so many milliseconds between them. */
  readonly trickle?: number
  /** One bit of the body is wrong. */
  readonly damaged?: boolean
  /** The whole file comes, whatever was asked for. */
  readonly noRanges?: boolean
}

export const answer = (status: number, body: Buffer | string = '', headers: Headers = {}): Answer => ({
  status,
  body: Buffer.from(body as string),
  headers,
})

const JSON_TYPE = { 'Content-Type': 'application/json; charset=utf-8' }

export const json = (value: unknown, headers?: Headers): Answer =>
  answer(200, JSON.stringify(value), { ...JSON_TYPE, ...headers })

export const refuse = (status: number, error: string, headers?: Headers): Answer =>
  answer(status, JSON.stringify({ error }), { ...JSON_TYPE, ...headers })

/** A file, or the part of it that `range` asks for. */
export function part(bytes: Buffer, range: string | undefined, headers: Headers): Answer {
  const [, first, last] = /^bytes=(\d+)-(\d*)$/.exec(range ?? '') ?? []
  if (first === undefined) return answer(200, bytes, { 'Accept-Ranges': 'bytes', ...headers })
  const end = last ? Math.min(Number(last) + 1, bytes.length) : bytes.length
  if (Number(first) >= bytes.length) return answer(416, '', { 'Content-Range': `bytes */${bytes.length}` })
  const contentRange = `bytes ${first}-${end - 1}/${bytes.length}`
  return answer(206, bytes.subarray(Number(first), end), { 'Content-Range': contentRange, ...headers })
}

/** Sends an answer, spoiled as `fault` says. */
export function send(request: IncomingMessage, response: ServerResponse, reply: Answer, fault: Fault = {}): void {
  const { status, body, headers } = reply
  const middle = body.length >> 1
  const sent = fault.damaged ? Buffer.from(body.map((byte, i) => (i === middle ? byte ^ 1 : byte))) : body
  response.writeHead(status, { 'Content-Length': String(body.length), ...headers })
  if (request.method === 'HEAD') {
    response.end()
    return
  }
  if (fault.trickle !== undefined && fault.cutAt === undefined) {
    let at = 0
    const timer = setInterval(
      () => (at < sent.length ? response.write(sent.subarray(at, ++at)) : response.end()),
      fault.trickle,
    )
    response.on('close', () => clearInterval(timer))
    return
  }
  const end = fault.cutAt ?? fault.stallAt
  if (end === undefined || end >= sent.length) {
    response.end(sent)
    return
  }
  response.write(sent.subarray(0, end), () => {
    if (fault.cutAt !== undefined) setTimeout(() => response.destroy(), 20) // after the bytes have gone out
  })
}
