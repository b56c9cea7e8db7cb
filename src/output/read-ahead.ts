// A scratch file whose next rows are read before somebody asks for them, and which is written while the caller goes
// on. The operating system does a part of that, as far as its memory goes; a larger file waits for the disk.
import type { Scratch } from './activations.ts'

/** Of all files of a run: two batches of streams and hidden activations of a 7B model. Larger ones are waited for. */
export const BUFFER_BYTES = 2 ** 28

/** Arrays for the files of a run, used again, so many bytes together. */
export class Buffers {
  readonly #free: Uint8Array[] = [] // the shortest first

  constructor(private left = BUFFER_BYTES) {}

  /** Undefined where there is no room. */
  take(bytes: number): Uint8Array | undefined {
    const fitting = this.#free.findIndex(({ byteLength }) => byteLength >= bytes)
    if (fitting >= 0) return this.#free.splice(fitting, 1)[0]
    while (this.left < bytes && this.#free.length > 0) this.left += this.#free.shift()!.byteLength
    if (this.left < bytes) return undefined
    this.left -= bytes
    return new Uint8Array(bytes)
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer)
    this.#free.sort((a, b) => a.byteLength - b.byteLength)
  }
}

/** Bytes of a file on their way from or to a buffer. */
interface Part {
  readonly start: number
  readonly end: number
  readonly done: Promise<void>
  readonly buffer: Uint8Array
}

const overlaps = (part: Part | undefined, start: number, end: number) => part && part.start < end && start < part.end

/**
 * Reads ahead of whoever goes through a file front to back, and writes behind.
 * What a write throws is thrown by the next call that waits for it, `close` at the latest, and from then on.
 */
export class ReadAhead implements Scratch {
  #ahead?: Part
  #behind?: Part
  /** Where the last read ended, and where the file does. */
  #last = 0
  #end = 0

  constructor(
    readonly scratch: Scratch,
    readonly buffers: Buffers,
  ) {}

  async read(target: Uint8Array, offset: number): Promise<void> {
    const end = offset + target.byteLength
    const ahead = this.#ahead
    if (ahead?.start === offset && end <= ahead.end) {
      await ahead.done
      target.set(ahead.buffer.subarray(0, target.byteLength))
    } else {
      await this.#written()
      await this.scratch.read(target, offset)
    }
    const goesOn = offset === this.#last || offset === 0
    this.#last = end
    if (goesOn) await this.#readFrom(end, Math.min(end + target.byteLength, this.#end))
  }

  async write(bytes: Uint8Array, offset: number): Promise<void> {
    const end = offset + bytes.byteLength
    await this.#written()
    if (overlaps(this.#ahead, offset, end)) await this.#forget()
    this.#end = Math.max(this.#end, end)
    const buffer = this.buffers.take(bytes.byteLength)
    if (!buffer) return this.scratch.write(bytes, offset)
    buffer.set(bytes)
    const done = this.scratch
      .write(buffer.subarray(0, bytes.byteLength), offset)
      .finally(() => this.buffers.give(buffer))
    done.catch(() => {}) // thrown where it is waited for
    this.#behind = { start: offset, end, done, buffer }
  }

  async close(): Promise<void> {
    try {
      await this.#forget()
      await this.#written()
    } finally {
      await this.scratch.close()
    }
  }

  async #written(): Promise<void> {
    await this.#behind?.done
    this.#behind = undefined
  }

  async #readFrom(start: number, end: number): Promise<void> {
    if (this.#ahead?.start === start && this.#ahead.end >= end) return
    await this.#forget()
    if (end <= start || overlaps(this.#behind, start, end)) return
    const buffer = this.buffers.take(end - start)
    if (!buffer) return
    const done = this.scratch.read(buffer.subarray(0, end - start), start)
    done.catch(() => {}) // thrown to whoever asks for these bytes
    this.#ahead = { start, end, done, buffer }
  }

  /** Gives up what was read ahead. */
  async #forget(): Promise<void> {
    const ahead = this.#ahead
    this.#ahead = undefined
    if (!ahead) return
    await ahead.done.catch(() => {})
    this.buffers.give(ahead.buffer)
  }
}
