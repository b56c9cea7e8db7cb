// Every request to the Hub, ours and the library's: token, time limits, retries, and errors that say what to do.
// Source of statuses and headers: huggingface_hub 2.4.0, utils/_http.py (hf_raise_for_status).
import { HubError, UsageError } from '../base/errors.ts'
import { VERSION } from '../base/version.ts'

export interface Server {
  /** URL of the Hub, without a slash at its end. */
  readonly endpoint: string
  readonly token?: string
  /** The variable or file that the token is from. */
  readonly tokenSource?: string
  /** Milliseconds without an answer, or without a byte of it, after which a connection counts as dead. */
  readonly timeout: number
}

export type RepoType = 'model' | 'dataset'

export interface SendInit extends RequestInit {
  /** Is told which fraction of the body, a Blob, has gone out. */
  readonly onSent?: (fraction: number) => void
}

export type Send = (url: URL, init: SendInit) => Promise<Response>

export interface Access extends Server {
  /** What the user calls the model or data set, for messages. */
  readonly name: string
  /** @default 'model' */
  readonly type?: RepoType
  /** `org/name`. */
  readonly id: string
  /** A local path was looked for first. */
  readonly local?: boolean
  /** Asked by a page, whose user has no variables and no cache: messages say what to do there. */
  readonly inPage?: boolean
  /** @default `fetch`, which tells nothing of what has gone out */
  readonly send?: Send
  readonly signal?: AbortSignal
}

const ATTEMPTS = 4
const FIRST_PAUSE_MS = 250
/** The server is overloaded or its gateway lost it: the same request may succeed. */
const PASSING = new Set([429, 500, 502, 503, 504])
/** Most bytes of a listing: the Hub sends 1,000 files of some 500 bytes at a time; JSON takes up to 50 times as much */
const LISTING_BYTES = 8 * 2 ** 20
/** Most bytes of a refusal, which is a line or a page. */
const REFUSAL_BYTES = 2 ** 16
/** Longest piece of a refusal that a message repeats. */
const MAX_TOLD = 400
/** Milliseconds for an answer that is read whole: listings come in seconds, and in this time even over some 10 kB/s. */
const ANSWER_MS = 120_000
/** The connection broke. A host that cannot be found or refuses does so the next time too. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

/**
 * A `fetch` whose response is always `ok`. The token goes to the Hub alone, not to the stores that it refers to, and is
 * set here, as the library accepts none but those of huggingface.co. A GET without a signal has the time limit.
 * @throws HubError, or the reason of an aborted signal
 */
export function hubFetch(access: Access): typeof fetch {
  const { name, endpoint, token, timeout, signal, send = fetch } = access
  return async (input, init = {}) => {
    // Neither quoted nor in a cause: addresses of the stores are signed.
    const noUrl = () => new HubError(name, `${endpoint} refers to an address that is no URL.`)
    if (!URL.canParse(String(input))) throw noUrl()
    const url = new URL(String(input))
    const { method = 'GET' } = init
    const headers = new Headers(init.headers)
    if (!access.inPage) headers.set('User-Agent', `fasp/${VERSION}`) // a browser sends its own
    if (url.origin === new URL(endpoint).origin) {
      if (token) headers.set('Authorization', `Bearer ${token}`)
      else headers.delete('Authorization')
    }
    const repeatable = method === 'GET' || method === 'PUT'
    for (let attempt = 1; ; attempt++) {
      const last = !repeatable || attempt === ATTEMPTS
      const late = new AbortController()
      const limited = method === 'GET' && !init.signal
      const timer = limited ? setTimeout(() => late.abort(timeoutError()), timeout) : undefined
      const signals = [signal, init.signal, late.signal].filter(one => one != null)
      try {
        const response = await send(url, { ...init, headers, signal: AbortSignal.any(signals) })
        if (response.ok) return response
        if (last || !PASSING.has(response.status)) throw await refusal(response, access)
        await response.body?.cancel()
      } catch (error) {
        signal?.throwIfAborted()
        init.signal?.throwIfAborted()
        if (error instanceof HubError) throw error
        if (errorCode(error) === 'ERR_INVALID_URL') throw noUrl()
        if (last || !BROKEN.has(errorCode(error))) throw unreachable(error, access)
      } finally {
        clearTimeout(timer)
      }
      await pause(attempt, signal)
    }
  }
}

