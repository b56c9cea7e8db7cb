// Models of the Hub in a page: found, looked at, and fetched into files of the browser.
import { memorySource } from '../base/bytes.ts'
import { FormatError, HubError } from '../base/errors.ts'
import type { Listener } from '../base/events.ts'
import { isJsonObject } from '../base/json.ts'
import { isSideFile } from '../checkpoint/huggingface.ts'
import { withPath } from '../checkpoint/open.web.ts'
import { weightFiles } from '../checkpoint/weights.ts'
import { asHub, DEFAULT_REVISION, damaged, type Listing, listRepo, type RemoteFile } from './listing.ts'
import type { HubModel, HubOrigin, HubPart, HubRepo } from './models.ts'
import { hubReference } from './reference.ts'
import { type Access, fieldToken, hubFetch, repoUrl, wholeFetch } from './request.ts'

export interface HubOptions {
  /** Address of the Hub. @default 'https://huggingface.co' */
  readonly endpoint?: string
  /** For what is gated or private, and to push. It goes to the Hub alone. @default none */
  readonly token?: string
  readonly signal?: AbortSignal
}

export interface HubFileOptions extends HubOptions {
  /** Hashes a file as it arrives: browsers hash only what is whole in memory. */
  readonly startChecksum: (file: RemoteFile) => Checksum | Promise<Checksum>
}

export interface Checksum {
  update(bytes: Uint8Array): void
  /** Whether the file is the one that the Hub lists, once all bytes have come. */
  correct(): boolean
}

const HUB = 'https://huggingface.co'
const TIMEOUT_MS = 60_000
const MOST_FOUND = 8
/** Progress is told this often. */
const INTERVAL_MS = 100
/** An index of shards has some 100 bytes a tensor. */
const MAX_INDEX_BYTES = 64 * 2 ** 20
/** Parts of a model that is split; one alone is none. */
const SPLIT = /-\d{5}-of-\d{5}\.gguf$/i

export const accessOf = (id: string, { endpoint = HUB, token, signal }: HubOptions): Access => ({
  ...{ name: id, id, endpoint, ...fieldToken(token), timeout: TIMEOUT_MS, inPage: true, signal },
})

/**
 * Models of the Hub whose names have these words, those first that are fetched most.
 * @example
 * const [{ id, parameters }] = await searchModels('smollm2 135m')
 * @throws HubError
 */
export async function searchModels(words: string, options: HubOptions = {}): Promise<HubModel[]> {
  const access = accessOf(words, options)
  const url = new URL('/api/models', access.endpoint)
  const fields = ['downloads', 'safetensors', 'gguf'].map(field => ['expand[]', field])
  const rules = { search: words, pipeline_tag: 'text-generation', sort: 'downloads', limit: String(MOST_FOUND) }
  url.search = new URLSearchParams([...Object.entries(rules), ...fields]).toString()
  return asHub(access, async () => {
    const found: unknown = await (await wholeFetch(access)(url)).json()
    if (!Array.isArray(found)) throw new Error('no list of models')
    return found.slice(0, MOST_FOUND).flatMap(modelFrom)
  })
}

/** @param given by a server: nothing of it is known */
function modelFrom(given: unknown): HubModel[] {
  if (!isJsonObject(given) || typeof given.id !== 'string' || !hubReference(given.id)) return []
  const { id, downloads, safetensors, gguf } = given
  const total = [safetensors, gguf].map(of => (isJsonObject(of) ? of.total : undefined))
  const number = (value: unknown) => (typeof value === 'number' && value > 0 ? value : undefined)
  return [{ id, downloads: number(downloads), parameters: number(total[0]) ?? number(total[1]) }]
}

/**
 * What of a repository of the Hub opens as a model: its folder, and each GGUF file.
 * @param name as `org/name`, or `org/name@revision`
 * @throws HubError, FormatError where there is none
 */
