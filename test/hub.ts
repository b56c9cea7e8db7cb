// For tests with the Hub on this machine: a server for each file, a cache for each test, and an environment that leads to both.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, vi } from 'vitest'
import type { ProgressEvent } from '../src/node.ts'
import { TINY_LLAMA } from './fasp.ts'
import { finish } from './finish.ts'
import { HubServer } from './hub-server.ts'

/** What this machine's user may have set. Empty counts as not set. */
const UNSET = [
  'HF_TOKEN',
  'HUGGING_FACE_HUB_TOKEN',
  'HF_TOKEN_PATH',
  'HF_HUB_CACHE',
  'HUGGINGFACE_HUB_CACHE',
  'HF_HUB_OFFLINE',
  'TRANSFORMERS_OFFLINE',
  'HF_HUB_DISABLE_SYMLINKS',
  'HF_HUB_DOWNLOAD_TIMEOUT',
]

/** The model that ships with the package, as files of a repository. */
export const TINY_FILES: Readonly<Record<string, Buffer>> = Object.fromEntries(
  readdirSync(TINY_LLAMA).map(name => [name, readFileSync(join(TINY_LLAMA, name))]),
)

export interface HubPlace {
  readonly server: HubServer
  /** `HF_HOME`, new for each test. */
  readonly home: string
  /** The environment of this process, until the test ends. */
  readonly env: Readonly<Record<string, string>>
}

/** For one test file. */
export function hubPlace(): HubPlace {
  const server = new HubServer()
  const root = mkdtempSync(join(tmpdir(), 'fasp-hub-'))
  const place = { server, home: '', env: {} as Record<string, string> }
  beforeAll(() => server.start())
  afterAll(async () => {
    await server.stop()
    rmSync(root, { recursive: true })
  })
  beforeEach(() => {
    place.home = mkdtempSync(join(root, 'home-'))
    place.env = {
      ...Object.fromEntries(UNSET.map(name => [name, ''])),
      HF_ENDPOINT: server.url,
      HF_HOME: place.home,
    }
    for (const [name, value] of Object.entries(place.env)) vi.stubEnv(name, value)
    server.reset()
  })
  afterEach(() => void vi.unstubAllEnvs())
  return place
}

/** Runs a generator to its end and keeps what it told. */
export async function told<T>(
  events: AsyncGenerator<ProgressEvent, T>,
): Promise<{ result: T; events: ProgressEvent[] }> {
  const list: ProgressEvent[] = []
  return { result: await finish(events, event => list.push(event)), events: list }
}

/** Names and contents are the same. */
export function expectSame(files: Readonly<Record<string, Buffer>>, expected: Readonly<Record<string, Buffer>>): void {
  expect(Object.keys(files).sort()).toEqual(Object.keys(expected).sort())
  expect(Object.keys(files).filter(name => !files[name].equals(expected[name]))).toEqual([])
}

/** The files below a folder, links followed. */
export function filesBelow(folder: string): Record<string, Buffer> {
  const entries = existsSync(folder) ? readdirSync(folder, { recursive: true, withFileTypes: true }) : []
  return Object.fromEntries(
    entries
      .filter(entry => !entry.isDirectory())
      .map(entry => join(entry.parentPath, entry.name))
      .sort()
      .map(path => [path.slice(folder.length + 1), readFileSync(path)]),
  )
}
