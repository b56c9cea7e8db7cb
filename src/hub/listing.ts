// What a repository on the Hub holds at a revision: the commit, and its files with their checksums.
import { FaspError, HubError } from '../base/errors.ts'
import { describeValue } from '../base/json.ts'
import { type Access, endpointHint, repeated, unreachable, wholeFetch } from './request.ts'

/** A file of a repository. */
export interface RemoteFile {
  readonly path: string
  readonly size: number
  /** Checksum: SHA-256 (64 digits) of a large file, or Git's SHA-1 (40 digits) of a small one. */
  readonly etag: string
}

/** Of a file whose checksum is not that of the listing. */
export const damaged = (name: string, { path, etag }: RemoteFile): HubError =>
  new HubError(name, `${path} arrived damaged: its checksum is not ${etag}. It was removed; try again.`)

export interface Listing {
  readonly commit: string
  readonly private: boolean
  readonly files: ReadonlyMap<string, RemoteFile>
}

export const DEFAULT_REVISION = 'main'

/** The Hub asks for fewer files in a repository: huggingface.co/docs/hub/repositories-recommendations. */
const MAX_FILES = 100_000
/** The Hub sends 1,000 files a page; a mirror may send 100. */
const MAX_PAGES = 1000

export const isCommit = (revision: unknown): revision is string =>
  typeof revision === 'string' && /^[0-9a-f]{40}$/.test(revision)

/** @param folder all that is listed @default the whole repository @throws HubError */
export function listRepo(id: string, revision: string, access: Access, folder?: string): Promise<Listing> {
  const { type: kind = 'model' } = access
  return asHub(access, async () => {
    const { datasetInfo, listFiles, modelInfo } = await import('@huggingface/hub')
    const common = { hubUrl: access.endpoint, fetch: pagedFetch(access) }
    const wanted = { ...common, name: id, revision, additionalFields: ['sha' as const] }
    const info = await (kind === 'dataset' ? datasetInfo(wanted) : modelInfo(wanted))
    if (!isCommit(info.sha)) throw new Error(`the commit is ${describeValue(info.sha)}`)
    const files = new Map<string, RemoteFile>()
    let entries = 0
    for await (const { type, path, size, oid, lfs } of listFiles({
      ...common,
      repo: { type: kind, name: id },
      revision: info.sha,
      recursive: true,
      path: folder,
    })) {
      if (++entries > MAX_FILES) throw endless(access)
      if (type !== 'file') continue
      const etag = lfs?.oid ?? oid ?? ''
      if (typeof path !== 'string') throw new Error(`the path of a file is ${describeValue(path)}`)
      if (typeof etag !== 'string' || !CHECKSUM.test(etag) || !Number.isSafeInteger(size) || size < 0)
        throw new Error(
          `the checksum of ${describeValue(path)} is ${describeValue(etag)}, its size ${describeValue(size)}`,
        )
      files.set(path, { path, size, etag })
    }
    return { commit: info.sha, private: info.private, files }
  })
}

const CHECKSUM = /^([0-9a-f]{40}|[0-9a-f]{64})$/

const endless = ({ name, endpoint }: Access): HubError =>
  new HubError(
    name,
    `the list of files at ${endpoint} has no end, or is of more than ${MAX_FILES} files. ` +
      'Check the name, and HF_ENDPOINT if you set it.',
  )

/** `wholeFetch` that follows no list in a circle. */
function pagedFetch(access: Access): typeof fetch {
  const plain = wholeFetch(access)
  const asked = new Set<string>()
  return async (input, init) => {
    const url = String(input)
    if (asked.has(url) || asked.size > MAX_PAGES) throw endless(access)
    asked.add(url)
    return plain(input, init)
  }
}

/** Runs calls of @huggingface/hub; what they say of answers that are none of the Hub's becomes a HubError. */
export async function asHub<T>(access: Access, call: () => Promise<T>): Promise<T> {
  const { name, endpoint, signal } = access
  try {
    return await call()
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof FaspError) throw error
    const { name: kind, cause } = error as Error
    const message = repeated((error as Error).message, access)
    if (kind === 'TimeoutError' || cause) throw unreachable(error, access)
    if (error instanceof Error && 'statusCode' in error)
      throw new HubError(name, `${endpoint} refuses it: ${message}`, { cause: error }) // in an answer that is ok
    throw new HubError(name, `${endpoint} does not answer as the Hub does (${message}).${endpointHint(access)}`, {
      cause: error,
    })
  }
}
