// The number formats of transformers.js that we write: its name, the ending of its file, what its numbers are.
// Source: transformers.js `src/utils/dtypes.js`. What each costs in size and quality: docs/onnx.md.
import type { FloatType } from './encoding.ts'
import { blockProducts, floatProducts, type Products, rowProducts } from './products.ts'

export const ONNX_DTYPES = ['fp32', 'fp16', 'q8', 'q4', 'q4f16'] as const
export type OnnxDtype = (typeof ONNX_DTYPES)[number]

export interface OnnxFormat {
  /** In the folder of the model. */
  readonly file: string
  /** Of activations, cache, norms and all else that is not quantised. */
  readonly float: FloatType
  readonly products: Products
}

export const ONNX_FORMATS: Readonly<Record<OnnxDtype, OnnxFormat>> = {
  fp32: { file: 'onnx/model.onnx', float: 'float32', products: floatProducts },
  fp16: { file: 'onnx/model_fp16.onnx', float: 'float16', products: floatProducts },
  q8: { file: 'onnx/model_quantized.onnx', float: 'float32', products: rowProducts },
  q4: { file: 'onnx/model_q4.onnx', float: 'float32', products: blockProducts },
  q4f16: { file: 'onnx/model_q4f16.onnx', float: 'float16', products: blockProducts },
}
