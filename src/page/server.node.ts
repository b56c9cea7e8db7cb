// `fasp ui`: the page, and what computes for it, on this machine alone. Its files are static; all else is POST /api
// with { name, ask }, answered by a line of JSON for each thing said (protocol.ts). A page may ask that this server
// sent, opened at the address that it printed.
//   address    it listens on 127.0.0.1, and answers under that name and localhost alone (DNS rebinding)
//   origin     of each call it must be this server's own: other pages of the same browser are refused
//   token      in the fragment of the address, which no browser sends; the page sends it with each call
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { extname, join } from 'node:path'
import { FormatError, UsageError } from '../base/errors.ts'
import { describeValue, isJsonObject } from '../base/json.ts'
import { type CallContext, type LocalCall, type LocalOptions, localVerbs, textOf } from './calls.node.ts'
import { failed } from './facts.ts'
import { HEADERS } from './headers.ts'
import { type JobOptions, Jobs } from './jobs.node.ts'
import type { Answer, CallName, PrunedFacts, Said, StoppedOrder } from './protocol.ts'

export interface UiOptions extends JobOptions, LocalOptions {
  /** Of this machine. @default a free one */
  readonly port?: number
  /** Folder of the built page. */
  readonly page: string
}

export interface Ui extends AsyncDisposable {
  /** With the token. */
  readonly url: string
  /** Jobs that may go on. */
  readonly stopped: readonly StoppedOrder[]
  /** Whether a job is at work. */
  readonly running: () => boolean
}

const HOST = '127.0.0.1'
/** A text to measure on is the longest that a page says. */
const MAX_BODY_BYTES = 4e6
const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.txt': 'text/plain; charset=utf-8',
}

/** Why a request gets no answer. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

/** @throws UsageError for a port that is not to be had; FormatError where the page is not there */
export async function openUi({ port = 0, page, ...options }: UiOptions): Promise<Ui> {
  const files = pageFiles(page)
  const jobs = new Jobs(options)
  const calls = callsOf(jobs, options)
  const token = randomBytes(32).toString('base64url')
  const { stopped } = await jobs.state()
  let hosts: readonly string[] = []
  const server = createServer((request, response) => {
    for (const [name, value] of Object.entries(HEADERS)) response.setHeader(name, value)
    response.setHeader('Cache-Control', 'no-store')
    void answer(request, response).catch(error => {
      const { status, message } = error instanceof Refusal ? error : new Refusal(500, String(error))
      if (response.headersSent) return response.destroy()
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify({ message }))
    })
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, headers, url = '' } = request
    if (!hosts.includes(headers.host ?? '')) throw new Refusal(403, 'this server answers on this machine alone.')
    const [path] = url.split('?')
    if (path === '/api') {
      if (method !== 'POST') throw new Refusal(405, 'calls are POST.')
      if (headers.origin !== `http://${headers.host}`)
        throw new Refusal(403, 'only the page of this server may call it.')
      if (!isSame(headers.authorization ?? '', `Bearer ${token}`))
        throw new Refusal(401, 'this page has no token of this server. Open the address that fasp ui printed.')
      return call(parsed(await bodyOf(request)), response)
    }
    const file = files.get(path === '/' ? '/index.html' : path)
    if (!file) throw new Refusal(404, 'there is no such file.')
    if (method !== 'GET' && method !== 'HEAD') throw new Refusal(405, 'files are read.')
    response.writeHead(200, { 'Content-Type': file.type, 'Content-Length': file.bytes.byteLength })
    response.end(method === 'HEAD' ? undefined : file.bytes)
  }

  async function call({ name, ask }: { name: string; ask: unknown }, response: ServerResponse): Promise<void> {
    if (!Object.hasOwn(calls, name)) throw new Refusal(404, `there is no call ${describeValue(name)}.`)
    const gone = new AbortController()
    response.on('close', () => gone.abort())
    const say = (said: Said) => response.write(`${JSON.stringify(said)}\n`)
    response.writeHead(200, { 'Content-Type': 'application/x-ndjson' })
    response.flushHeaders()
    const context: CallContext = { tell: told => say({ type: 'told', told }), signal: gone.signal }
    try {
      say({ type: 'done', answer: await (calls[name as keyof typeof calls] as LocalCall<CallName>)(ask, context) })
    } catch (error) {
      say(error instanceof Ended ? error.how : failed(error, gone.signal))
    }
    response.end()
  }

  await listen()
  const { port: got } = server.address() as AddressInfo
  hosts = [HOST, 'localhost'].map(name => `${name}:${got}`)
  return {
    url: `http://${HOST}:${got}/#${token}`,
    stopped,
    running: () => jobs.running,
    async [Symbol.asyncDispose]() {
      server.close()
      server.closeAllConnections()
      await jobs.close()
    },
  }

  function listen(): Promise<void> {
    const advice = 'Choose another --port, or leave it out for a free one.'
    const REASONS: Readonly<Record<string, string>> = { EADDRINUSE: 'is in use', EACCES: 'is not for this user' }
    return new Promise((resolve, reject) => {
      server.once('error', (cause: NodeJS.ErrnoException) =>
        reject(
          new UsageError(`port ${port} ${REASONS[cause.code ?? ''] ?? `fails (${cause.message})`}. ${advice}`, {
            cause,
          }),
        ),
      )
      server.listen(port, HOST, resolve)
    })
  }
}

