// From a name on the Hub to files on disk: which commit, which of its files, download of those that the cache lacks.
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { isSideFile } from '../checkpoint/huggingface.node.ts'
import { weightFiles } from '../checkpoint/weights.node.ts'
import { FormatError, HubError } from '../errors.ts'
import type { ProgressEvent } from '../events.ts'
import { attempt, checkSpace } from '../write/folder.node.ts'
import { ModelCache } from './cache.node.ts'
import { download } from './download.node.ts'
import { type HubEnvironment, hubEnvironment } from './environment.node.ts'
import { DEFAULT_REVISION, isCommit, type Listing, listModel, type RemoteFile } from './listing.ts'
import { type HubReference, hubReference } from './reference.ts'
import { type Access, hubFetch } from './request.ts'

type Progress<T> = AsyncGenerator<ProgressEvent, T>

/**
 * Where a model is on disk: `path` itself if it exists; or else the Hub's model of that name, in the Hub's cache, fetched where need be.
 * @param path folder, .gguf file, `org/name`, `org/name@revision`, `org/name/file.gguf`; with `hf:` before it never a local path
 * @throws FormatError where it is none of these; HubError; OutputError where the cache cannot be written
 */
export async function* fetchModel(path: string, { signal }: { readonly signal?: AbortSignal } = {}): Progress<string> {
  const reference = hubReference(path)
  if (!reference?.explicit) {
    const missing = await stat(path).then(
      () => undefined,
      error => error,
    )
    if (!missing) return path
    if (!reference) throw new FormatError(path, `there is no such file or folder. ${WANTED}`, { cause: missing })
  }
  const environment = await hubEnvironment()
  return yield* fetchFromHub({
    reference,
    environment,
    cache: new ModelCache(environment, reference.id),
    access: { ...environment, name: path, id: reference.id, local: !reference.explicit, signal },
  })
}

const WANTED = 'Give a Hugging Face model folder, a .gguf file, or the name of a model on the Hub (org/name).'

interface Job {
  readonly reference: HubReference
  readonly environment: HubEnvironment
  readonly cache: ModelCache
  readonly access: Access
}

async function* fetchFromHub(job: Job): Progress<string> {
  const { reference, environment, access } = job
  const { id, revision = DEFAULT_REVISION } = reference
  const cached = await findCached(job, revision)
  if (cached && (environment.offline || isCommit(revision))) return cached
  if (environment.offline)
    throw new HubError(
      access.name,
      `is not a local path, and not, or not all of it, in the cache ${environment.cache}. HF_HUB_OFFLINE forbids to fetch it.`,
    )
  let listing: Listing
  try {
    listing = await listModel(id, revision, access)
  } catch (error) {
    if (!cached || !(error instanceof HubError) || isAnswer(error.status)) throw error
    yield { type: 'notice', message: `${error.message} Using the copy in the cache, ${cached}.` }
    return cached
  }
  const local = yield* reference.file ? fetchGguf(job, reference.file, listing) : fetchFolder(job, listing)
  await job.cache.note(revision, listing.commit) // last: what a branch points to is complete
  return local
}

/** Whether the Hub has spoken: the copy in the cache may be one that we must not use any more. */
const isAnswer = (status = 500): boolean => status < 500 && status !== 429

/** The files of the revision, if all that we need are in the cache. */
async function findCached({ reference, cache }: Job, revision: string): Promise<string | undefined> {
  const commit = await cache.commit(revision)
  if (commit === undefined) return undefined
  const folder = cache.snapshot(commit)
  if (reference.file !== undefined) {
    const file = join(folder, reference.file)
    return stat(file).then(
      () => file,
      () => undefined,
    )
  }
  const names = await cache.names(commit)
  if (!names.has('config.json') || !(names.has('tokenizer.json') || names.has('vocab.json'))) return undefined
  return weightFiles(folder, names).then(
    () => folder,
    () => undefined,
  )
}

async function* fetchGguf(job: Job, path: string, listing: Listing): Progress<string> {
  const file = listing.files.get(path)
  if (!file) throw new FormatError(job.access.name, `the repository has no file ${path}.${ggufHint(job, listing)}`)
  yield* fetchFiles(job, listing.commit, [file])
  return join(job.cache.snapshot(listing.commit), path)
}

const ggufHint = ({ reference }: Job, { files }: Listing): string => {
  const found = [...files.keys()].filter(path => /\.gguf$/i.test(path)).map(path => `${reference.id}/${path}`)
  return found.length > 0 ? ` It has .gguf files; give one of them: ${found.join(', ')}` : ''
}

/** What the reader of folders reads: config, tokenizer, licence, card, and one kind of weights. */
async function* fetchFolder(job: Job, listing: Listing): Progress<string> {
  const { commit, files } = listing
  const folder = job.cache.snapshot(commit)
  const names = new Set([...files.keys()].filter(path => !/[\\/:]/.test(path)))
  if (!names.has('config.json'))
    throw new FormatError(
      job.access.name,
      `the repository has no config.json, so it is no transformers model.${ggufHint(job, listing)}`,
    )
  const ours = names.has('fasp.json') // what we wrote may need its code, too
  const small = [...names].filter(
    name =>
      ['config.json', 'README.md', 'fasp.json'].includes(name) || isSideFile(name) || (ours && name.endsWith('.py')),
  )
  const wanted = (list: readonly string[]) => list.map(name => files.get(name)!)
  const weights = await weightFiles(folder, names, async index => {
    for await (const _ of fetchFiles(job, commit, wanted([index])));
  })
  yield* fetchFiles(job, commit, wanted([...small, ...weights]))
  return folder
}

async function* fetchFiles(job: Job, commit: string, files: readonly RemoteFile[]): Progress<void> {
  const { environment, cache, access } = job
  const missing = []
  for (const file of files)
    if (!(await cache.has(commit, file))) missing.push({ file, there: await cache.partialSize(file) })
  if (missing.length === 0) return
  const total = missing.reduce((n, { file, there }) => n + file.size - there, 0)
  await attempt(`write to ${environment.cache}`, () => mkdir(environment.cache, { recursive: true }))
  await checkSpace(`${access.name}: the download to ${environment.cache} (set by HF_HOME)`, environment.cache, total)
  yield { type: 'phase', phase: 'download', total, unit: 'bytes' }
  const fetch = hubFetch(access)
  let done = 0
  for (const { file, there } of missing) {
    const path = file.path.split('/').map(encodeURIComponent).join('/')
    const url = `${access.endpoint}/${access.id}/resolve/${commit}/${path}`
    if (!(await cache.has(commit, file))) {
      const partial = await cache.claim(file)
      try {
        for await (const now of download({ url, access, fetch }, file, partial))
          yield { type: 'progress', done: Math.max(0, done + now - there) }
        await cache.keep(commit, file, partial)
      } finally {
        await cache.release(file, partial)
      }
    }
    done += file.size - there
    yield { type: 'progress', done }
  }
}
