// What a checkpoint is: architecture, tensors, parameters, bytes. Reads no weights.
import { type Pruned, prunedFrom } from '../checkpoint/pruned.ts'
import { elements, type TensorInfo } from '../formats/tensors.ts'
import {
  attentionHalves,
  decoderLinears,
  ffnHalves,
  layersOf,
  layerWidths,
  tensorShapes,
} from '../model/architecture.ts'
import { missingCode } from '../model/compact.ts'
import type { LayerWidths } from '../model/half-block.ts'
import { type Model, unusedTensors } from '../model/model.ts'

export interface Inspection {
  readonly name: string
  readonly format: string
  readonly modelType: string
  /** How, and from what, where fasp did it. */
  readonly pruned?: Pruned
  readonly layers: number
  readonly hiddenSize: number
  readonly ffnWidth: number
  /** Of a mixture, whose `ffnWidth` is that of one expert. */
  readonly experts?: { readonly count: number; readonly active: number }
  /** Of a compact model. */
  readonly layerWidths?: readonly LayerWidths[]
  readonly heads: number
  readonly kvHeads: number
  readonly headSize: number
  readonly vocabularySize: number
  readonly context: number
  readonly tiedHead: boolean
  readonly dtypes: Readonly<Record<string, number>>
  readonly parameters: {
    readonly total: number
    readonly queryKey: number
    readonly valueOutput: number
    readonly ffn: number
    readonly other: number
  }
  readonly weightBytes: number
  readonly tensors: readonly TensorInfo[]
  /** Tensors in the file that the architecture does not use. */
  readonly unused: readonly string[]
  /** Python files that transformers needs for this compact model and that are not there. */
  readonly missingCode: readonly string[]
}

export function inspect(model: Model): Inspection {
  const { checkpoint, architecture: a } = model
  const tensors = [...tensorShapes(a).keys()].map(name => checkpoint.tensors.tensors.get(name)!)
  const total = tensors.reduce((n, t) => n + elements(t.shape), 0)
  const [{ heads, kvHeads, headSize }] = attentionHalves(a)
  const { qk, vo, ffn } = decoderLinears(a)
  const [{ experts }] = ffnHalves(a)
  const dtypes: Record<string, number> = {}
  for (const { dtype } of tensors) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1
  return {
    name: checkpoint.name,
    format: checkpoint.format,
    modelType: a.modelType,
    pruned: prunedFrom(checkpoint),
    layers: layersOf(a),
    hiddenSize: a.hiddenSize,
    ffnWidth: a.ffnWidth,
    experts: experts && { count: experts.router.out, active: experts.active },
    layerWidths: a.compact ? layerWidths(a) : undefined,
    heads,
    kvHeads,
    headSize,
    vocabularySize: a.vocabularySize,
    context: a.maxPositions,
    tiedHead: a.tied,
    dtypes,
    parameters: { total, queryKey: qk, valueOutput: vo, ffn, other: total - qk - vo - ffn },
    weightBytes: checkpoint.weightBytes,
    tensors,
    unused: unusedTensors(model),
    missingCode: a.compact && checkpoint.format === 'huggingface' ? missingCode(checkpoint) : [],
  }
}
