// One commit on the Hub, by @huggingface/hub, with progress within files.
import type { CommitOutput, CommitParams } from '@huggingface/hub'
import { HubError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { asHub } from './listing.ts'
import { type Access, type SendInit, wholeFetch } from './request.ts'

/** Progress is told this often. */
const INTERVAL_MS = 100

/** Most bytes of an answer: it has the addresses of all parts of large files, of some 1,000 bytes each. */
const ANSWER_BYTES = 32 * 2 ** 20

type Commit = Pick<CommitParams, 'repo' | 'operations' | 'title' | 'branch' | 'parentCommit' | 'isPullRequest'>

/**
 * Sends large files, then the commit, which has the small ones in it.
 * @param files sizes of the files by their paths in the repository
 * @throws HubError
 */
export async function* upload(
  access: Access,
  files: ReadonlyMap<string, number>,
  commit: Commit,
): Progress<CommitOutput> {
  const { commitIter } = await import('./writing.ts')
  const stop = new AbortController()
  const total = sum(files.values())
  yield { type: 'phase', phase: 'upload', total, unit: 'bytes' }
  const steps = commitIter({
    ...commit,
    hubUrl: access.endpoint,
    fetch: countedFetch(wholeFetch(access, ANSWER_BYTES)),
    abortSignal: AbortSignal.any([stop.signal, access.signal ?? stop.signal]),
    useXet: false, // plain LFS, which other servers than huggingface.co have, too
  })
  // Always one step ahead: a rejection that comes while nobody waits for a step would end the process.
  const ahead = () => {
    const step = asHub(access, () => steps.next())
    step.catch(() => {})
    return step
  }
  const sent = new Map<string, number>()
  let told = performance.now()
  try {
    for (let next = ahead(); ; ) {
      const step = await next
      if (step.done) {
        const { commit, pullRequestUrl = '' } = step.value!
        if ([commit.oid, commit.url, pullRequestUrl].some(one => typeof one !== 'string'))
          throw new HubError(access.name, `${access.endpoint} does not say which commit it has made. See its page.`)
        yield { type: 'progress', done: total }
        return step.value!
      }
      next = ahead()
      const event = step.value
      if (event.event !== 'fileProgress' || event.state !== 'uploading') continue
      sent.set(event.path, event.progress * (files.get(event.path) ?? 0))
      if (performance.now() - told < INTERVAL_MS) continue
      told = performance.now()
      yield { type: 'progress', done: Math.floor(sum(sent.values())) }
    }
  } finally {
    stop.abort() // what still runs where the caller has stopped listening
  }
}

/** What @huggingface/hub puts into `init` of an upload. */
interface ProgressHint {
  readonly path: string
  readonly part?: number
  readonly numParts?: number
  readonly progressCallback: (fraction: number) => void
}

/** Tells how much of a file has gone out, in however many parts. */
function countedFetch(plain: typeof fetch): typeof fetch {
  const fractions = new Map<string, number[]>()
  return (input, init) => {
    const { progressHint: hint } = init as { progressHint?: ProgressHint }
    if (!hint || !(init?.body instanceof Blob)) return plain(input, init)
    const { path, part = 0, numParts = 1, progressCallback } = hint
    const ofFile = fractions.get(path) ?? Array<number>(numParts).fill(0)
    fractions.set(path, ofFile)
    const onSent = (fraction: number) => {
      ofFile[part] = fraction
      progressCallback(sum(ofFile) / numParts)
    }
    return plain(input, { ...init, onSent } as SendInit)
  }
}

export const sum = (numbers: Iterable<number>): number => [...numbers].reduce((a, b) => a + b, 0)
