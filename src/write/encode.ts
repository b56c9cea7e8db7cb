// Weights in the type that they are written in.
import { NumericError } from '../errors.ts'
import { type FloatDType, firstNotFinite, fromFloat32 } from '../formats/dtype.ts'

/** Bytes of `values` in `dtype`. @param name of the tensor, for messages @throws NumericError where a value does not fit the type */
export function encode(name: string, values: Float32Array, dtype: FloatDType): Uint8Array<ArrayBuffer> {
  const bytes = fromFloat32(values, dtype)
  const bad = firstNotFinite(bytes, dtype)
  if (bad >= 0)
    throw new NumericError(`${name}: ${values[bad]} does not fit ${dtype}. Write in a wider type, --dtype bf16 or f32.`)
  return bytes
}
