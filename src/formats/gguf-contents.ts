// What a GGUF file holds, without the code that reads it.
import type { TensorSource } from './tensors.ts'

/** A metadata value. 64-bit integers beyond ±2^53 stay bigint. */
export type GgufValue = number | bigint | boolean | string | readonly GgufValue[]

export interface Gguf {
  readonly version: 2 | 3
  readonly metadata: ReadonlyMap<string, GgufValue>
  /** A metadata value as it stands in the file, type number first: what another file needs to have the same. */
  rawValue(key: string): Promise<Uint8Array<ArrayBuffer>>
  /** Bytes of that. */
  rawBytes(key: string): number
  /** Shapes are row-major, slowest dimension first: the reverse of the order in the file. */
  readonly tensors: TensorSource
  /** Bytes of the file. */
  readonly byteLength: number
}
