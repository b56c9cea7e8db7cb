// How a matrix [rows, columns] (a linear layer [out, in], or an embedding table) is stored: as floats, or as integers
// with scales (`blocks.ts`, `rows.ts`).
import { fromFloat32, toFloat32 } from '../../formats/dtype.ts'
import type { ElementType } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'

export type FloatType = 'float32' | 'float16'

/** One of the initializers that hold a matrix. */
export interface Part {
  /** What follows the tensor's name; the suffixes are those of ONNX Runtime's quantiser. */
  readonly suffix: string
  readonly type: ElementType
  readonly shape: readonly number[]
}

export interface Encoding {
  /** Stored [columns, rows]: some rows of it cannot be written alone. */
  readonly transposed?: boolean
  parts(rows: number, columns: number): readonly Part[]
  /** Bytes of each part. */
  encode(values: Floats, columns: number): readonly Uint8Array[]
  /** The values that a reader of the parts computes with. */
  round(values: Floats, columns: number): Floats
}

export const floats = (type: FloatType): Encoding => ({
  parts: (rows, columns) => [{ suffix: '', type, shape: [rows, columns] }],
  encode: values => [floatBytes(values, type)],
  round: values => rounded(values, type),
})

export const floatBytes = (values: Floats, type: FloatType): Uint8Array<ArrayBuffer> =>
  fromFloat32(values, type === 'float32' ? 'F32' : 'F16')

export const rounded = (values: Floats, type: FloatType): Floats =>
  type === 'float32' ? values : toFloat32(floatBytes(values, type), 'F16')
