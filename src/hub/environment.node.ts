// Where the Hub is, where its cache is, and whose token we have: the variables of Python's huggingface_hub, read alike,
// so that both share one cache and one login. Source: huggingface_hub 2.4.0, constants.py and utils/_auth.py.
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { UsageError } from '../base/errors.ts'
import { checkedToken, LOGIN, type Server } from './request.ts'

export interface HubEnvironment extends Server {
  /** Folder of the cache. */
  readonly cache: string
  /** No requests at all. */
  readonly offline: boolean
  /** Snapshots link to blobs. */
  readonly symlinks: boolean
}

type Variables = Readonly<Record<string, string | undefined>>

const ENDPOINT = 'https://huggingface.co'
const TIMEOUT_SECONDS = 10

/** @throws UsageError where a variable or the token has no usable value */
export async function hubEnvironment(env: Variables = process.env): Promise<HubEnvironment> {
  const path = (name: string, otherwise: string) => expand(env[name] || otherwise, env)
  const home = path('HF_HOME', join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'huggingface'))
  const endpoint = (env.HF_ENDPOINT || ENDPOINT).replace(/\/+$/, '')
  const { protocol, username, password, search } = URL.canParse(endpoint) ? new URL(endpoint) : ({} as Partial<URL>)
  if (!/^https?:$/.test(protocol ?? '') || username || password || search) {
    const shown = endpoint.replace(/^.*@|\?.*$/gs, '…') // neither a password nor a key
    throw new UsageError(
      `HF_ENDPOINT is "${shown}"; it must be a URL such as ${ENDPOINT}, with no user or query in it.`,
    )
  }
  const timeout = Number(env.HF_HUB_DOWNLOAD_TIMEOUT || TIMEOUT_SECONDS)
  if (!(timeout > 0))
    throw new UsageError(`HF_HUB_DOWNLOAD_TIMEOUT is "${env.HF_HUB_DOWNLOAD_TIMEOUT}"; it must be a number of seconds.`)
  return {
    endpoint,
    cache: path('HF_HUB_CACHE', env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    ...(await findToken(env, path('HF_TOKEN_PATH', join(home, 'token')))),
    offline: isTrue(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE),
    timeout: timeout * 1000,
    symlinks: !isTrue(env.HF_HUB_DISABLE_SYMLINKS),
  }
}

async function findToken(env: Variables, file: string): Promise<{ token?: string; tokenSource?: string }> {
  for (const name of ['HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN']) {
    const token = env[name]?.trim()
    if (token) return checkedToken(token, name, LOGIN)
  }
  const token = (await readFile(file, 'utf8').catch(() => '')).trim() // nobody has logged in
  return token ? checkedToken(token, file, LOGIN) : {}
}

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '')

/** `~` and `$NAME`, as `os.path.expanduser` and `expandvars` replace them. */
const expand = (path: string, env: Variables): string =>
  path
    .replace(/^~(?=[/\\]|$)/, homedir())
    .replace(/\$(?:(\w+)|\{(\w+)\})/g, (all, plain, braced) => env[plain ?? braced] ?? all)
