// transformers.js as `--verify` runs it on a folder of ONNX files, each of them.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from '../../forward/context.ts'
import type { Model } from '../../model/model.ts'
import { ONNX_DTYPES, ONNX_FORMATS } from '../onnx/dtypes.ts'
import { asStored, planOnnxFile } from '../onnx/file.ts'
import { type Runtime, verifyIn } from './runtime.node.ts'
import { ALLOWED } from './verify-onnx.ts'

export const TRANSFORMERS_JS: Runtime = {
  name: 'transformers.js',
  package: '@huggingface/transformers',
  child: new URL('./transformers-js-child.js', import.meta.url),
  bare: false,
}

/** @param model what the folder was made from @returns a line for each file @throws OutputError as `verifyIn` */
export async function verifyInTransformersJs(context: Context, model: Model, folder: string) {
  const told: string[] = []
  for (const dtype of ONNX_DTYPES.filter(dtype => existsSync(join(folder, ONNX_FORMATS[dtype].file)))) {
    const stored = asStored(model, planOnnxFile(model.architecture, ONNX_FORMATS[dtype]))
    told.push(`${dtype}: ${await verifyIn(context, stored, TRANSFORMERS_JS, [folder, dtype], ALLOWED[dtype])}`)
  }
  return told
}
