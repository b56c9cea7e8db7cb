// Random access to the bytes of a file, whatever holds it. The same shape as hyparquet's AsyncBuffer.

/** Bytes that can be read from any offset. */
export interface ByteSource {
  /** Path or URL, for messages. */
  readonly name: string
  /** Length in bytes. */
  readonly byteLength: number
  /** Bytes `start` (included) to `end` (excluded, default: to the end). A fresh copy, so views on it may be aligned freely. */
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
