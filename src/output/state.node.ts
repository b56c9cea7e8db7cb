// The state of a run (state.ts) on the disk of Node: a folder in the unfinished output.
import { mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, cpus } from 'node:os'
import { join } from 'node:path'
import { attempt } from '../base/file-errors.node.ts'
import type { JsonObject } from '../base/json.ts'
import { tellUnfinished } from '../base/unfinished.node.ts'
import { STATE } from '../base/unfinished.ts'
import type { EngineFacts } from '../engine/facts.ts'
import { openRegular, readInto, readSmallFile } from '../formats/file.node.ts'
import { allocatedBytes, freeBytes, syncFolder } from './place.node.ts'
import { scratchIn } from './scratch.node.ts'
import { type FoundState, identityOf, readState, State, type StateOptions } from './state.ts'
import { damaged, type StateFolder } from './state-folder.ts'
import type { WrittenFile } from './steps.ts'

/** As `identityOf`, on this machine. Where a device keeps what changes no bytes. */
export const identityHere = (asked: object, { deviceMemory: _, ...facts }: EngineFacts): JsonObject =>
  identityOf(asked, { ...facts, cores: availableParallelism(), node: process.version })

interface Place extends StateOptions {
  /** Bytes of disk that the output needs, whole. */
  readonly reserved?: number
}

/** The state in an unfinished output. @param pending its folder @param found what an earlier run has left there */
export function openState(pending: string, { reserved, ...options }: Place, found?: FoundState): State {
  if (found) tellUnfinished(pending, 'saved')
  const cpu = cpus()[0]?.model.trim()
  return new State(stateFolder(join(pending, STATE), reserved), { ...options, cpu }, found)
}

/** @throws UsageError where it is of another run; FormatError where it is damaged */
export async function readStateOf(pending: string, run: JsonObject): Promise<FoundState> {
  const folder = stateFolder(join(pending, STATE))
  const links = (await readdir(pending, { recursive: true, withFileTypes: true })).filter(one => one.isSymbolicLink())
  if (links.length > 0) throw damaged(join(links[0].parentPath, links[0].name), 'is a link, which fasp makes none of')
  return readState(folder, run)
}

/** @param reserved bytes of disk that the output needs, whole */
export function stateFolder(path: string, reserved = 0): StateFolder {
  const pending = join(path, '..')
  return {
    ...{ path, whose: pending, purpose: 'The state that --resume would go on from' },
    remedy: 'Resume with what it was begun with, or leave --resume out.',
    list: () => readdir(path),
    read: (name, limit) => readSmallFile(join(path, name), limit),
    write: (name, bytes) =>
      attempt(`write ${join(path, name)}`, async () => {
        await mkdir(path, { recursive: true })
        await writeFile(join(path, name), bytes, { flush: true })
      }),
    async open(name, create = false) {
      const at = join(path, name)
      if (create) await mkdir(path, { recursive: true })
      const { handle, size } = create ? { handle: await open(at, 'w'), size: 0 } : await openRegular(at)
      const fail = (cause: unknown) => {
        throw cause
      }
      return { ...scratchIn(handle, at, fail), byteLength: size, sync: () => handle.sync() }
    },
    async rename(from, to) {
      await rename(join(path, from), join(path, to))
      for (const of of [path, pending, join(pending, '..')]) await syncFolder(of)
      tellUnfinished(pending, 'saved')
    },
    async remove(name) {
      await rm(join(path, name ?? '.'), { recursive: true, force: true })
      if (!name) tellUnfinished(pending, 'temporary')
    },
    async freeBytes() {
      const written = await allocatedBytes(pending, STATE)
      return (await freeBytes(pending)) - Math.max(0, reserved - written)
    },
  }
}

/** A file of an output. */
export const fileAt = (path: string): WrittenFile => ({
  name: path,
  async read(target, offset) {
    const { handle } = await openRegular(path)
    await readInto(target, handle, path, offset).finally(() => handle.close())
  },
  async sync() {
    const handle = await open(path, 'r+')
    await handle.sync().finally(() => handle.close())
  },
})
