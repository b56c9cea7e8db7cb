// Uploads a folder to the Hub as one commit: what it may replace is decided before anything is sent.
import { readdir, readFile, stat } from 'node:fs/promises'
import { basename, join, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { CommitOperation } from '@huggingface/hub'
import { firstOf } from '../display.ts'
import { FormatError, HubError, OutputError, UsageError } from '../errors.ts'
import type { ProgressEvent } from '../events.ts'
import { VERSION } from '../version.ts'
import { OWN_MARK, putBack } from '../write/place.node.ts'
import { hubEnvironment } from './environment.node.ts'
import { asHub, DEFAULT_REVISION, type Listing, listRepo } from './listing.ts'
import { hubReference } from './reference.ts'
import { type Access, LOGIN, wholeFetch } from './request.ts'
import { sum, upload } from './upload.ts'

export interface PushOptions {
  /** Make the repository private, if it is made. @default as the account or organisation has it */
  readonly private?: boolean
  /** Branch; made if it is missing. @default 'main' */
  readonly revision?: string
  /** First line of the commit message. @default 'Upload <folder> with fasp <version>' */
  readonly message?: string
  /** Open a pull request instead of changing the branch. @default false */
  readonly createPullRequest?: boolean
  /** Replace files that are no result of fasp. @default false */
  readonly overwrite?: boolean
  readonly signal?: AbortSignal
}

export interface PushResult {
  readonly id: string
  readonly branch: string
  readonly commit: string
  /** Page of the commit. */
  readonly url: string
  readonly pullRequestUrl?: string
  /** Whether the repository was made. */
  readonly created: boolean
  readonly files: readonly string[]
  readonly bytes: number
}

/** Files that a reader would take for the model's weights. */
const WEIGHTS =
  /\.(safetensors|gguf|onnx|onnx_data(_\d+)?)$|(^|\/)pytorch_model[^/]*\.bin$|\.(safetensors|bin)\.index\.json$/

/**
 * Uploads `folder`, a result of fasp or another model folder, to the model repository `id` (`org/name`), which is made if it is missing.
 * Weights in the branch that the folder lacks are removed in the same commit, all other files stay. Dot files are not sent.
 * @throws FormatError, UsageError where `folder` or `id` will not do; OutputError where the repository may not be replaced; HubError
 */
export async function* push(
  folder: string,
  id: string,
  options: PushOptions = {},
): AsyncGenerator<ProgressEvent, PushResult> {
  const { revision: branch = DEFAULT_REVISION, createPullRequest = false, signal } = options
  const files = await filesOf(folder)
  const name = repository(id)
  const environment = await hubEnvironment()
  const access: Access = { ...environment, name, id: name, signal }
  if (environment.offline) throw new HubError(name, 'HF_HUB_OFFLINE forbids to push. Unset it.')
  if (!environment.token) throw new HubError(name, `to push, ${LOGIN}. The token needs the right to write.`)
  const { created, fresh, listing } = yield* prepare(name, branch, access, options)
  if (!fresh && !createPullRequest && !options.overwrite) checkReplaceable(name, branch, listing)
  const stale = [...listing.files.keys()].filter(path => WEIGHTS.test(path) && !files.has(path))
  if (stale.length > 0) yield { type: 'notice', message: `Weights from before go: ${firstOf(stale)}.` }
  const { commit, pullRequestUrl } = yield* upload(access, files, {
    repo: { type: 'model', name },
    operations: [
      ...[...files.keys()].map(path => addition(folder, path)),
      ...stale.map(path => ({ operation: 'delete', path }) as const),
    ],
    title: options.message || `Upload ${basename(resolve(folder))} with fasp ${VERSION}`,
    branch,
    parentCommit: listing.commit, // the Hub refuses if somebody has changed the branch meanwhile
    isPullRequest: createPullRequest,
  })
  const result = { id: name, branch, commit: commit.oid, url: commit.url, pullRequestUrl, created }
  return { ...result, files: [...files.keys()], bytes: sum(files.values()) }
}

/** What `push` sends. */
export interface PushPlan {
  readonly id: string
  /** Bytes of the files, by their paths. */
  readonly files: Readonly<Record<string, number>>
  readonly bytes: number
  /** Undefined without a README.md. */
  readonly card?: string
}

/** What `push` would send. Asks no server. @throws FormatError, UsageError as `push` */
export async function planPush(folder: string, id: string): Promise<PushPlan> {
  const files = await filesOf(folder)
  const card = files.has('README.md') ? await readFile(join(folder, 'README.md'), 'utf8') : undefined
  return { id: repository(id), files: Object.fromEntries(files), bytes: sum(files.values()), card }
}

/** @throws UsageError */
function repository(id: string): string {
  const { id: name, revision, file } = hubReference(id) ?? {}
  if (name === undefined || revision !== undefined || file !== undefined)
    throw new UsageError(`"${id}" is no name of a model on the Hub; it must be of the form org/name.`)
  return name
}

const addition = (folder: string, path: string): CommitOperation => ({
  operation: 'addOrUpdate',
  path,
  content: pathToFileURL(join(folder, path)),
})

/** Sizes of the files to send, by their paths in the repository. Hidden and unfinished ones are none of them. @throws FormatError */
async function filesOf(folder: string): Promise<Map<string, number>> {
  await putBack(folder)
  const entries = await readdir(folder, { recursive: true }).catch(cause => {
    throw new FormatError(
      folder,
      'is no folder that can be read. Give a folder that fasp wrote; a .gguf file goes up as it is, by `hf upload`.',
      { cause },
    )
  })
  const files = new Map<string, number>()
  for (const entry of entries.sort()) {
    const parts = entry.split(sep)
    if (parts.some(part => part.startsWith('.') || part.endsWith('.partial'))) continue
    const info = await stat(join(folder, entry)).catch(cause => {
      throw new FormatError(join(folder, entry), 'is a link that leads nowhere. Remove it.', { cause })
    })
    if (info.isFile()) files.set(parts.join('/'), info.size)
  }
  if (!files.has(OWN_MARK) && !files.has('config.json'))
    throw new FormatError(
      folder,
      `has neither ${OWN_MARK} nor config.json. Give a folder that fasp wrote, or a model folder.`,
    )
  return files
}

/** Makes the repository and the branch where they are missing. `fresh`: there is nothing in the branch that is not elsewhere too. */
async function* prepare(
  id: string,
  branch: string,
  access: Access,
  { private: isPrivate }: PushOptions,
): AsyncGenerator<ProgressEvent, { created: boolean; fresh: boolean; listing: Listing }> {
  const common = { repo: { type: 'model', name: id }, hubUrl: access.endpoint, fetch: wholeFetch(access) } as const
  const existing = await unlessMissing(listRepo(id, DEFAULT_REVISION, access))
  if (existing && !existing.private && isPrivate)
    throw new UsageError(
      `${id} exists and is public. Make it private in its settings on the Hub, or push without --private.`,
    )
  if (!existing) {
    const visibility = isPrivate ? 'private' : undefined
    await asHub(access, async () => {
      const { createRepo } = await import('@huggingface/hub')
      await createRepo({ ...common, visibility, accessToken: 'hf_' }) // wholeFetch sends the real one
    })
    yield { type: 'notice', message: `Made ${access.endpoint}/${id}.` }
  }
  const there = branch === DEFAULT_REVISION ? existing : await unlessMissing(listRepo(id, branch, access))
  if (there) return { created: !existing, fresh: false, listing: there }
  if (branch !== DEFAULT_REVISION) {
    await asHub(access, async () => (await import('@huggingface/hub')).createBranch({ ...common, branch }))
    yield { type: 'notice', message: `Made the branch ${branch} from ${DEFAULT_REVISION}.` }
  }
  return { created: !existing, fresh: true, listing: await listRepo(id, branch, access) }
}

const unlessMissing = (listing: Promise<Listing>): Promise<Listing | undefined> =>
  listing.catch(error => {
    // The Hub hides what a token may not see behind 401, and says so of what there is not, too.
    const hidden = error instanceof HubError && error.status === 401 && error.reason === 'RepoNotFound'
    if (hidden || (error instanceof HubError && error.status === 404)) return undefined
    throw error
  })

/** @throws OutputError */
function checkReplaceable(id: string, branch: string, { files }: Listing): void {
  const found = [...files.keys()].filter(path => path !== '.gitattributes')
  if (found.length === 0 || files.has(OWN_MARK)) return
  throw new OutputError(
    `${id} was not written by fasp (its branch ${branch} has no ${OWN_MARK}, but ${firstOf(found, 3)}). Choose another name, another branch (--revision), a pull request (--create-pr), or replace its files with --overwrite.`,
  )
}
