// SHA-256 of the SHA-256s of parts of 16 MiB: browsers, which hash only what is whole in memory, can make it, too.
import { concatBytes } from './bytes.ts'

/** Of a part; what is hashed is a part of its own from each multiple of this on. */
const PART_BYTES = 2 ** 24

const digest = async (bytes: Uint8Array): Promise<Uint8Array> =>
  new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))

const hex = (bytes: Uint8Array): string => Array.from(bytes, byte => byte.toString(16).padStart(2, '0')).join('')

/** The hash of what comes in pieces of any size. */
export class PartsHash {
  readonly #digests: Uint8Array[] = []
  #part = new Uint8Array()
  #length = 0

  async add(bytes: Uint8Array): Promise<void> {
    if (this.#part.length === 0) this.#part = new Uint8Array(PART_BYTES)
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + PART_BYTES - this.#length)
      this.#part.set(piece, this.#length)
      this.#length += piece.length
      at += piece.length
      if (this.#length === PART_BYTES) await this.#end()
    }
  }

  /** In hexadecimal. Nothing may be added after it. */
  async digest(): Promise<string> {
    if (this.#length > 0) await this.#end()
    return hex(await digest(concatBytes(this.#digests)))
  }

  async #end(): Promise<void> {
    this.#digests.push(await digest(this.#part.subarray(0, this.#length)))
    this.#length = 0
  }
}

/** The hash of what is read part by part. */
export async function hashParts(
  byteLength: number,
  read: (start: number, end: number) => Promise<Uint8Array>,
): Promise<string> {
  const digests: Uint8Array[] = []
  for (let at = 0; at < byteLength; at += PART_BYTES)
    digests.push(await digest(await read(at, Math.min(byteLength, at + PART_BYTES))))
  return hex(await digest(concatBytes(digests)))
}

export const hashBytes = (bytes: Uint8Array): Promise<string> =>
  hashParts(bytes.length, async (start, end) => bytes.subarray(start, end))

export const hashBlob = (blob: Blob): Promise<string> =>
  hashParts(blob.size, async (start, end) => new Uint8Array(await blob.slice(start, end).arrayBuffer()))
