// Rows of all ranks in one file: what any number of ranks has put there, any other number gets back.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { inProcess } from '../../test/in-process-ranks.ts'
import type { Group } from '../ranks/group.ts'
import { ActivationPool, type Activations, type Batch } from './activations.ts'
import type { StateFile, StateFolder } from './state-folder.ts'
import { giveRows, type RowsFile, readRows, writeRows } from './state-rows.ts'
import type { Held } from './steps.ts'

/** A folder with room for so many bytes, in memory. */
function folderOf(room = 1e6) {
  const bytes = new Uint8Array(1e5)
  let end = 0
  const file: StateFile = {
    get byteLength() {
      return end
    },
    async read(target, offset) {
      target.set(bytes.subarray(offset, offset + target.length))
    },
    async write(part, offset) {
      bytes.set(part, offset)
      end = offset + part.length
    },
    sync: async () => {},
    close: async () => {},
  }
  const folder = { path: 'state', freeBytes: async () => room, open: async () => file } as Partial<StateFolder>
  return { folder: folder as StateFolder, contents: () => new Float32Array(bytes.slice(0, end).buffer) }
}

const LENGTH = 3 // tokens of a window
const WIDTHS = { pruned: 2, dense: 5 }
type Name = keyof typeof WIDTHS

/** The rows of this rank's windows, two windows a batch. A rank without windows lacks the dense ones until it is asked for them. */
async function heldBy(group: Group, windows: number, value: (name: Name, window: number, i: number) => number) {
  const own = group.share(Array.from({ length: windows }, (_, w) => w))
  const batches: Batch[] = []
  for (let w = 0; w < own.length; w += 2) {
    const count = Math.min(2, own.length - w)
    batches.push({ windows: count, start: w * LENGTH, tokens: count * LENGTH })
  }
  const all = new Map<Name, Activations>()
  const open = async (name: Name) => {
    const rows = await new ActivationPool(1e9).open(batches, WIDTHS[name])
    for (const batch of batches) {
      const room = rows.room(batch)
      for (let i = 0; i < room.length; i++) {
        const at = batch.start * WIDTHS[name] + i
        const size = LENGTH * WIDTHS[name]
        room[i] = value(name, own[Math.floor(at / size)], at % size)
      }
    }
    all.set(name, rows)
  }
  await open('pruned')
  if (own.length > 0) await open('dense')
  const held = async (names: readonly string[] = []) => {
    if (names.includes('dense') && !all.has('dense')) await open('dense')
    return all
  }
  return { held: { streams: { calibration: { held }, check: undefined } } satisfies Held, all }
}

const number = (name: Name, window: number, i: number) => (name === 'dense' ? 1000 : 0) + 100 * window + i
const ranks = fc.integer({ min: 1, max: 4 })

async function written(size: number, windows: number, folder: StateFolder) {
  const all = inProcess(size, { chunk: 64 }).map(async group => {
    const { held } = await heldBy(group, windows, number)
    return group.rank === 0 ? writeRows(group, held, folder, 'rows-0') : giveRows(group, held)
  })
  const [file] = await Promise.all(all)
  return file as () => RowsFile | undefined
}

test('are those of all windows in their order, whatever the number of ranks', () =>
  fc.assert(
    fc.asyncProperty(ranks, ranks, fc.integer({ min: 1, max: 9 }), async (before, after, windows) => {
      const { folder, contents } = folderOf()
      const file = (await written(before, windows, folder))()!
      const wanted = (['pruned', 'dense'] as const).flatMap(name =>
        Array.from({ length: windows * LENGTH * WIDTHS[name] }, (_, at) => {
          const size = LENGTH * WIDTHS[name]
          return number(name, Math.floor(at / size), at % size)
        }),
      )
      expect(Array.from(contents())).toEqual(wanted)
      expect(file.parts.map(({ name, length }) => [name, length])).toEqual(
        Object.entries(WIDTHS).map(([name, width]) => [name, windows * LENGTH * width]),
      )
      const read = inProcess(after).map(async group => {
        const { held, all } = await heldBy(group, windows, () => -1)
        await readRows(group, held, file, group.rank === 0 ? folder : undefined)
        const there = await heldBy(group, windows, number)
        await there.held.streams.calibration.held(['dense'])
        for (const [name, rows] of all)
          for (const batch of rows.batches) expect(rows.room(batch)).toEqual(there.all.get(name)!.room(batch))
      })
      await Promise.all(read)
    }),
    { numRuns: 15 },
  ))

test('that find no room are let go of when all have given theirs', async () => {
  const file = await written(3, 5, folderOf(10).folder)
  expect(file).toThrow('it takes 0.4 kB, and the disk has 0.0 kB beside the output')
})

test('of other windows, or with another byte, are damaged', async () => {
  const { folder } = folderOf()
  const file = (await written(2, 5, folder))()!
  const read = (windows: number, of: RowsFile) =>
    Promise.all(
      inProcess(2, { patience: 10 }).map(async group => {
        const { held } = await heldBy(group, windows, () => -1)
        const reading = readRows(group, held, of, group.rank === 0 ? folder : undefined)
        await reading.catch(error => group.fail(error))
        return group.rank === 0 ? await reading : undefined
      }),
    )
  await expect(read(4, file)).rejects.toThrow('state/rows-0: has rows of calibration pruned')
  await expect(read(5, { ...file, sha256: 'x' })).rejects.toThrow('state/rows-0: is not what was written')
})
