// What a repository on the Hub holds at a revision: the commit, and its files with their checksums.
import { FaspError, HubError } from '../errors.ts'
import { describeValue } from '../formats/json.ts'
import { type Access, hubFetch, unreachable } from './request.ts'

/** A file of a repository. */
export interface RemoteFile {
  readonly path: string
  readonly size: number
  /** Checksum: SHA-256 (64 digits) of a large file, or Git's SHA-1 (40 digits) of a small one. */
  readonly etag: string
}

export interface Listing {
  readonly commit: string
  readonly private: boolean
  readonly files: ReadonlyMap<string, RemoteFile>
}

export const DEFAULT_REVISION = 'main'

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision)

/** @throws HubError */
export function listRepo(id: string, revision: string, access: Access): Promise<Listing> {
  const { type: kind = 'model' } = access
  return asHub(access, async () => {
    const { datasetInfo, listFiles, modelInfo } = await import('@huggingface/hub')
    const common = { hubUrl: access.endpoint, fetch: hubFetch(access) }
    const wanted = { ...common, name: id, revision, additionalFields: ['sha' as const] }
    const info = await (kind === 'dataset' ? datasetInfo(wanted) : modelInfo(wanted))
    if (!isCommit(info.sha)) throw new Error(`the commit is ${describeValue(info.sha)}`)
    const files = new Map<string, RemoteFile>()
    for await (const { type, path, size, oid, lfs } of listFiles({
      ...common,
      repo: { type: kind, name: id },
      revision: info.sha,
      recursive: true,
    })) {
      if (type !== 'file') continue
      const etag = lfs?.oid ?? oid ?? ''
      if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(etag) || !Number.isSafeInteger(size) || size < 0)
        throw new Error(
          `the checksum of ${describeValue(path)} is ${describeValue(etag)}, its size ${describeValue(size)}`,
        )
      files.set(path, { path, size, etag })
    }
    return { commit: info.sha, private: info.private, files }
  })
}

/** Runs calls of @huggingface/hub; what they say of answers that are none of the Hub's becomes a HubError. */
export async function asHub<T>(access: Access, call: () => Promise<T>): Promise<T> {
  const { name, endpoint, signal } = access
  try {
    return await call()
  } catch (error) {
    signal?.throwIfAborted()
    if (error instanceof FaspError) throw error
    const { message, name: kind, cause } = error as Error
    if (kind === 'TimeoutError' || cause) throw unreachable(error, access)
    if (error instanceof Error && 'statusCode' in error)
      throw new HubError(name, `${endpoint} refuses it: ${message}`, { cause: error }) // as part of an answer that is ok
    throw new HubError(name, `${endpoint} does not answer as the Hub does (${message}). Check HF_ENDPOINT.`, {
      cause: error,
    })
  }
}
