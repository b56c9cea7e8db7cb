// Files to the Hub as one commit: what it may replace is decided before anything is sent. Of a folder: push.node.ts; of
// a page: push.web.ts.
import type { CommitFile } from '@huggingface/hub'
import { firstOf } from '../base/display.ts'
import { HubError, OutputError, UsageError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { OWN_MARK } from '../output/sink.ts'
import { asHub, DEFAULT_REVISION, type Listing, listRepo } from './listing.ts'
import { hubReference } from './reference.ts'
import { type Access, loginOf, wholeFetch } from './request.ts'
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
  /** Of the Hub; messages then say what to do where a token is asked for. @default in Node of `hf auth login` or HF_TOKEN, as where it is '' */
  readonly token?: string
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

/** What goes up of a file. */
export interface PushedFile {
  readonly size: number
  readonly content: CommitFile['content']
}

/** Files that a reader would take for the model's weights. */
const WEIGHTS =
  /\.(safetensors|gguf|onnx|onnx_data(_\d+)?)$|(^|\/)pytorch_model[^/]*\.bin$|\.(safetensors|bin)\.index\.json$/

/**
 * Sends `files`, by their paths, to the model repository `access.id`, made if it is missing. The commit removes
 * weights of the branch that they lack; all other files stay.
 * @param title first line of the commit message where `options` have none
 * @throws OutputError where the repository may not be replaced; UsageError where it is public, not private; HubError
 */
export async function* pushFiles(
  access: Access,
  files: ReadonlyMap<string, PushedFile>,
  title: string,
  options: PushOptions = {},
): Progress<PushResult> {
  const { name } = access
  const { revision: branch = DEFAULT_REVISION, createPullRequest = false } = options
  if (!access.token) throw new HubError(name, `to push, ${loginOf(access)}. The token needs the right to write.`)
  const { created, fresh, listing } = yield* prepare(name, branch, access, options)
  if (!fresh && !createPullRequest && !options.overwrite) checkReplaceable(access, branch, listing)
  const stale = [...listing.files.keys()].filter(path => WEIGHTS.test(path) && !files.has(path))
  if (stale.length > 0) yield { type: 'notice', message: `Weights from before go: ${firstOf(stale)}.` }
  const sizes = new Map([...files].map(([path, { size }]) => [path, size]))
  const { commit, pullRequestUrl } = yield* upload(access, sizes, {
    repo: { type: 'model', name },
    operations: [
      ...[...files].map(([path, { content }]) => ({ operation: 'addOrUpdate', path, content }) as const),
      ...stale.map(path => ({ operation: 'delete', path }) as const),
    ],
    title: options.message || title,
    branch,
    parentCommit: listing.commit, // the Hub refuses if somebody has changed the branch meanwhile
    isPullRequest: createPullRequest,
  })
  const result = { id: name, branch, commit: commit.oid, url: commit.url, pullRequestUrl, created }
  return { ...result, files: [...files.keys()], bytes: sum(sizes.values()) }
}

/** The name of a repository. @throws UsageError */
export function repository(id: string): string {
  const { id: name, revision, file } = hubReference(id) ?? {}
  if (name === undefined || revision !== undefined || file !== undefined)
    throw new UsageError(`"${id}" is no name of a model on the Hub; it must be of the form org/name.`)
  return name
}

/** Makes the repository and the branch where they are missing. `fresh`: all in the branch is elsewhere, too. */
async function* prepare(
  id: string,
  branch: string,
  access: Access,
  { private: isPrivate }: PushOptions,
): Progress<{ created: boolean; fresh: boolean; listing: Listing }> {
  const common = { repo: { type: 'model', name: id }, hubUrl: access.endpoint, fetch: wholeFetch(access) } as const
  const existing = await unlessMissing(listRepo(id, DEFAULT_REVISION, access))
  if (existing && !existing.private && isPrivate)
    throw new UsageError(
      `${id} exists and is public. Make it private in its settings on the Hub, or ` +
        `${access.inPage ? 'leave private out' : 'push without --private'}.`,
    )
  if (!existing) {
    const visibility = isPrivate ? 'private' : undefined
    await asHub(access, async () => {
      const { createRepo } = await import('./writing.ts')
      await createRepo({ ...common, visibility, accessToken: 'hf_' }) // wholeFetch sends the real one
    })
    yield { type: 'notice', message: `Made ${access.endpoint}/${id}.` }
  }
  const there = branch === DEFAULT_REVISION ? existing : await unlessMissing(listRepo(id, branch, access))
  if (there) return { created: !existing, fresh: false, listing: there }
  if (branch !== DEFAULT_REVISION) {
    await asHub(access, async () => (await import('./writing.ts')).createBranch({ ...common, branch }))
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
function checkReplaceable({ name, inPage }: Access, branch: string, { files }: Listing): void {
  const found = [...files.keys()].filter(path => path !== '.gitattributes')
  if (found.length === 0 || files.has(OWN_MARK)) return
  const others = inPage
    ? 'name, or allow its files to be replaced'
    : 'name, another branch (--revision), a pull request (--create-pr), or replace its files with --overwrite'
  throw new OutputError(
    `${name} was not written by fasp (its branch ${branch} has no ${OWN_MARK}, but ${firstOf(found, 3)}). ` +
      `Choose another ${others}.`,
  )
}