/** A job that has failed while it was followed: it says so in its own words. */
class Ended extends Error {
  constructor(readonly how: Said) {
    super()
  }
}

function callsOf(jobs: Jobs, options: UiOptions | (JobOptions & LocalOptions)) {
  const { orderFrom, ...verbs } = localVerbs(jobs, options)
  let before: Promise<unknown> = Promise.resolve()
  /** One after the other, as in a worker of the page. */
  const inTurn =
    <N extends CallName>(verb: LocalCall<N>): LocalCall<N> =>
    (ask, context) => {
      const turn = before.then(() => {
        context.signal.throwIfAborted()
        return verb(ask, context)
      })
      before = turn.catch(() => {})
      return turn
    }
  const follow: LocalCall<'follow'> = (_, { tell, signal }) =>
    new Promise<PrunedFacts>((resolve, reject) => {
      const leave = jobs.follow(said => {
        if (said.type === 'told') tell(said.told)
        else if (said.type === 'done') resolve(said.answer as Answer<'follow'>)
        else reject(new Ended(said))
      })
      signal.addEventListener('abort', leave, { once: true })
    })
  return {
    open: inTurn(verbs.open),
    plan: inTurn(verbs.plan),
    measure: inTurn(verbs.measure),
    write: inTurn(verbs.write),
    report: inTurn(verbs.report),
    push: inTurn(verbs.push),
    state: () => jobs.state(),
    follow,
    async prune(ask, context) {
      await jobs.begin(await orderFrom(ask))
      return follow(null, context)
    },
    async resume(id) {
      await jobs.resume(textOf(id, 'id'))
      return jobs.state()
    },
    async discard(id) {
      await jobs.discard(textOf(id, 'id'))
      return jobs.state()
    },
    async stop() {
      jobs.stop()
      return null
    },
  } satisfies { readonly [N in CallName]?: LocalCall<N> }
}

/** In a time that says nothing of where they differ. */
function isSame(given: string, wanted: string): boolean {
  const [a, b] = [given, wanted].map(text => createHash('sha256').update(text).digest())
  return timingSafeEqual(a, b)
}

/** A body that is too large is read to its end: closing the connection on it would take the answer with it. */
async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request) {
    size += part.byteLength
    if (size <= MAX_BODY_BYTES) parts.push(part)
  }
  if (size > MAX_BODY_BYTES) throw new Refusal(413, `a call has ${MAX_BODY_BYTES / 1e6} MB at most.`)
  return Buffer.concat(parts)
}

function parsed(body: Buffer): { readonly name: string; readonly ask: unknown } {
  try {
    const call: unknown = JSON.parse(body.toString())
    if (isJsonObject(call) && typeof call.name === 'string') return { name: call.name, ask: call.ask }
  } catch {}
  throw new Refusal(400, 'a call is JSON: { "name": …, "ask": … }.')
}

/** All files of the page, which are few and small; what asks for another gets none. */
function pageFiles(folder: string): ReadonlyMap<string, { readonly bytes: Buffer; readonly type: string }> {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
    const files = new Map(
      entries.map(({ parentPath, name }) => {
        const path = join(parentPath, name)
        const bytes = readFileSync(path)
        const type = TYPES[extname(name)] ?? 'application/octet-stream'
        return [path.slice(folder.length).replaceAll('\\', '/'), { bytes, type }] as const
      }),
    )
    if (!files.has('/index.html')) throw new Error('no index.html')
    return files
  } catch (cause) {
    throw new FormatError(folder, 'the built page is not there. Install fasp again, or build it: npm run build.', {
      cause,
    })
  }
}
