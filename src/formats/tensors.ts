// Lazy tensors: what every reader of weights (safetensors, torch, GGUF) gives and every stage above reads.

/** Element types of dense tensors, spelled as in safetensors. */
export type DType = 'F64' | 'F32' | 'F16' | 'BF16' | 'I64' | 'I32' | 'I16' | 'I8' | 'U8' | 'BOOL'

/** Block-quantised element types of GGUF that are written. */
export type QuantizedType = 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'Q4_K' | 'Q5_K' | 'Q6_K'

/** Those that are read, dequantised. */
export type BlockType = QuantizedType | 'Q2_K' | 'Q3_K' | 'IQ4_NL' | 'IQ4_XS'

/** torch allows 64 dimensions; weights have up to 5. */
export const MAX_RANK = 16

export interface TensorInfo {
  readonly name: string
  readonly dtype: DType | BlockType
  /** Row-major shape, slowest dimension first. */
  readonly shape: readonly number[]
}

/** Numbers in memory of their own, or a view of it. */
export type Floats = Float32Array<ArrayBuffer>

/** Named tensors of a checkpoint. Nothing is read before it is asked for. */
export interface TensorSource {
  readonly tensors: ReadonlyMap<string, TensorInfo>
  /** The bytes as stored, row-major little-endian. @throws UsageError for a block-quantised tensor. */
  bytes(name: string): Promise<Uint8Array<ArrayBuffer>>
  /** The values as float32, dequantised or converted. @throws FormatError where the file ends early. */
  float32(name: string): Promise<Float32Array<ArrayBuffer>>
  /** The rows `ids` (ascending) of a matrix, or matrices of a stack, as float32. @throws as `float32` */
  rows(name: string, ids: Int32Array): Promise<Float32Array<ArrayBuffer>>
  close(): Promise<void>
}

/** Number of elements of a shape. */
export const elements = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)
