// Exports that are Hugging Face folders: any model as it is or in another type; and a pruned model in its old shapes
// (`padded`), with zeros in the places that `fasp.json` records, for tools that want these shapes.
import { FormatError, UnsupportedModelError } from '../../base/errors.ts'
import type { Progress } from '../../base/events.ts'
import type { FloatDType } from '../../formats/dtype.ts'
import { shardedBytes } from '../../formats/safetensors.ts'
import { type Architecture, attentionHalves, expertsOf, layerWidths, tensorShapes } from '../../model/architecture.ts'
import { compactConfig, stockConfig } from '../../model/compact.ts'
import { firstValueRows } from '../../model/coupling.ts'
import { type AttentionHalf, linearsOf } from '../../model/half-block.ts'
import type { Model } from '../../model/model.ts'
import { outputTypes } from '../../options/plan.ts'
import { subSink } from '../../output/sink.ts'
import { type Steps, UNSAVED } from '../../output/steps.ts'
import { converted } from '../conversion.ts'
import type { ExportPlan, Target } from '../target.ts'
import { type Places, widened } from '../widen.ts'
import { CheckpointWriter } from './checkpoint.ts'
import { codeFiles } from './code-files.ts'
import { configFile, dtypeFields, olderLayerTypes } from './folder-files.ts'

const DTYPES = ['F32', 'F16', 'BF16']

export const huggingface: Target = {
  dtypes: DTYPES,
  plan(model, dtype) {
    const { architecture: a, checkpoint } = model
    const compact = a.compact ? compactConfig(a, layerWidths(a)) : {}
    return planFolder(model, { ...checkpoint.config, ...compact }, dtype)
  },
}

export const padded: Target = {
  dtypes: DTYPES,
  plan(model, dtype) {
    if (expertsOf(model.architecture) > 0)
      throw new UnsupportedModelError(
        `${model.checkpoint.name}: is a mixture of experts, and fasp.json does not say where the neurons of each ` +
          'were. Export as huggingface instead.',
      )
    if (hasAddedBiases(model.architecture))
      throw new UnsupportedModelError(
        `${model.checkpoint.name}: has biases that a stock ${model.architecture.modelType} model has no place for. ` +
          'Export as huggingface or onnx instead.',
      )
    const places = originalPlaces(model)
    const wide = places ? widened(model, places) : model
    const { architecture: a, checkpoint } = wide
    const plan = planFolder(wide, { ...stockConfig(a, checkpoint.config), [a.ffnWidthKey]: a.ffnWidth }, dtype)
    return places ? plan : { ...plan, notices: [NOTHING_TO_PAD] }
  },
}

/** Whether the model has biases that the stock config has no fields for. */
const hasAddedBiases = ({ biasFields, halves }: Architecture): boolean =>
  !biasFields && halves.flatMap(linearsOf).every(({ bias }) => bias)

function planFolder(model: Model, config: Record<string, unknown>, wanted: string | undefined): ExportPlan {
  const dtypeOf = outputTypes(model, wanted as FloatDType | undefined)
  const infos = [...tensorShapes(model.architecture)].map(([name, shape]) => ({ name, shape, dtype: dtypeOf(name) }))
  const dtypes = infos.map(({ dtype }) => dtype)
  return {
    dtype: wanted ?? dtypeOf(infos[0].name),
    bytes: shardedBytes(infos),
    notices: [],
    expected: { model, types: new Map(infos.map(({ name, dtype }) => [name, dtype])) },
    async *write(sink, { signal, saved = UNSAVED }) {
      const writer = new CheckpointWriter(subSink(sink, ''), infos)
      yield* writeTensors(model, writer, infos, saved, signal)
      const a = model.architecture
      const file = {
        ...{ ...config, ...olderLayerTypes(a), tie_word_embeddings: a.tied },
        ...dtypeFields(config, dtypes),
      }
      const code = a.compact ? codeFiles(a) : []
      await writer.finish([configFile(file), ...code, ...model.checkpoint.sideFiles])
    },
  }
}

async function* writeTensors(
  model: Model,
  writer: CheckpointWriter,
  infos: readonly { name: string; dtype: FloatDType }[],
  saved: Steps,
  signal: AbortSignal | undefined,
): Progress<void> {
  const { tensors } = model.checkpoint
  yield { type: 'phase', phase: 'export', total: infos.length, unit: 'tensors' }
  for (const [i, { name, dtype }] of infos.entries()) {
    signal?.throwIfAborted()
    if (saved.has(name)) await writer.resume([name])
    yield* saved.step(name, async () => {
      if (tensors.tensors.get(name)!.dtype === dtype) await writer.tensor(name, await tensors.bytes(name))
      else for await (const part of converted(model, name, dtype)) await writer.part(name, part)
    })
    yield { type: 'progress', done: i + 1 }
  }
}

const NOTHING_TO_PAD =
  'The model is written as it is: it has the shapes of a stock model, and no fasp.json says that it had wider ones.'

/**
 * Where the neurons and value rows of a pruned model were; the first places for what `fasp.json` does not record
 * (rotated values). Undefined where nothing says that the model was wider.
 */
function originalPlaces({ architecture: a, checkpoint }: Model): Places[] | undefined {
  const { name, recipe } = checkpoint
  const before = (recipe?.widths as { before?: { ffn?: unknown } } | undefined)?.before?.ffn
  const full = a.compact ? a.ffnWidth : before
  if (full === undefined || (!a.compact && full === a.ffnWidth)) return undefined
  const layers = (recipe?.layers ?? []) as RecipeLayer[]
  const problem = (where: string, wanted: string) =>
    new FormatError(`${name}/fasp.json`, `${where} must be ${wanted}; it does not belong to these weights. Prune again`)
  if (!Number.isInteger(full) || Number(full) < a.ffnWidth || Number(full) > MAX_WIDTH)
    throw problem('widths.before.ffn', `an integer of ${a.ffnWidth} or more`)
  const widths = layerWidths(a)
  return attentionHalves(a).map((stored, layer) => {
    const { ffn } = widths[layer]
    const { attention, ffn: half } = layers[layer] ?? {}
    const neurons = half?.kept ?? Array.from({ length: ffn }, (_, i) => i)
    if (!ascending(neurons, Number(full)) || neurons.length !== ffn)
      throw problem(`layers[${layer}].ffn.kept`, `${ffn} ascending integers below ${full}`)
    return {
      ffn: Number(full),
      neurons: Int32Array.from(neurons),
      valueRows: valueRows(stored, attention?.kept, layer),
    }
  })

  function valueRows(half: AttentionHalf, kept: unknown, layer: number): Int32Array {
    const { kvHeads, headSize, values } = half
    if (kept === undefined || !a.compact) return firstValueRows(half)
    const counts = (rows: readonly number[]) =>
      values.map((_, head) => rows.filter(row => Math.floor(row / headSize) === head).length)
    if (!ascending(kept, kvHeads * headSize) || counts(kept).join() !== values.join())
      throw problem(`layers[${layer}].attention.kept`, `ascending rows of v_proj, ${values} in its KV heads`)
    return Int32Array.from(kept)
  }
}

interface RecipeLayer {
  readonly attention?: { readonly kept?: unknown }
  readonly ffn?: { readonly kept?: unknown }
}

/** No FFN is near this; a larger one would only be an attack on memory. */
const MAX_WIDTH = 2 ** 20

const ascending = (list: unknown, below: number): list is number[] =>
  Array.isArray(list) &&
  list.every((n, i) => Number.isInteger(n) && n >= 0 && n < below && (i === 0 || n > list[i - 1]))
