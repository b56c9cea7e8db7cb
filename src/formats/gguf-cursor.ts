// Reads the header of a GGUF file front to back, in pieces, so that a file of many GB costs a few MB of memory.
// Scalars, strings and arrays are spelled as in ggml/docs/gguf.md, section "File structure".
import type { ByteSource } from '../base/bytes.ts'
import { FormatError } from '../base/errors.ts'
import type { GgufValue } from './gguf-contents.ts'

/** One read: most headers take one to ten of these. */
const CHUNK_BYTES = 2 ** 20
/** The longest strings are chat templates, below 100 kB. */
const MAX_STRING_BYTES = 2 ** 24
/** Values of all arrays together: vocabularies, with a score and a type a token, and merges have 1.3 million. */
const MAX_VALUES = 2 ** 21
/** A value takes up to 60 bytes of memory, an array in an array 200. */
const ARRAY_VALUES = 8
/** Arrays of arrays are allowed and unused; more levels can only be an attack on the stack. */
const MAX_DEPTH = 4

const STRING = 8
const ARRAY = 9
/** Bytes of a value by type number; for strings and arrays of the shortest one. */
const VALUE_BYTES = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]

export class GgufCursor {
  #view = new DataView(new ArrayBuffer(0))
  #base = 0 // offset in the file of the first byte of #view
  #at = 0
  #values = 0 // of arrays, so far
  readonly #decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

  constructor(readonly source: ByteSource) {}

  /** Offset in the file of the next byte. */
  get offset(): number {
    return this.#base + this.#at
  }

  error(problem: string, cause?: unknown): FormatError {
    return new FormatError(this.source.name, problem, { cause })
  }

  #has(bytes: number): boolean {
    return this.#view.byteLength - this.#at >= bytes
  }

  /** Makes the next `bytes` readable without waiting. @throws FormatError where the file ends before them. */
  async ensure(bytes: number, what: string): Promise<void> {
    if (this.#has(bytes)) return
    const start = this.offset
    this.#checkLeft(bytes, what)
    const end = Math.min(this.source.byteLength, start + Math.max(bytes, CHUNK_BYTES))
    const view = new DataView(await this.source.slice(start, end))
    if (view.byteLength < bytes) throw this.error(`cut short at byte ${start + view.byteLength}, while reading ${what}`)
    this.#view = view
    this.#base = start
    this.#at = 0
  }

  #checkLeft(bytes: number, what: string): void {
    const left = this.source.byteLength - this.offset
    if (bytes > left)
      throw this.error(`cut short or damaged: ${what} needs ${bytes} bytes at byte ${this.offset}, ${left} are left`)
  }

  /** Unsigned 32 bits, after `ensure`. */
  u32(): number {
    this.#at += 4
    return this.#view.getUint32(this.#at - 4, true)
  }

  /** Unsigned 64 bits, after `ensure`. @throws FormatError above 2^53. */
  u64(what: string): number {
    this.#at += 8
    const value = this.#view.getBigUint64(this.#at - 8, true)
    if (value > Number.MAX_SAFE_INTEGER) throw this.error(`${what} is ${value}, above 2^53: the file is damaged`)
    return Number(value)
  }

  /** A count of things of at least `bytes` each. @throws FormatError above `max`, or beyond the rest of the file. */
  async count(bytes: number, max: number, what: string): Promise<number> {
    await this.ensure(8, what)
    const count = this.u64(what)
    const left = this.source.byteLength - this.offset
    if (count > left / bytes)
      throw this.error(
        `${what} is ${count}, more than the ${left} bytes that are left can hold: cut short or damaged. ` +
          'Fetch the file again',
      )
    if (count > max) throw this.error(`${what} is ${count}; ${max} are allowed, far more than any model has`)
    return count
  }

  async text(what: string): Promise<string> {
    return (await this.#texts(1, what))[0]
  }

  // Waits only where a read is needed: a vocabulary has half a million strings.
  async #texts(count: number, what: string): Promise<string[]> {
    const texts: string[] = []
    while (texts.length < count) {
      if (!this.#has(8)) await this.ensure(8, what)
      const length = this.u64(what)
      if (length > MAX_STRING_BYTES) throw this.error(`${what} has ${length} bytes; ${MAX_STRING_BYTES} are allowed`)
      if (!this.#has(length)) await this.ensure(length, what)
      texts.push(this.#decode(length, what))
    }
    return texts
  }

  #decode(length: number, what: string): string {
    const bytes = new Uint8Array(this.#view.buffer, this.#at, length)
    this.#at += length
    try {
      return this.#decoder.decode(bytes)
    } catch (cause) {
      throw this.error(`${what} is not valid UTF-8 (before byte ${this.offset})`, cause)
    }
  }

  /** A value of any type, preceded by its type number. */
  async value(what: string): Promise<GgufValue> {
    await this.ensure(4, what)
    return (await this.#read(this.u32(), 1, what, 0))[0]
  }

  async #read(type: number, count: number, what: string, depth: number): Promise<GgufValue[]> {
    const size = VALUE_BYTES[type]
    if (size === undefined) throw this.error(`${what} has type number ${type}; 0 to ${VALUE_BYTES.length - 1} exist`)
    this.#checkLeft(count * size, what)
    if (type === STRING) return this.#texts(count, what)
    if (type === ARRAY) return this.#arrays(count, what, depth + 1)
    const values: GgufValue[] = []
    await this.ensure(count * size, what)
    for (let i = 0; i < count; i++) values.push(this.#scalar(type, size, what))
    return values
  }

  async #arrays(count: number, what: string, depth: number): Promise<GgufValue[]> {
    if (depth > MAX_DEPTH) throw this.error(`${what} has arrays nested more than ${MAX_DEPTH} deep`)
    const arrays: GgufValue[] = []
    for (let i = 0; i < count; i++) {
      await this.ensure(12, what)
      const type = this.u32()
      const length = this.u64(`the length of ${what}`)
      this.#values += length + ARRAY_VALUES
      if (this.#values > MAX_VALUES)
        throw this.error(`${what} has ${length} elements; ${MAX_VALUES} are allowed in all arrays together`)
      arrays.push(await this.#read(type, length, what, depth))
    }
    return arrays
  }

  #scalar(type: number, size: number, what: string): GgufValue {
    const view = this.#view
    const at = this.#at
    this.#at += size
    switch (type) {
      case 0:
        return view.getUint8(at)
      case 1:
        return view.getInt8(at)
      case 2:
        return view.getUint16(at, true)
      case 3:
        return view.getInt16(at, true)
      case 4:
        return view.getUint32(at, true)
      case 5:
        return view.getInt32(at, true)
      case 6:
        return view.getFloat32(at, true)
      case 7: {
        const byte = view.getUint8(at)
        if (byte > 1) throw this.error(`${what} is a boolean with value ${byte}; 0 and 1 are allowed`)
        return byte === 1
      }
      case 10:
        return narrow(view.getBigUint64(at, true))
      case 11:
        return narrow(view.getBigInt64(at, true))
      default:
        return view.getFloat64(at, true)
    }
  }
}

const narrow = (value: bigint): number | bigint => (Number.isSafeInteger(Number(value)) ? Number(value) : value)
