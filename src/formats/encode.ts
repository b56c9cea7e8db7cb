// Weights in the type that they are written in.
import { NumericError } from '../base/errors.ts'
import { DTYPE_BYTES, type FloatDType, firstNotFinite, toFloat32, writeFloat32 } from './dtype.ts'
import type { Floats } from './tensors.ts'

/** Bytes of `values` in `dtype`. @param name for messages @throws NumericError where a value exceeds the type */
export function encode(name: string, values: Float32Array, dtype: FloatDType): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * DTYPE_BYTES[dtype])
  encodeInto(name, values, dtype, bytes)
  return bytes
}

/** Values as they are written, and as a reader of that will see them. */
export interface Rounded {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly values: Floats
}

/** @throws NumericError where a value does not fit the type */
export function rounded(name: string, values: Float32Array, dtype: FloatDType): Rounded {
  const bytes = encode(name, values, dtype)
  return { bytes, values: toFloat32(bytes, dtype) }
}

/** The rows `stay`: one after the other, or each in its place among `total` with zeros elsewhere. */
export function encodeRows(
  name: string,
  values: Float32Array,
  dtype: FloatDType,
  { width, stay, total }: { readonly width: number; readonly stay: Int32Array; readonly total?: number },
): Uint8Array<ArrayBuffer> {
  const rowBytes = width * DTYPE_BYTES[dtype]
  const bytes = new Uint8Array((total ?? stay.length) * rowBytes)
  for (const [i, row] of stay.entries()) {
    const to = (total ? row : i) * rowBytes
    encodeInto(name, values.subarray(row * width, (row + 1) * width), dtype, bytes.subarray(to, to + rowBytes))
  }
  return bytes
}

function encodeInto(name: string, values: Float32Array, dtype: FloatDType, bytes: Uint8Array<ArrayBuffer>): void {
  writeFloat32(values, dtype, bytes)
  const bad = firstNotFinite(bytes, dtype)
  if (bad >= 0)
    throw new NumericError(`${name}: ${values[bad]} does not fit ${dtype}. Write in a wider type, --dtype bf16 or f32.`)
}
