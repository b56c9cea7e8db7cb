// Random access to the bytes of a file, whatever holds it. The same shape as hyparquet's AsyncBuffer.
import { FormatError } from './errors.ts'

/** Bytes that can be read from any offset. */
export interface ByteSource {
  /** Path or URL, for messages. */
  readonly name: string
  /** Length in bytes. */
  readonly byteLength: number
  /** Bytes `start` to `end` (excluded; default: the file's end). A fresh copy, so views on it may be aligned freely. */
  slice(start: number, end?: number): Promise<ArrayBuffer>
  /** Releases the file handle. */
  close?(): Promise<void>
}

/** A `ByteSource` over bytes in memory. */
export function memorySource(bytes: Uint8Array, name = 'memory'): ByteSource {
  return {
    name,
    byteLength: bytes.byteLength,
    slice: async (start, end = bytes.byteLength) => new Uint8Array(bytes.subarray(start, end)).buffer,
  }
}

/**
 * Bytes `start` to `end`, all of them.
 * @throws FormatError where the source has fewer.
 */
export async function readBytes(source: ByteSource, start: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = end <= source.byteLength ? new Uint8Array(await source.slice(start, end)) : new Uint8Array(0)
  if (bytes.byteLength !== end - start) {
    const has = `the file has ${source.byteLength} bytes or ended while it was read`
    const problem = `bytes ${start} to ${end} are wanted, but ${has}`
    throw new FormatError(source.name, `${problem}; it is cut short, download or copy it again`)
  }
  return bytes
}

/** All of a file, which is closed then. @throws FormatError where it has more than `limit` bytes */
export async function readWhole(source: ByteSource, limit: number): Promise<Uint8Array<ArrayBuffer>> {
  try {
    const { name, byteLength } = source
    if (byteLength > limit)
      throw new FormatError(name, `has ${byteLength} bytes, allowed are ${limit}; is it the file it claims to be?`)
    return await readBytes(source, 0, byteLength)
  } finally {
    await source.close?.()
  }
}

/** All parts, one after the other. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}
