// One split of a data set on the Hub, as the parquet files that the Hub keeps of every data set in the branch refs/convert/parquet:
// <configuration>/<split>/0000.parquet and so on. Source: huggingface.co/docs/dataset-viewer/parquet.
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { firstOf } from '../display.ts'
import { FormatError } from '../errors.ts'
import type { ProgressEvent } from '../events.ts'
import { RepoCache } from './cache.node.ts'
import { hubEnvironment } from './environment.node.ts'
import { fetchFiles, fetchRevision, type Job } from './fetch.node.ts'
import type { Listing } from './listing.ts'

const REVISION = 'refs/convert/parquet'

export interface Split {
  /** `org/name`. */
  readonly id: string
  /** Where there is none, the data set has one only. */
  readonly config?: string
  readonly split: string
}

/** Paths of the split's files, in the Hub's cache, fetched where need be. @throws HubError; OutputError; FormatError for a split that is not there */
export async function* fetchSplit(
  wanted: Split,
  { signal }: { readonly signal?: AbortSignal } = {},
): AsyncGenerator<ProgressEvent, string[]> {
  const { id } = wanted
  const environment = await hubEnvironment()
  const job: Job = {
    environment,
    cache: new RepoCache(environment, id, 'dataset'),
    access: { ...environment, name: `datasets/${id}`, type: 'dataset', id, signal },
  }
  return yield* fetchRevision(job, REVISION, {
    cached: commit => cachedSplit(job.cache.snapshot(commit), wanted),
    fetch: listing => fetchListed(job, listing, wanted),
  })
}

async function cachedSplit(folder: string, { config, split }: Split): Promise<string[] | undefined> {
  const configs = config === undefined ? await readdir(folder).catch(() => []) : [config]
  if (configs.length !== 1) return undefined
  const inside = join(folder, configs[0], split)
  const files = (await readdir(inside).catch(() => [])).sort().map(name => join(inside, name))
  const there = await Promise.all(files.map(file => stat(file).catch(() => undefined)))
  return files.length > 0 && !there.includes(undefined) ? files : undefined
}

async function* fetchListed(
  job: Job,
  listing: Listing,
  { config, split }: Split,
): AsyncGenerator<ProgressEvent, string[]> {
  const parts = [...listing.files.values()].map(file => ({ file, folders: file.path.split('/') }))
  const configs = new Set(parts.flatMap(({ folders }) => (folders.length === 3 ? folders[0] : [])))
  const one = config ?? (configs.size === 1 ? [...configs][0] : undefined)
  const files = parts
    .filter(({ folders }) => folders.length === 3 && folders[0] === one && folders[1] === split)
    .map(({ file }) => file)
    .filter(({ path }) => path.endsWith('.parquet'))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  if (files.length === 0)
    throw new FormatError(
      job.access.name,
      `there is no ${[config, split].filter(Boolean).join('/')} in ${REVISION}; it has ${firstOf([...configs]) || 'no parquet files'}.`,
    )
  yield* fetchFiles(job, listing.commit, files)
  return files.map(({ path }) => join(job.cache.snapshot(listing.commit), path))
}
