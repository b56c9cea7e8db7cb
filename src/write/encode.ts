// Weights in the type that they are written in.
import { NumericError } from '../errors.ts'
import { DTYPE_BYTES, type FloatDType, firstNotFinite, writeFloat32 } from '../formats/dtype.ts'
import { type Model, readRows, readWeights } from '../model/model.ts'

/** Bytes of `values` in `dtype`. @param name of the tensor, for messages @throws NumericError where a value does not fit the type */
export function encode(name: string, values: Float32Array, dtype: FloatDType): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(values.length * DTYPE_BYTES[dtype])
  encodeInto(name, values, dtype, bytes)
  return bytes
}

/** What is converted at once, in bytes of float32. */
const PART_BYTES = 16 * 2 ** 20

/** A tensor of the model in `dtype`; tables outside the layers in parts, as in float32 one can be larger than all else that is in memory. */
export async function* converted(
  model: Model,
  name: string,
  dtype: FloatDType,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const { shape } = model.checkpoint.tensors.tensors.get(name)!
  const inLayer = name.startsWith(`${model.architecture.names.layers}.`)
  if (inLayer || shape.length !== 2) return yield encode(name, await readWeights(model, name), dtype)
  const [rows, width] = shape
  const most = Math.ceil(PART_BYTES / (4 * width))
  for (let first = 0; first < rows; first += most) {
    const ids = Int32Array.from({ length: Math.min(most, rows - first) }, (_, i) => first + i)
    yield encode(name, await readRows(model, name, ids), dtype)
  }
}

/** Of rows of `width`, those that `stay`: one after the other, or each in its place among `total` with zeros elsewhere. */
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
