import { setImmediate } from 'node:timers/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OutputError } from '../base/errors.ts'
import { ActivationPool, type Scratch } from './activations.ts'
import { Buffers, ReadAhead } from './read-ahead.ts'

/** A disk that begins at once, and ends when it is told to. */
class Disk implements Scratch {
  readonly bytes = new Uint8Array(64)
  readonly begun: string[] = []
  #running: (() => void)[] = []
  isClosed = false
  /** Ends each transfer by itself. */
  isFast = false
  failure?: Error

  read = (target: Uint8Array, offset: number) =>
    this.#run('read', offset, target, () => target.set(this.bytes.subarray(offset, offset + target.length)))
  write = (bytes: Uint8Array, offset: number) => this.#run('write', offset, bytes, () => this.bytes.set(bytes, offset))
  async close() {
    expect(this.#running).toEqual([])
    this.isClosed = true
  }

  /** Ends all that runs, as a thread of the pool does while JavaScript works. */
  async end() {
    await setImmediate()
    for (const end of this.#running.splice(0)) end()
    await setImmediate()
  }

  #run(kind: string, offset: number, { length }: Uint8Array, move: () => void): Promise<void> {
    this.begun.push(`${kind} ${offset} ${length}`)
    const { failure } = this
    return new Promise((resolve, reject) => {
      const end = () => {
        if (failure) return reject(failure)
        move()
        resolve()
      }
      if (this.isFast) end()
      else this.#running.push(end)
    })
  }
}

const row = (value: number) => new Uint8Array(4).fill(value)

/** A file of four rows on a disk that waits. */
async function opened(buffers = new Buffers()) {
  const disk = new Disk()
  const file = new ReadAhead(disk, buffers)
  disk.isFast = true
  for (let i = 0; i < 4; i++) await file.write(row(i + 1), 4 * i)
  disk.isFast = false
  disk.begun.length = 0
  return { disk, file }
}

async function readRow(file: Scratch, i: number) {
  const target = new Uint8Array(4)
  await file.read(target, 4 * i)
  return [...target]
}

test('the next rows are read, and the last ones written, before the work on these ends', async () => {
  const { disk, file } = await opened()
  const first = readRow(file, 0)
  await disk.end()
  expect(await first).toEqual([1, 1, 1, 1])
  expect(disk.begun).toEqual(['read 0 4', 'read 4 4']) // while the first rows are worked on
  await file.write(row(11), 0)
  expect(disk.begun.at(-1)).toBe('write 0 4')
  await disk.end()
  expect(await readRow(file, 1)).toEqual([2, 2, 2, 2]) // from the buffer
  await file.write(row(12), 4)
  expect(disk.begun.slice(3)).toEqual(['read 8 4', 'write 4 4'])
  await disk.end()
  await file.close()
  expect([...disk.bytes.subarray(0, 8)]).toEqual([11, 11, 11, 11, 12, 12, 12, 12])
})

test('rows of a batch are worked on while the disk is at those beside them', async () => {
  const batches = [0, 1, 2].map(i => ({ windows: 1, start: i, tokens: 1 }))
  const disk = new Disk()
  const buffers = new Buffers()
  const rows = await new ActivationPool(0, async () => new ReadAhead(disk, buffers)).open(batches, 1)
  disk.isFast = true
  for (const [i, batch] of batches.entries()) {
    rows.room(batch)[0] = i
    await rows.store(batch)
  }
  disk.isFast = false
  const loaded = rows.load(batches[0])
  await disk.end()
  const x = await loaded
  disk.begun.length = 0
  x[0] = 7
  await rows.store(batches[0])
  expect([...x]).toEqual([7]) // is still there to be read
  await disk.end()
  expect([...(await rows.load(batches[1]))]).toEqual([1])
  expect(disk.begun).toEqual(['write 0 4', 'read 8 4'])
  await disk.end()
  disk.isFast = true
  expect([...(await rows.load(batches[0]))]).toEqual([7])
  await rows.close()
})

test('what a write throws is thrown by the next one, and by closing, which waits for what runs', async () => {
  const { disk, file } = await opened()
  disk.failure = new OutputError('the disk is full')
  await file.write(row(9), 0)
  const refused = expect(file.write(row(9), 4)).rejects.toBe(disk.failure)
  await disk.end()
  await refused
  await expect(file.close()).rejects.toBe(disk.failure)
  expect(disk.isClosed).toBe(true)

  const other = await opened()
  other.disk.failure = disk.failure
  await other.file.write(row(9), 0)
  const closing = expect(other.file.close()).rejects.toBe(disk.failure)
  await setImmediate()
  expect(other.disk.isClosed).toBe(false)
  await other.disk.end()
  await closing
  expect(other.disk.isClosed).toBe(true)
})

test('what reading ahead throws is thrown to who asks for these bytes, and to nobody else', async () => {
  for (const asks of [true, false]) {
    const { disk, file } = await opened()
    const first = readRow(file, 0)
    await setImmediate()
    disk.end()
    await first
    disk.failure = new Error('ended early')
    const second = readRow(file, 1) // its own rows are on their way already
    await disk.end()
    await second
    await disk.end() // those of the third fail
    disk.failure = undefined
    if (asks) await expect(readRow(file, 2)).rejects.toThrow('ended early')
    await file.close()
    expect(disk.isClosed).toBe(true)
  }
})

test('an error of the run that leaves files open is not hidden by one of a file', async () => {
  const { disk, file } = await opened()
  const pool = new ActivationPool(0, async () => file)
  await pool.open([{ windows: 1, start: 0, tokens: 1 }], 1)
  disk.failure = new OutputError('the disk is full')
  await file.write(row(9), 0)
  const closing = pool.close()
  await disk.end()
  await closing
  expect(disk.isClosed).toBe(true)
})

test('files of a run share their buffers, and wait for the disk where there are none', async () => {
  const buffers = new Buffers(8)
  const [one, other] = [await opened(buffers), await opened(buffers)]
  await one.file.write(row(5), 0)
  await one.disk.end() // which gives its buffer back
  await one.file.write(row(5), 0)
  await other.file.write(row(6), 0)
  let isWritten = false
  const third = opened(buffers).then(async ({ disk, file }) => {
    const write = file.write(row(7), 0).then(() => (isWritten = true))
    await setImmediate()
    expect([...disk.begun, isWritten]).toEqual(['write 0 4', false])
    await disk.end()
    await write
    await file.close()
  })
  await third
  for (const { disk, file } of [one, other]) {
    await disk.end()
    await file.close()
  }
})

test('in any order the bytes are those of the file', async () => {
  const call = fc.record({
    isWrite: fc.boolean(),
    at: fc.nat(15),
    length: fc.integer({ min: 1, max: 6 }),
    value: fc.integer({ min: 1, max: 255 }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(call, { maxLength: 40 }), fc.integer({ min: 0, max: 24 }), async (calls, room) => {
      const disk = new Disk()
      const file = new ReadAhead(disk, new Buffers(room))
      const expected = new Uint8Array(64)
      let isOpen = true
      const running = (async () => {
        while (isOpen) await disk.end()
      })()
      await file.write(expected.slice(0, 24), 0)
      for (const { isWrite, at, length, value } of calls) {
        const bytes = new Uint8Array(length).fill(value)
        if (isWrite) {
          await file.write(bytes, at)
          expected.set(bytes, at)
          bytes.fill(0) // the caller's again
        } else {
          await file.read(bytes, at)
          expect(bytes).toEqual(expected.slice(at, at + length))
        }
      }
      await file.close()
      isOpen = false
      await running
      expect(disk.bytes).toEqual(expected)
    }),
    { numRuns: 100 },
  )
})