export async function lookUpModel(name: string, options: HubFileOptions): Promise<HubRepo> {
  const reference = hubReference(name.trim())
  if (!reference)
    throw new HubError(name, 'is no name of a model. It is like org/name, as the address of its page ends.')
  const { id, revision = DEFAULT_REVISION } = reference
  const access = accessOf(id, options)
  const listing = await listRepo(id, revision, access)
  const part = (name: string, files: readonly string[]): HubPart => {
    const found = files.map(path => listing.files.get(path)!)
    const bytes = found.reduce((sum, { size }) => sum + size, 0)
    return { name, bytes, files: found }
  }
  const folder = await folderFiles(listing, access, options)
  const ggufs = [...listing.files.keys()].filter(path => /\.gguf$/i.test(path) && !SPLIT.test(path))
  const parts = [...(folder ? [part('', folder)] : []), ...ggufs.map(path => part(path, [path]))]
  if (parts.length === 0)
    throw new FormatError(id, 'has neither config.json beside weights nor a .gguf file, so there is nothing to open')
  return { id, commit: listing.commit, parts }
}

/** What the reader of folders reads; undefined where there are no weights with a config. */
async function folderFiles(
  { commit, files }: Listing,
  access: Access,
  { startChecksum }: HubFileOptions,
): Promise<string[] | undefined> {
  const names = new Set([...files.keys()].filter(path => !/[\\/:]/.test(path)))
  if (!names.has('config.json')) return undefined
  const open = async (index: string) => {
    const answer = await wholeFetch(access, MAX_INDEX_BYTES)(addressOf(access, commit, index))
    const bytes = new Uint8Array(await answer.arrayBuffer())
    const checksum = await startChecksum(files.get(index)!)
    checksum.update(bytes)
    if (!checksum.correct()) throw damaged(access.id, files.get(index)!)
    return memorySource(bytes, index)
  }
  const weights = await weightFiles({ name: access.id, files: names, open }).catch(error => {
    if (error instanceof FormatError) return undefined
    throw error
  })
  const small = [...names].filter(name => ['config.json', 'README.md', 'fasp.json'].includes(name) || isSideFile(name))
  return weights && [...small, ...weights]
}

const addressOf = (access: Access, commit: string, path: string): string =>
  `${repoUrl(access)}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`

/**
 * Fetches a part of a repository into files that `openModel` takes. The browser holds large ones on disk.
 * @example
 * const { id, commit, parts } = await lookUpModel('org/name', { startChecksum })
 * const model = await openModel(await fetchPart({ id, commit, part: parts[0] }, { startChecksum }))
 * @throws HubError
 */
export async function fetchPart(
  { id, commit, part }: HubOrigin,
  { startChecksum, onEvent = () => {}, ...options }: HubFileOptions & Listener,
): Promise<File[]> {
  const access = accessOf(id, options)
  await onEvent({ type: 'phase', phase: 'download', total: part.bytes, unit: 'bytes' })
  let done = 0
  let told = 0
  const counted = ({ size, path }: RemoteFile, checksum: Checksum) => {
    let length = 0
    return new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      async transform(chunk, controller) {
        length += chunk.length
        done += chunk.length
        if (length > size) throw new HubError(id, `${path} is longer than the ${size} bytes that the Hub lists.`)
        checksum.update(chunk)
        controller.enqueue(chunk)
        if (performance.now() - told < INTERVAL_MS) return
        told = performance.now()
        await onEvent({ type: 'progress', done })
      },
    })
  }
  const files: File[] = []
  for (const file of part.files) {
    const { path, size } = file
    const checksum = await startChecksum(file)
    const { body } = await hubFetch(access)(addressOf(access, commit, path), { signal: options.signal })
    const blob = await new Response(body?.pipeThrough(counted(file, checksum))).blob().catch(error => {
      options.signal?.throwIfAborted()
      throw error instanceof HubError ? error : new HubError(id, `the connection broke in ${path}. Fetch it again.`)
    })
    if (blob.size !== size) throw new HubError(id, `${path} ended after ${blob.size} of ${size} bytes. Fetch it again.`)
    if (!checksum.correct()) throw damaged(id, file)
    const name = path.replace(/^.*\//, '')
    const folder = part.name === '' ? `${id.replace(/^.*\//, '')}/` : ''
    files.push(withPath(new File([blob], name), `${folder}${name}`))
  }
  await onEvent({ type: 'progress', done })
  return files
}
