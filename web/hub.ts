// Models of the Hub, fetched into files of the browser, in the worker that plans. Nothing is asked before the user does, and only of the hosts
// that the page's policy names.

import { memorySource } from '../src/base/bytes.ts'
import { FormatError, HubError } from '../src/base/errors.ts'
import { isJsonObject } from '../src/base/json.ts'
import { isSideFile } from '../src/checkpoint/huggingface.ts'
import { weightFiles } from '../src/checkpoint/weights.ts'
import { asHub, DEFAULT_REVISION, damaged, type Listing, listRepo, type RemoteFile } from '../src/hub/listing.ts'
import { hubReference } from '../src/hub/reference.ts'
import { type Access, fieldToken, hubFetch, repoUrl, wholeFetch } from '../src/hub/request.ts'
import type { Answer, Ask, HubModel, HubPart } from '../src/page/protocol.ts'
import type { Checksum } from './checksum.ts'
import type { JobContext } from './serve.ts'

/** Address of the Hub, set where the page is built. */
declare const FASP_HUB: string

const TIMEOUT_MS = 60_000
const MOST_FOUND = 8
/** Progress is told this often. */
const INTERVAL_MS = 100
/** An index of shards has some 100 bytes a tensor. */
const MAX_INDEX_BYTES = 64 * 2 ** 20
/** Parts of a model that is split; one alone is none. */
const SPLIT = /-\d{5}-of-\d{5}\.gguf$/i

/** Loaded with the first file. */
const checksums = () => import('./checksum.ts')

interface Asked {
  readonly token?: string
}

export const accessOf = (id: string, { token }: Asked, signal: AbortSignal): Access => ({
  ...{ name: id, id, endpoint: FASP_HUB, ...fieldToken(token), timeout: TIMEOUT_MS, inPage: true, signal },
})

/** Models whose names have these words, those first that are fetched most. @throws HubError */
export async function search(asked: Ask<'search'>, { signal }: JobContext): Promise<Answer<'search'>> {
  const { words } = asked
  const access = accessOf(words, asked, signal)
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

/** What of a repository can be opened: its folder, and each GGUF file. @throws HubError, FormatError where there is none */
export async function look(asked: Ask<'look'>, { signal }: JobContext): Promise<Answer<'look'>> {
  const reference = hubReference(asked.id.trim())
  if (!reference)
    throw new HubError(asked.id, 'is no name of a model. It is like org/name, as the address of its page ends.')
  const { id, revision = DEFAULT_REVISION } = reference
  const access = accessOf(id, asked, signal)
  const listing = await listRepo(id, revision, access)
  const part = (name: string, files: readonly string[]): HubPart => {
    const found = files.map(path => listing.files.get(path)!)
    const bytes = found.reduce((sum, { size }) => sum + size, 0)
    return { name, bytes, files: found }
  }
  const folder = await folderFiles(listing, access)
  const ggufs = [...listing.files.keys()].filter(path => /\.gguf$/i.test(path) && !SPLIT.test(path))
  const parts = [...(folder ? [part('', folder)] : []), ...ggufs.map(path => part(path, [path]))]
  if (parts.length === 0)
    throw new FormatError(id, 'has neither config.json beside weights nor a .gguf file, so there is nothing to open')
  return { id, commit: listing.commit, parts }
}

/** What the reader of folders reads; undefined where there are no weights with a config. */
async function folderFiles({ commit, files }: Listing, access: Access): Promise<string[] | undefined> {
  const names = new Set([...files.keys()].filter(path => !/[\\/:]/.test(path)))
  if (!names.has('config.json')) return undefined
  const open = async (index: string) => {
    const answer = await wholeFetch(access, MAX_INDEX_BYTES)(addressOf(access, commit, index))
    const bytes = new Uint8Array(await answer.arrayBuffer())
    const checksum = (await checksums()).startChecksum(files.get(index)!)
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

/** Files of a part, held by the browser: on disk where they are large. @throws HubError */
export async function fetchPart(asked: Ask<'fetch'>, { tell, signal }: JobContext): Promise<Answer<'fetch'>> {
  const { id, commit, part } = asked
  const access = accessOf(id, asked, signal)
  tell({ type: 'phase', phase: 'download', total: part.bytes, unit: 'bytes' })
  let done = 0
  let told = 0
  const { startChecksum } = await checksums()
  const counted = ({ size, path }: RemoteFile, { update }: Checksum) => {
    let length = 0
    return new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
      transform(chunk, controller) {
        length += chunk.length
        done += chunk.length
        if (length > size) throw new HubError(id, `${path} is longer than the ${size} bytes that the Hub lists.`)
        update(chunk)
        controller.enqueue(chunk)
        if (performance.now() - told < INTERVAL_MS) return
        told = performance.now()
        tell({ type: 'progress', done })
      },
    })
  }
  const picked = []
  for (const file of part.files) {
    const { path, size } = file
    const checksum = startChecksum(file)
    const { body } = await hubFetch(access)(addressOf(access, commit, path), { signal })
    const blob = await new Response(body?.pipeThrough(counted(file, checksum))).blob().catch(error => {
      signal.throwIfAborted()
      throw error instanceof HubError ? error : new HubError(id, `the connection broke in ${path}. Fetch it again.`)
    })
    if (blob.size !== size) throw new HubError(id, `${path} ended after ${blob.size} of ${size} bytes. Fetch it again.`)
    if (!checksum.correct()) throw damaged(id, file)
    const name = path.replace(/^.*\//, '')
    const folder = part.name === '' ? `${id.replace(/^.*\//, '')}/` : ''
    picked.push({ path: `${folder}${name}`, file: new File([blob], name) })
  }
  tell({ type: 'progress', done })
  return picked
}
