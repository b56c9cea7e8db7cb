// From a name on the Hub to files on disk: which commit, which of its files, download of those that the cache lacks.
import { mkdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { firstOf } from '../base/display.ts'
import { FormatError, HubError } from '../base/errors.ts'
import { finish, type Progress } from '../base/events.ts'
import { attempt } from '../base/file-errors.node.ts'
import { quote } from '../base/json.ts'
import { isSideFile } from '../checkpoint/huggingface.ts'
import { weightFiles } from '../checkpoint/weights.ts'
import { openFile, statAt } from '../formats/file.node.ts'
import { checkSpace } from '../output/folder.node.ts'
import { putBack } from '../output/place.node.ts'
import { RepoCache } from './cache.node.ts'
import { download } from './download.node.ts'
import { type HubEnvironment, hubEnvironment } from './environment.node.ts'
import { DEFAULT_REVISION, isCommit, type Listing, listRepo, type RemoteFile } from './listing.ts'
import { hubReference } from './reference.ts'
import { type Access, hubFetch, repoUrl } from './request.ts'

/**
 * Where a model is on disk: `path` if it exists; or the Hub's model of that name, in its cache, fetched if need be.
 * @param path folder, .gguf file, `org/name`, `org/name@revision`, `org/name/file.gguf`; after `hf:` no local path
 * @throws FormatError where it is none of these; HubError; OutputError where the cache cannot be written
 */
export async function* fetchModel(path: string, { signal }: { readonly signal?: AbortSignal } = {}): Progress<string> {
  const reference = hubReference(path)
  if (!reference?.explicit) {
    await putBack(path)
    if (await statAt(path)) return path
    if (!reference) throw new FormatError(path, `there is no such file or folder. ${WANTED}`)
  }
  const environment = await hubEnvironment()
  const { id, revision = DEFAULT_REVISION, file } = reference
  const job = {
    environment,
    cache: new RepoCache(environment, id),
    access: { ...environment, name: path, id, local: !reference.explicit, signal },
  }
  return yield* fetchRevision(job, revision, {
    cached: commit => (file === undefined ? cachedFolder(job, commit) : cachedFile(job, commit, file)),
    fetch: listing => (file === undefined ? fetchFolder(job, listing) : fetchFile(job, file, listing)),
  })
}

/** The largest models have some hundred shards. For each file the folder of the cache is read. */
const MAX_FETCHED = 2000
/** Tokenizer, licences, code: some twenty at most. They are held in memory, and written beside the pruned model. */
const MAX_SIDE_FILES = 100

const WANTED = 'Give a Hugging Face model folder, a .gguf file, or the name of a model on the Hub (org/name).'

/** A repository. */
export interface Job {
  readonly environment: HubEnvironment
  readonly cache: RepoCache
  readonly access: Access
}

/** What is wanted of a repository. */
export interface Wanted<T> {
  /** Of the repository, which is then all that is listed. @default all of it */
  readonly folder?: string
  /** Where it is in the cache, if all of it is there. */
  cached(commit: string): Promise<T | undefined>
  fetch(listing: Listing): Progress<T>
}

/** What is wanted at a revision: from the cache where that will do, or else fetched. @throws HubError */
export async function* fetchRevision<T>(job: Job, revision: string, wanted: Wanted<T>): Progress<T> {
  const { environment, access, cache } = job
  await cache.tidy()
  const commit = await cache.commit(revision)
  const cached = commit === undefined ? undefined : await wanted.cached(commit)
  if (cached && (environment.offline || isCommit(revision))) return cached
  if (environment.offline) {
    const nowhere = access.local ? 'is not a local path, and not' : 'is not'
    throw new HubError(
      access.name,
      `${nowhere}, or not all of it, in the cache ${environment.cache}. HF_HUB_OFFLINE forbids to fetch it.`,
    )
  }
  let listing: Listing
  try {
    listing = await listRepo(access.id, revision, access, wanted.folder)
  } catch (error) {
    if (!cached || !(error instanceof HubError) || isAnswer(error.status)) throw error
    yield { type: 'notice', message: `${error.message} Using the copy in the cache, ${cached}.` }
    return cached
  }
  const local = yield* wanted.fetch(listing)
  await cache.note(revision, listing.commit) // last: what a branch points to is complete
  return local
}

/** Whether the Hub has spoken: the copy in the cache may be one that we must not use any more. */
const isAnswer = (status = 500): boolean => status < 500 && status !== 429

/** The folder of a commit, if all that we need is in the cache. */
async function cachedFolder({ cache }: Job, commit: string): Promise<string | undefined> {
  const folder = cache.snapshot(commit)
  const names = await cache.names(commit)
  if (!names.has('config.json') || !(names.has('tokenizer.json') || names.has('vocab.json'))) return undefined
  const open = (file: string) => openFile(join(folder, file))
  return weightFiles({ name: folder, files: names, open }).then(
    () => folder,
    () => undefined,
  )
}

export async function cachedFile({ cache }: Job, commit: string, name: string): Promise<string | undefined> {
  const file = join(cache.snapshot(commit), name)
  return stat(file).then(
    () => file,
    () => undefined,
  )
}

export async function* fetchFile(job: Job, path: string, listing: Listing): Progress<string> {
  const file = listing.files.get(path)
  if (!file) throw new FormatError(job.access.name, `the repository has no file ${path}.${ggufHint(job, listing)}`)
  yield* fetchFiles(job, listing.commit, [file])
  return join(job.cache.snapshot(listing.commit), path)
}

const ggufHint = ({ access }: Job, { files }: Listing): string => {
  const found = [...files.keys()].filter(path => /\.gguf$/i.test(path)).map(path => `${access.id}/${path}`)
  return found.length > 0 ? ` It has .gguf files; give one of them: ${firstOf(found)}` : ''
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
  if (small.length > MAX_SIDE_FILES)
    throw new HubError(
      job.access.name,
      `the repository has ${small.length} files that go with the weights (${firstOf(small, 5)}); ` +
        `at most ${MAX_SIDE_FILES} are read.`,
    )
  const wanted = (list: readonly string[]) => list.map(name => files.get(name)!)
  const open = async (index: string) => {
    await finish(fetchFiles(job, commit, wanted([index])))
    return openFile(join(folder, index))
  }
  const weights = await weightFiles({ name: folder, files: names, open })
  yield* fetchFiles(job, commit, wanted([...small, ...weights]))
  return folder
}

/** Whether a path stays in its folder on every system. On Windows `\\` parts, `:` names a disk, blanks at an end go. */
const isInside = (path: string): boolean =>
  !/[\\:\p{Cc}]/u.test(path) && path.split('/').every(part => !/^[. ]*$/.test(part))

/** Fetches the files that the cache lacks. @throws HubError, OutputError */
export async function* fetchFiles(job: Job, commit: string, files: readonly RemoteFile[]): Progress<void> {
  const { environment, cache, access } = job
  const outside = files.find(({ path }) => !isInside(path))
  if (outside)
    throw new HubError(
      access.name,
      `the repository has a file ${quote(outside.path)}, which cannot be a path below a folder.`,
    )
  if (files.length > MAX_FETCHED)
    throw new HubError(
      access.name,
      `${files.length} files are wanted of the repository; at most ${MAX_FETCHED} are fetched.`,
    )
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
    const url = `${repoUrl(access)}/resolve/${commit}/${path}`
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
