// What a checkpoint is: architecture, tensors, parameters, bytes. Reads no weights.
import { UsageError } from '../base/errors.ts'
import { type Healed, healedFrom, type Pruned, prunedFrom } from '../checkpoint/pruning-record.ts'
import { isDType, isFloat } from '../formats/dtype.ts'
import { elements, type TensorInfo, type TensorSource } from '../formats/tensors.ts'
import { METHOD_NAMES, METHODS, SCOPES } from '../method/method.ts'
import {
  type Architecture,
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
import { resolveOptions } from '../options/options.ts'

/** What may go of a model: a scope of methods, or `vocabulary`. */
export interface Cuttable {
  readonly scope: string
  /** Methods that cut it of this model; none where an option does. */
  readonly methods: readonly string[]
  /** Parameters in what it takes from. */
  readonly parameters: number
}

export interface Inspection {
  readonly name: string
  readonly format: string
  readonly modelType: string
  /** How, and from what, where fasp did it. */
  readonly pruned?: Pruned
  /** What came of healing it after that, where it was; of a GGUF file `pruned` has the tokens alone. */
  readonly healed?: Healed
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
  readonly cuttable: readonly Cuttable[]
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
  return {
    name: checkpoint.name,
    format: checkpoint.format,
    modelType: a.modelType,
    pruned: prunedFrom(checkpoint),
    healed: healedFrom(checkpoint),
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
    dtypes: dtypesOf(tensors),
    parameters: { total, queryKey: qk, valueOutput: vo, ffn, other: total - qk - vo - ffn },
    cuttable: cuttable(a),
    weightBytes: checkpoint.weightBytes,
    tensors,
    unused: unusedTensors(model),
    missingCode: a.compact && checkpoint.format === 'huggingface' ? missingCode(checkpoint) : [],
  }
}

/** How many tensors are of each type. */
function dtypesOf(tensors: Iterable<TensorInfo>): Record<string, number> {
  const dtypes: Record<string, number> = {}
  for (const { dtype } of tensors) dtypes[dtype] = (dtypes[dtype] ?? 0) + 1
  return dtypes
}

/** What the headers of its files say of a model that is not supported. */
export interface Outline extends Pick<Inspection, 'name' | 'format' | 'dtypes' | 'weightBytes'> {
  /** In tensors of whole numbers there may be others, packed. */
  readonly parameters: number
}

export function outlineOf({ tensors }: TensorSource, of: Pick<Outline, 'name' | 'format' | 'weightBytes'>): Outline {
  const all = [...tensors.values()]
  const weights = all.filter(({ dtype }) => !isDType(dtype) || isFloat(dtype))
  return { ...of, dtypes: dtypesOf(all), parameters: weights.reduce((n, { shape }) => n + elements(shape), 0) }
}

function cuttable(a: Architecture): Cuttable[] {
  const { qk, vo, ffn } = decoderLinears(a)
  const takes = (method: string) => {
    try {
      return resolveOptions({ method, sparsity: 0.1 }, a, {}).sparsity > 0
    } catch (error) {
      if (error instanceof UsageError) return false
      throw error
    }
  }
  const parameters = { ffn, experts: ffn, 'ffn+vo': ffn + vo }
  const scopes = Object.entries(SCOPES).map(([name, { scope }]) => ({
    scope: name,
    methods: METHOD_NAMES.filter(
      m => (METHODS[m].parts.scope as readonly string[]).includes(name) && takes(`${m}:scope=${name}`),
    ),
    parameters: parameters[scope as keyof typeof parameters] ?? ffn + vo + qk,
  }))
  const rows = a.vocabularySize * a.embeddingSize * (a.tied ? 1 : 2)
  return [...scopes.filter(({ methods }) => methods.length > 0), { scope: 'vocabulary', methods: [], parameters: rows }]
}