/** `hubFetch` for answers that are read whole, of at most `most` bytes. */
export function wholeFetch(access: Access, most = LISTING_BYTES): typeof fetch {
  const streamed = hubFetch(access)
  return async (input, init) => {
    const response = await streamed(input, init)
    return new Response(await readWhole(response, most, access), response)
  }
}

/**
 * The body of an answer, decompressed.
 * @throws HubError where it has more than `most` bytes, stands still for the time limit, or takes more than `ANSWER_MS`
 */
async function readWhole({ body }: Response, most: number, access: Access): Promise<Uint8Array<ArrayBuffer> | null> {
  if (!body) return null
  const { name, endpoint, timeout } = access
  const reader = body.getReader()
  const end = performance.now() + ANSWER_MS
  let bytes = new Uint8Array(2 ** 16)
  let length = 0
  let problem: HubError | undefined
  const stop = (why: HubError) => {
    problem = why
    return reader.cancel().catch(() => {}) // ends the loop
  }
  const late = () => stop(unreachable(timeoutError(), access))
  let timer = setTimeout(late, timeout)
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (problem) throw problem
      if (done) return bytes.subarray(0, length)
      clearTimeout(timer)
      timer = setTimeout(late, timeout)
      const needed = length + value.length
      if (needed > most)
        await stop(
          new HubError(name, `${endpoint} answers with more than ${most / 2 ** 20} MiB.${endpointHint(access)}`),
        )
      else if (performance.now() > end)
        await stop(new HubError(name, `${endpoint} has not ended an answer in ${ANSWER_MS / 1000} s. Try again later.`))
      else {
        if (needed > bytes.length) bytes = enlarged(bytes, 2 * needed)
        bytes.set(value, length)
        length = needed
      }
    }
  } finally {
    clearTimeout(timer)
  }
}

function enlarged(bytes: Uint8Array, length: number): Uint8Array<ArrayBuffer> {
  const more = new Uint8Array(length)
  more.set(bytes)
  return more
}

const timeoutError = () => new DOMException('no answer', 'TimeoutError')

/** Waits longer after each attempt. */
export async function pause(attempt: number, signal?: AbortSignal): Promise<void> {
  await new Promise(resolve => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** (attempt - 1)))
  signal?.throwIfAborted()
}

const errorCode = (error: unknown): string => {
  const { cause, code } = error as { cause?: { code?: string }; code?: string }
  return cause?.code ?? code ?? ''
}

/** What went wrong beneath `fetch`, whose own message says nothing. */
export function failure(error: unknown): string {
  const { cause, message } = error as Error
  return cause instanceof Error ? cause.message || errorCode(error) : message
}

/** Of a field of a page: nothing where it is empty. @throws UsageError */
export const fieldToken = (text = ''): Pick<Server, 'token' | 'tokenSource'> =>
  text.trim() ? checkedToken(text.trim(), 'the field') : {}

/** Where an answer is not the Hub's. */
export const endpointHint = ({ inPage }: Access): string => (inPage ? '' : ' Check HF_ENDPOINT.')

/** What a failed connection says. */
export const unreachable = (error: unknown, { name, local, endpoint, timeout, inPage }: Access): HubError => {
  const late = (error as Error).name === 'TimeoutError'
  const why = late ? `no answer within ${timeout / 1000} s` : failure(error)
  const problem = local
    ? `there is no such file or folder, and ${endpoint} cannot be reached`
    : `cannot reach ${endpoint}`
  const other = inPage ? '' : ', and HF_ENDPOINT if you set it'
  const hint = `Check the ${local ? 'path, the ' : ''}connection${other}.`
  return new HubError(name, `${problem} (${why}). ${hint}`, { cause: error })
}

