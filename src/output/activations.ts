// Activations [tokens, width] of many windows, batch by batch: in memory within a budget, else in a scratch file
// written front to back.
import { type ArrayOf, hostOf, hostRoomOf, inMemory, type Values } from '../engine/values.ts'
import type { Floats } from '../formats/tensors.ts'

/** Some consecutive windows and where their tokens lie. */
export interface Batch {
  readonly windows: number
  readonly start: number
  readonly tokens: number
}

/** A file that holds what does not fit the memory. It is gone when closed. */
export interface Scratch {
  read(target: Uint8Array, offset: number): Promise<void>
  /** @throws OutputError where the disk is full */
  write(bytes: Uint8Array, offset: number): Promise<void>
  close(): Promise<void>
}

/** The rows of one matrix. */
export interface Activations {
  /** As many batches may be used at a time, those last asked for. */
  readonly atOnce: number
  readonly batches: readonly Batch[]
  readonly width: number
  /** Room for the rows of a batch, to be filled. */
  room(batch: Batch): Floats
  /** The rows of a batch as last stored. */
  load(batch: Batch): Promise<Floats>
  /** The same, and `room`, where they are. */
  at(batch: Batch): Promise<Values<Floats>>
  roomAt(batch: Batch): Values<Floats>
  /** Keeps what was written to the rows of a batch. */
  store(batch: Batch): Promise<void>
  /** Gives the memory or the file back. */
  close(): Promise<void>
}

/** Of the rows of a batch. */
type Handle = (tokens: number, data: Floats) => Values<Floats>

/** Hands out activations, the first ones in memory, as long as they fit the budget together. */
export class ActivationPool {
  /** Seconds in which scratch files were waited for, and of what JavaScript ran beside. */
  seconds = 0
  #left: number
  readonly #scratch = new Set<Scratch>()
  #spare?: Floats

  /** @param openScratch undefined where there are no files: then everything is in memory @param array of the engine */
  constructor(
    bytes: number,
    readonly openScratch?: () => Promise<Scratch>,
    readonly array: ArrayOf = inMemory,
  ) {
    this.#left = bytes
  }

  /** @param transposed whether those of a batch are [width, tokens] */
  async open(batches: readonly Batch[], width: number, transposed = false): Promise<Activations> {
    const length = batches.reduce((sum, { tokens }) => sum + tokens, 0) * width
    const handle: Handle = (tokens, data) => this.array(transposed ? [width, tokens] : [tokens, width], data)
    if (length * 4 > this.#left && this.openScratch) return this.#spill(batches, width, handle, this.openScratch)
    // The array of the last activations that were closed serves the next: fresh memory costs time to clear.
    const data = this.#spare && this.#spare.length >= length ? this.#spare : new Float32Array(length)
    this.#spare = undefined
    this.#left -= length * 4
    return new InMemory(batches, data, width, handle, () => {
      this.#spare = data
      this.#left += length * 4
    })
  }

  /** Closes the scratch files of activations that an error left open; what else goes wrong with them does not count. */
  async close(): Promise<void> {
    for (const scratch of this.#scratch) await scratch.close().catch(() => {})
  }

  async #spill(batches: readonly Batch[], width: number, handle: Handle, openScratch: () => Promise<Scratch>) {
    const scratch = await openScratch()
    this.#scratch.add(scratch)
    const close = async () => {
      this.#scratch.delete(scratch)
      await scratch.close()
    }
    const timed = async (transfer: Promise<void>) => {
      const started = performance.now()
      await transfer
      this.seconds += (performance.now() - started) / 1000
    }
    const read: Scratch['read'] = (target, offset) => timed(scratch.read(target, offset))
    const write: Scratch['write'] = (bytes, offset) => timed(scratch.write(bytes, offset))
    return new Spilled(batches, width, { read, write, close }, handle)
  }
}

class InMemory implements Activations {
  readonly atOnce = Number.POSITIVE_INFINITY
  readonly #of = new Map<Batch, Values<Floats>>()

  constructor(
    readonly batches: readonly Batch[],
    readonly data: Floats,
    readonly width: number,
    readonly handle: Handle,
    readonly release: () => void,
  ) {}

  roomAt(batch: Batch): Values<Floats> {
    let rows = this.#of.get(batch)
    if (!rows) {
      const { start, tokens } = batch
      rows = this.handle(tokens, this.data.subarray(start * this.width, (start + tokens) * this.width))
      if (this.batches.includes(batch)) this.#of.set(batch, rows)
    }
    return rows
  }

  async at(batch: Batch): Promise<Values<Floats>> {
    if (!this.batches.includes(batch)) for (const other of this.#of.values()) await hostOf(other)
    return this.roomAt(batch)
  }

  room = (batch: Batch) => hostRoomOf(this.roomAt(batch))
  load = async (batch: Batch) => hostOf(await this.at(batch))

  async store(): Promise<void> {}

  async close(): Promise<void> {
    for (const rows of this.#of.values()) rows.drop?.()
    this.release()
  }
}

class Spilled implements Activations {
  readonly atOnce = 1
  #buffer?: Floats
  #rows?: Values<Floats> // of the batch last asked for

  constructor(
    readonly batches: readonly Batch[],
    readonly width: number,
    readonly scratch: Scratch,
    readonly handle: Handle,
  ) {}

  roomAt({ tokens }: Batch): Values<Floats> {
    this.#rows?.drop?.()
    this.#buffer ??= new Float32Array(Math.max(...this.batches.map(b => b.tokens)) * this.width)
    this.#rows = this.handle(tokens, this.#buffer.subarray(0, tokens * this.width))
    return this.#rows
  }

  async at(batch: Batch): Promise<Values<Floats>> {
    const rows = this.roomAt(batch)
    await this.scratch.read(asBytes(rows.data), this.#offset(batch))
    return rows
  }

  room = (batch: Batch) => this.roomAt(batch).data
  load = async (batch: Batch) => (await this.at(batch)).data

  async store(batch: Batch): Promise<void> {
    await this.scratch.write(asBytes(await hostOf(this.#rows!)), this.#offset(batch))
    if (this.batches.length > 1) return
    this.#rows!.drop?.() // all is in the file
    this.#rows = this.#buffer = undefined
  }

  close(): Promise<void> {
    this.#rows?.drop?.()
    return this.scratch.close()
  }

  #offset({ start }: Batch): number {
    return start * this.width * 4
  }
}

export const asBytes = (rows: Floats) => new Uint8Array(rows.buffer, rows.byteOffset, rows.byteLength)
