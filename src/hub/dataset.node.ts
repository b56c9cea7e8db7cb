// Data sets on the Hub: a file of one, or a split as parquet files, which the Hub keeps of every data set in the branch
// refs/convert/parquet as <configuration>/<split>/0000.parquet. Source: huggingface.co/docs/dataset-viewer/parquet.
import { readdir, stat } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { firstOf } from '../base/display.ts'
import { FormatError } from '../base/errors.ts'
import type { Progress } from '../base/events.ts'
import { RepoCache } from './cache.node.ts'
import { hubEnvironment } from './environment.node.ts'
import { cachedFile, fetchFile, fetchFiles, fetchRevision, type Job } from './fetch.node.ts'
import { DEFAULT_REVISION, type Listing } from './listing.ts'

const REVISION = 'refs/convert/parquet'
/** Before the name of a split of which the Hub keeps the first 5 GB only. */
const PARTIAL = 'partial-'

export interface Split {
  /** `org/name`. */
  readonly id: string
  /** Where there is none, the data set has one only. */
  readonly config?: string
  readonly split: string
  /** Only its first file. @default all */
  readonly first?: boolean
}

/** A file of a data set as its authors wrote it. */
export interface DataFile {
  readonly id: string
  /** Path in the repository. */
  readonly file: string
}

interface Fetching {
  readonly signal?: AbortSignal
}

/** Paths of the split's files in the Hub's cache, fetched if need be. @throws HubError; OutputError; FormatError */
export async function* fetchSplit(wanted: Split, options?: Fetching): Progress<string[]> {
  const job = await datasetJob(wanted.id, options)
  return yield* fetchRevision(job, REVISION, {
    cached: commit => cachedSplit(job.cache.snapshot(commit), wanted),
    fetch: listing => fetchListed(job, listing, wanted),
  })
}

/** Path of the file in the Hub's cache, fetched if need be. @throws HubError; OutputError; FormatError */
export async function* fetchDataFile({ id, file }: DataFile, options?: Fetching): Progress<string> {
  const job = await datasetJob(id, options)
  return yield* fetchRevision(job, DEFAULT_REVISION, {
    folder: posix.dirname(file),
    cached: commit => cachedFile(job, commit, file),
    fetch: listing => fetchFile(job, file, listing),
  })
}

async function datasetJob(id: string, { signal }: Fetching = {}): Promise<Job> {
  const environment = await hubEnvironment()
  return {
    environment,
    cache: new RepoCache(environment, id, 'dataset'),
    access: { ...environment, name: `datasets/${id}`, type: 'dataset', id, signal },
  }
}

async function cachedSplit(folder: string, { config, split, first }: Split): Promise<string[] | undefined> {
  const configs = config === undefined ? await readdir(folder).catch(() => []) : [config]
  if (configs.length !== 1) return undefined
  const inside = [split, PARTIAL + split].map(name => join(folder, configs[0], name))
  const names = await Promise.all(inside.map(path => readdir(path).catch(() => [])))
  const all = inside.flatMap((path, i) => names[i].sort().map(name => join(path, name)))
  const files = first ? all.slice(0, 1) : all
  const there = await Promise.all(files.map(file => stat(file).catch(() => undefined)))
  return files.length > 0 && !there.includes(undefined) ? files : undefined
}

async function* fetchListed(job: Job, listing: Listing, { config, split, first }: Split): Progress<string[]> {
  const parts = [...listing.files.values()].map(file => ({ file, folders: file.path.split('/') }))
  const inSplits = parts.filter(({ folders }) => folders.length === 3)
  const configs = new Set(inSplits.map(({ folders }) => folders[0]))
  const one = config ?? (configs.size === 1 ? [...configs][0] : undefined)
  const files = inSplits
    .filter(({ folders }) => folders[0] === one && [split, PARTIAL + split].includes(folders[1]))
    .map(({ file }) => file)
    .filter(({ path }) => path.endsWith('.parquet'))
    .sort((a, b) => (a.path < b.path ? -1 : 1))
  if (files.length === 0) {
    const [asked, there] = [[config, split], [...new Set(inSplits.map(({ folders }) => folders.slice(0, 2).join('/')))]]
    throw new FormatError(
      job.access.name,
      `there is no ${asked.filter(Boolean).join('/')} in ${REVISION}; it has ${firstOf(there) || 'no parquet files'}.`,
    )
  }
  const wanted = first ? files.slice(0, 1) : files
  yield* fetchFiles(job, listing.commit, wanted)
  return wanted.map(({ path }) => join(job.cache.snapshot(listing.commit), path))
}