/** Page of the repository. */
export const repoUrl = ({ endpoint, type, id }: Access): string =>
  `${endpoint}/${type === 'dataset' ? 'datasets/' : ''}${id}`

/** What to do to have a token. */
export const LOGIN =
  'log in with "hf auth login", or set HF_TOKEN to a token from https://huggingface.co/settings/tokens'
/** The same in a page. */
const GIVE_TOKEN = 'give a token, from https://huggingface.co/settings/tokens'

/** A token of other characters would be quoted by what sets the header. @throws UsageError */
export function checkedToken(
  token: string,
  tokenSource: string,
  login = GIVE_TOKEN,
): Pick<Server, 'token' | 'tokenSource'> {
  if (/^[\x21-\x7e]+$/.test(token)) return { token, tokenSource }
  throw new UsageError(
    `${tokenSource} holds no token: a token is one line of letters, digits and signs, without a blank. ` +
      `To get another, ${login}.`,
  )
}

export const loginOf = ({ inPage }: Access): string => (inPage ? GIVE_TOKEN : LOGIN)

async function refusal(response: Response, access: Access): Promise<HubError> {
  const { name, type = 'model', local, endpoint, token, tokenSource } = access
  const { status, headers } = response
  const login = loginOf(access)
  const code = headers.get('X-Error-Code') ?? undefined
  const body = await readWhole(response, REFUSAL_BYTES, access).catch(() => null)
  const message = headers.get('X-Error-Message') ?? jsonError(body) ?? `status ${status}`
  const told = repeated(message, access).replace(/\.$/, '')
  const error = (problem: string) => new HubError(name, problem, { status, reason: code })
  if (code === 'GatedRepo') {
    const then = token ? `with the account of the token in ${tokenSource}` : `then ${login}`
    return error(`is gated. Ask for access at ${repoUrl(access)}, ${then}.`)
  }
  if (code === 'RevisionNotFound') return error('has no such branch, tag or commit on the Hub. Check the part after @.')
  if (code === 'EntryNotFound') return error(`lacks a file that the Hub had listed (${told}). Try again.`)
  if (status === 401 && token && code !== 'RepoNotFound')
    return error(`${endpoint} does not accept the token in ${tokenSource} (${told}). To get another, ${login}.`)
  if (status === 401 || status === 404) {
    const hidden = token ? `the token in ${tokenSource} may not see it` : `it is private: ${login}`
    const nowhere = local ? `there is no such file or folder, and no such ${type}` : `there is no such ${type}`
    return error(`${nowhere} at ${endpoint}. Check the name; if it is right, ${hidden}.`)
  }
  if (status === 403) {
    const rights = token
      ? `Give the token in ${tokenSource} the right to do this`
      : `For the right to do this, ${login}`
    return error(`${endpoint} forbids it (${told}). ${rights}.`)
  }
  if (status === 429) return error(`${endpoint} asks for fewer requests (${told}). Wait some minutes, then try again.`)
  if (status >= 500) return error(`${endpoint} has trouble (${told}). Try again later.`)
  return error(`${endpoint} refuses the request (status ${status}: ${told}).`)
}

/** What a server says, for a message: not too long, and without the token where it repeats what it was sent. */
export const repeated = (text: string, { token }: Access): string =>
  (token ? text.replaceAll(token, '…') : text).slice(0, MAX_TOLD)

function jsonError(body: Uint8Array | null): string | undefined {
  try {
    const { error, message } = JSON.parse(new TextDecoder().decode(body ?? undefined))
    return [error, message].find(text => typeof text === 'string')
  } catch {
    return undefined
  }
}
