// Writes the model file of one number format, and its external data where it is large. One tensor is in memory at a
// time, or a part of a vocabulary's table.
import { NumericError, UnsupportedModelError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import { floatSource } from '../../checkpoint/float-source.ts'
import { firstNotFinite } from '../../formats/dtype.ts'
import { layoutOnnx, type OnnxLayout } from '../../formats/onnx-file.ts'
import type { Floats } from '../../formats/tensors.ts'
import { type Architecture, expertsOf, tensorShapes } from '../../model/architecture.ts'
import type { Model } from '../../model/model.ts'
import type { Sink, SinkFile } from '../../output/sink.ts'
import type { Steps } from '../../output/steps.ts'
import { partsOf, readPart } from '../conversion.ts'
import { decoderGraph } from './decoder.ts'
import type { OnnxFormat } from './dtypes.ts'
import type { FloatType } from './encoding.ts'
import type { StoredTensor } from './products.ts'

/** Everything of a model file but the weights. */
export interface OnnxPlan {
  /** In the folder of the model; its external data are beside it. */
  readonly file: string
  readonly float: FloatType
  readonly layout: OnnxLayout
  readonly tensors: ReadonlyMap<string, StoredTensor>
}

/** @param fileBytes as in `layoutOnnx` @throws UnsupportedModelError for a mixture of experts */
export function planOnnxFile(a: Architecture, { file, float, products }: OnnxFormat, fileBytes?: number): OnnxPlan {
  if (expertsOf(a) > 0)
    throw new UnsupportedModelError(
      `${a.modelType} models cannot be written as ONNX: we have no graph of a mixture of experts. ` +
        'Choose another format.',
    )
  const { graph, tensors } = decoderGraph(a, products, float)
  return { file, float, layout: layoutOnnx(graph, file, fileBytes), tensors }
}

/** @throws NumericError where weights do not fit float16 */
export async function* writeOnnxFile(
  model: Model,
  { file, float, layout: { files, places, parts }, tensors }: OnnxPlan,
  sink: Sink,
  saved: Steps,
  signal?: AbortSignal,
): Progress<void> {
  yield { type: 'phase', phase: 'export', total: tensors.size, unit: 'tensors' }
  const open = new Map<string, SinkFile>()
  for (const [name, byteLength] of files) open.set(name, await sink.create(name, byteLength))
  for (const { offset, bytes } of parts) await open.get(file)!.write(bytes, offset)
  let done = 0
  for (const { name, columns, encoding, parts: names } of tensors.values()) {
    signal?.throwIfAborted()
    const ends = names.map(part => places.get(part)!.offset) // of what is written
    yield* saved.step(name, async () => {
      for (const rows of encoding.transposed ? [undefined] : partsOf(model, name)) {
        const values = await readPart(model, name, rows)
        if (float === 'float16' && firstNotFinite(encoding.round(values, columns), 'F32') >= 0)
          throw new NumericError(`${name} has values that do not fit float16. Choose another dtype: fp32, q8 or q4.`)
        for (const [i, bytes] of encoding.encode(values, columns).entries()) {
          await open.get(places.get(names[i])!.file)!.write(bytes, ends[i])
          ends[i] += bytes.length
        }
      }
    })
    done++
    yield { type: 'progress', done }
  }
  for (const handle of open.values()) await handle.close()
}

/** The model with the weights that the file holds: rounded as there. */
export function asStored({ architecture, checkpoint }: Model, { tensors: stored }: OnnxPlan): Model {
  const round = (name: string, values: Floats) => stored.get(name)!.encoding.round(values, stored.get(name)!.columns)
  const whole = async (name: string) => round(name, await checkpoint.tensors.float32(name))
  const tensors = {
    ...floatSource(tensorShapes(architecture), whole),
    rows: async (name: string, ids: Int32Array) => round(name, await checkpoint.tensors.rows(name, ids)),
  }
  return { architecture, checkpoint: { ...checkpoint, tensors } }
}
