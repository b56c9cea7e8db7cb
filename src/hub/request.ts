// Every request to the Hub, ours and those of @huggingface/hub: token, time limits, retries, and errors that say what to do.
// Source of statuses and headers: huggingface_hub 2.4.0, utils/_http.py (hf_raise_for_status).
import { HubError } from '../errors.ts'
import { VERSION } from '../version.ts'

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

export interface Access extends Server {
  /** What the user calls the model or data set, for messages. */
  readonly name: string
  /** @default 'model' */
  readonly type?: RepoType
  /** `org/name`. */
  readonly id: string
  /** A local path was looked for first. */
  readonly local?: boolean
  readonly signal?: AbortSignal
}

const ATTEMPTS = 4
const FIRST_PAUSE_MS = 250
/** The server is overloaded or its gateway lost it: the same request may succeed. */
const PASSING = new Set([429, 500, 502, 503, 504])
/** The connection broke. A host that cannot be found or refuses does so the next time too. */
const BROKEN = new Set(['ECONNRESET', 'EPIPE', 'UND_ERR_SOCKET'])

/**
 * A `fetch` whose response is always `ok`. The token goes to the Hub alone, not to the stores that it refers to; it is set here because the
 * library accepts none but those of huggingface.co. Without a signal of its own, a GET must be answered within the time limit.
 * @throws HubError, or the reason of an aborted signal
 */
export function hubFetch(access: Access): typeof fetch {
  const { endpoint, token, timeout, signal } = access
  return async (input, init = {}) => {
    const url = new URL(String(input))
    const { method = 'GET' } = init
    const headers = new Headers(init.headers)
    headers.set('User-Agent', `fasp/${VERSION}`)
    if (url.origin === new URL(endpoint).origin) {
      if (token) headers.set('Authorization', `Bearer ${token}`)
      else headers.delete('Authorization')
    }
    const repeatable = method === 'GET' || method === 'PUT'
    for (let attempt = 1; ; attempt++) {
      const last = !repeatable || attempt === ATTEMPTS
      const limit = init.signal ?? (method === 'GET' ? AbortSignal.timeout(timeout) : undefined)
      const signals = [signal, limit].filter(one => one != null)
      try {
        const response = await fetch(url, { ...init, headers, signal: AbortSignal.any(signals) })
        if (response.ok) return response
        if (last || !PASSING.has(response.status)) throw await refusal(response, access)
        await response.body?.cancel()
      } catch (error) {
        signal?.throwIfAborted()
        init.signal?.throwIfAborted()
        if (error instanceof HubError) throw error
        if (last || !BROKEN.has(errorCode(error))) throw unreachable(error, access)
      }
      await pause(attempt, signal)
    }
  }
}

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

/** What a failed connection says. */
export const unreachable = (error: unknown, { name, endpoint, timeout }: Access): HubError => {
  const late = (error as Error).name === 'TimeoutError'
  const why = late ? `no answer within ${timeout / 1000} s` : failure(error)
  return new HubError(name, `cannot reach ${endpoint} (${why}). Check the connection, and HF_ENDPOINT if you set it.`, {
    cause: error,
  })
}

/** Page of the repository. */
export const repoUrl = ({ endpoint, type, id }: Access): string =>
  `${endpoint}/${type === 'dataset' ? 'datasets/' : ''}${id}`

/** What to do to have a token. */
export const LOGIN =
  'log in with "hf auth login", or set HF_TOKEN to a token from https://huggingface.co/settings/tokens'

async function refusal(response: Response, access: Access): Promise<HubError> {
  const { name, type = 'model', local, endpoint, token, tokenSource } = access
  const { status, headers } = response
  const code = headers.get('X-Error-Code') ?? undefined
  const body = await response.text().catch(() => '')
  const told = (headers.get('X-Error-Message') ?? jsonError(body) ?? `status ${status}`).replace(/\.$/, '')
  const error = (problem: string) => new HubError(name, problem, { status, reason: code })
  if (code === 'GatedRepo') {
    const then = token ? `with the account of the token in ${tokenSource}` : `then ${LOGIN}`
    return error(`is gated. Ask for access at ${repoUrl(access)}, ${then}.`)
  }
  if (code === 'RevisionNotFound') return error('has no such branch, tag or commit on the Hub. Check the part after @.')
  if (code === 'EntryNotFound') return error(`lacks a file that the Hub had listed (${told}). Try again.`)
  if (status === 401 && token && code !== 'RepoNotFound')
    return error(`${endpoint} does not accept the token in ${tokenSource} (${told}). To get another, ${LOGIN}.`)
  if (status === 401 || status === 404) {
    const hidden = token ? `the token in ${tokenSource} may not see it` : `it is private: ${LOGIN}`
    const nowhere = local ? `there is no such file or folder, and no such ${type}` : `there is no such ${type}`
    return error(`${nowhere} at ${endpoint}. Check the name; if it is right, ${hidden}.`)
  }
  if (status === 403) {
    const rights = token
      ? `Give the token in ${tokenSource} the right to do this`
      : `For the right to do this, ${LOGIN}`
    return error(`${endpoint} forbids it (${told}). ${rights}.`)
  }
  if (status === 429) return error(`${endpoint} asks for fewer requests (${told}). Wait some minutes, then try again.`)
  if (status >= 500) return error(`${endpoint} has trouble (${told}). Try again later.`)
  return error(`${endpoint} refuses the request (status ${status}: ${told}).`)
}

function jsonError(body: string): string | undefined {
  try {
    const { error, message } = JSON.parse(body)
    return [error, message].find(text => typeof text === 'string')
  } catch {
    return undefined
  }
}
