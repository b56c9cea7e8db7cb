// Before any weight is read: widths, tensors of the output, sizes, and the memory of the run. `--dry-run` prints it.
import { UnsupportedModelError } from '../base/errors.ts'
import { type FloatDType, isFloat } from '../formats/dtype.ts'
import type { DenseTensorInfo } from '../formats/safetensors.ts'
import { elements } from '../formats/tensors.ts'
import { headRows, TABLE_BYTES } from '../forward/head.ts'
import { MIXED_BYTES, TOKENS_PER_RUN } from '../forward/stream.ts'
import type { Allocated } from '../method/allocate/allocate.ts'
import { allocationBytes, checkReach } from '../method/allocate/sensitivity.ts'
import { uniformWidths } from '../method/allocate/uniform.ts'
import { layersToRemove } from '../method/baselines/influence.ts'
import { expectedWidths } from '../method/baselines/standardized.ts'
import {
  type Architecture,
  attentionHalves,
  expertsOf,
  ffnHalves,
  fullWidths,
  halfBlocks,
  layersOf,
  linearWeights,
  narrowed,
  renumbered,
  tensorShapes,
  withLayerWidths,
} from '../model/architecture.ts'
import { ADDED_BIASES } from '../model/compact.ts'
import {
  expertCount,
  type HalfBlock,
  hiddenWidth,
  type LayerWidths,
  narrows,
  ofExpert,
  type Widths,
  withBiases,
} from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import { BUFFER_BYTES } from '../output/read-ahead.ts'
import { ownTextBytes } from '../text/sample.ts'
import type { ResolvedOptions } from './options.ts'

/** Sparsity three ways: of the decoder linears, of the whole model, of the bytes on disk. */
export interface Sizes {
  readonly decoderLinears: { readonly before: number; readonly after: number }
  /** `stored` counts zeros that a padded layout keeps, `effective` does not. Tied weights count once. */
  readonly parameters: { readonly before: number; readonly stored: number; readonly effective: number }
  readonly weightBytes: { readonly before: number; readonly after: number }
}

export interface Plan {
  /** Of the decoder linears, as asked for, or what reaches the size asked for. */
  readonly sparsity: number
  /** Layers of the source that stay; how many is known before it is known which. */
  readonly layers: { readonly before: number; readonly after: readonly number[] }
  /** Before pruning, and after it in each layer that stays. */
  readonly widths: { readonly before: Widths; readonly after: readonly Widths[] }
  /** Widths of the tensors written; they differ from `widths.after` where the layout pads. */
  readonly stored: readonly Widths[]
  /** Config fields of biases that the output has and the source lacks. */
  readonly biasFields: Readonly<Record<string, true>>
  readonly tensors: readonly DenseTensorInfo[]
  /** Gram matrices of what changed linear layers read, by the layer, or the first of those that read the same. */
  readonly grams: readonly DenseTensorInfo[]
  /** Of the output, as it will read back. */
  readonly architecture: Architecture
  readonly sizes: Sizes
  /** Bytes of activations that are in memory, and in a scratch file because they do not fit the budget. */
  readonly activationBytes: { readonly memory: number; readonly scratch: number }
  /** Estimate of the peak resident memory in bytes. */
  readonly memoryBytes: number
}

/** Bytes of the files with the weights that a user is left with: of a folder, or of what it is exported to. */
export type OutputBytes = (output: Omit<Plan, 'sizes' | `${string}Bytes`>, options: ResolvedOptions) => number

/** What Node, ONNX Runtime and its thread buffers take before any weight is loaded. */
const BASE_BYTES = 200e6
/** The library that products in bf16 come from, and what it keeps between runs. */
const BF16_BYTES = 100e6
/** Arrays that nothing uses any more and that are not yet collected. */
const GARBAGE_BYTES = 100e6

/**
 * @param writes a text to calibrate on, for which the whole model is in memory
 * @param bytesOf of what the user gets
 * @param allocated what each layer keeps, and which go. @default the same widths for all, and the first layers
 */
export function makePlan(
  model: Model,
  options: ResolvedOptions,
  writes: boolean,
  bytesOf: OutputBytes,
  allocated?: Pick<Allocated, 'widths' | 'removed'>,
): Plan {
  const { architecture: a, checkpoint } = model
  if (a.compact)
    throw new UnsupportedModelError(
      `${checkpoint.name}: is compact, pruned already. Prune the model it was made from, with a higher --sparsity.`,
    )
  const before = fullWidths(a)
  const layers = layersThatStay(a, options, allocated?.removed)
  const after = allocated?.widths ?? layers.map(() => expected(a, options))
  if (options.allocate === 'sensitivity') checkReach(a, options)
  const stored = after.map(widths => storedWidths(options.layout, before, widths))
  const compact = options.layout === 'compact'
  const addsBiases = options.restore === 'bias' && options.sparsity > 0
  const biased = addsBiases ? { ...a, halves: a.halves.map(withBiases) } : a
  const architecture: Architecture = {
    ...(compact ? withLayerWidths(biased, compactWidths(a, after)) : narrowed(biased, layers, stored)),
    compact,
    ffnWidth: options.layout === 'stock' ? stored[0].ffn : a.ffnWidth,
  }
  const dtypes = outputTypes(model, options.dtype)
  const dtypeOf = (name: string) => {
    const source = ofExpert(
      renumbered(a, name, layer => layers[layer]),
      0,
    ) // all are of one type
    return dtypes(checkpoint.tensors.tensors.has(source) ? source : source.replace(/bias$/, 'weight'))
  }
  const tensors = [...tensorShapes(architecture)].map(([name, shape]) => ({ name, shape, dtype: dtypeOf(name) }))
  const count = (shapes: Iterable<readonly number[]>) => [...shapes].reduce((n, shape) => n + elements(shape), 0)
  const pruned = narrowed(a, layers, after)
  const { buffers, ...activationBytes } = placeActivations(a, options)
  const biasFields = addsBiases ? (a.biasFields ?? { [ADDED_BIASES]: true as const }) : {}
  const halves = layers.flatMap(layer => halfBlocks(a, layer))
  const output = {
    ...{ layers: { before: layersOf(a), after: layers }, widths: { before, after } },
    ...{ sparsity: options.sparsity, stored, biasFields, tensors, architecture },
    grams: gramTensors(architecture, halves, after, options),
  }
  return {
    ...output,
    sizes: {
      decoderLinears: { before: linearWeights(a), after: linearWeights(pruned) },
      parameters: {
        before: count(tensorShapes(a).values()) + (checkpoint.vocabulary?.parameters ?? 0),
        stored: count(tensors.map(t => t.shape)),
        effective: count(tensorShapes(pruned).values()) + (addsBiases ? outputBiases(a) : 0),
      },
      weightBytes: { before: checkpoint.weightBytes, after: bytesOf(output, options) },
    },
    activationBytes,
    memoryBytes: Math.max(
      estimateMemory(model, options, activationBytes.memory + buffers),
      writes ? BASE_BYTES + ownTextBytes(a, options) : 0,
    ),
  }
}

const expected = (a: Architecture, options: ResolvedOptions): Widths =>
  options.allocate === 'standardized' && options.scope === 'ffn+heads'
    ? expectedWidths(a, options.sparsity)
    : uniformWidths(a, options)

function layersThatStay(a: Architecture, options: ResolvedOptions, removed: Allocated['removed']): number[] {
  const all = Array.from({ length: layersOf(a) }, (_, layer) => layer)
  if (removed) return all.filter(layer => !removed.some(gone => gone.layer === layer))
  return options.scope === 'layers' ? all.slice(0, all.length - layersToRemove(a, options.sparsity)) : all
}

/** @param output as it is written @param before its half-blocks in the source @param after what each layer keeps */
function gramTensors(
  output: Architecture,
  before: readonly HalfBlock[],
  after: readonly Widths[],
  { target, alpha, inputs }: ResolvedOptions,
): DenseTensorInfo[] {
  const first = output.halves.findIndex((half, i) => narrows(before[i], after[half.layer]))
  return output.halves.flatMap((half, i) => {
    const {
      layer,
      inputs: [input],
      output,
    } = half
    if (expertCount(half) > 0) return []
    // As `pruneHalf`: with a dense target all after the first cut.
    const repaired = target === 'dense' && alpha > 0 && first >= 0 && i > first
    const changed = [...(repaired && inputs === 'aligned' ? [input] : [])]
    if (repaired || narrows(before[i], after[layer])) changed.push(output)
    return changed.map(({ name, in: n }): DenseTensorInfo => ({ name, shape: [n, n], dtype: 'F32' }))
  })
}

/** Biases that output layers have gained; those of the other layers are zeros. */
const outputBiases = ({ halves, hiddenSize }: Architecture): number =>
  hiddenSize * halves.filter(({ output }) => !output.bias).length

/** The element type of each output tensor. */
export function outputTypes(model: Model, wanted: FloatDType | undefined): (name: string) => FloatDType {
  const { tensors } = model.checkpoint.tensors
  const names = [...tensorShapes(model.architecture).keys()]
  const quantized = names.some(name => !isFloat(tensors.get(name)!.dtype))
  return name => wanted ?? (quantized ? 'BF16' : (tensors.get(name)!.dtype as FloatDType))
}

/** The type that a tensor of the source is written in. */
export function typesOf({ tensors, layers }: Plan, a: Architecture): (name: string) => FloatDType {
  const types = new Map(tensors.map(({ name, dtype }) => [name, dtype as FloatDType]))
  return name =>
    types.get(
      ofExpert(
        renumbered(a, name, layer => layers.after.indexOf(layer)),
        0,
      ),
    )!
}

/** `stock` narrows FFNs only, `padded` nothing, `compact` all. */
function storedWidths(layout: ResolvedOptions['layout'], before: Widths, after: Widths): Widths {
  if (layout === 'compact') return after
  return layout === 'stock' ? { ffn: after.ffn, value: before.value, experts: after.experts } : before
}

/**
 * In layout compact. Of heads that go whole all but the value channels is stored; which go is not known yet. Where
 * nothing is left, a neuron or a channel stays (`ModelWriter.stored`).
 */
const compactWidths = (a: Architecture, after: readonly Widths[]): LayerWidths[] =>
  attentionHalves(a).map(({ values, headSize }, layer) => {
    const { ffn, value, kvHeads } = after[layer]
    const ofHead = (head: number) => (head < kvHeads! ? headSize : Number(head === 0))
    return { ffn: Math.max(1, ffn), values: values.map((_, head) => (kvHeads === undefined ? value : ofHead(head))) }
  })

/**
 * The streams go to memory first, then the hidden activations of one half-block, each where it fits whole. Of each of
 * the others a batch is read ahead, and one written behind, in buffers.
 */
function placeActivations(a: Architecture, { windows, seqLen, memory, target }: ResolvedOptions) {
  const placed = { memory: 0, scratch: 0, buffers: 0 }
  const batch = 4 * seqLen * Math.min(windows, Math.max(1, Math.floor(TOKENS_PER_RUN / seqLen)))
  const rows = a.halves[0].parallel ? 2 : 1 // the stream, and what both halves of a layer read
  const streams = new Array<number>((target === 'dense' ? 2 : 1) * rows).fill(a.hiddenSize)
  const hidden = Math.max(...a.halves.map(hiddenWidth))
  for (const width of [...streams, ...(expertsOf(a) > 0 ? [a.hiddenSize, a.hiddenSize, a.hiddenSize] : [hidden])]) {
    const bytes = 4 * windows * seqLen * width
    const place = placed.memory + bytes <= memory * 2 ** 30 ? 'memory' : 'scratch'
    placed[place] += bytes
    if (place === 'scratch') placed.buffers = Math.min(BUFFER_BYTES, placed.buffers + 2 * batch * width)
  }
  return placed
}

/**
 * Peak resident memory: what is always there, and the larger of a table of the vocabulary and the work on a half-block.
 * Fitted to peaks that were measured (run.test.ts).
 */
function estimateMemory(model: Model, options: ResolvedOptions, activations: number): number {
  const { architecture: a, checkpoint } = model
  const { windows, seqLen, score, allocate, inputs, target, heldOut, memory, products } = options
  // Aligned input layers are in memory beside those that were read.
  const weightsOf = (half: HalfBlock) =>
    [...half.inputs, ...(inputs === 'aligned' ? half.inputs : []), half.output].reduce((n, l) => n + l.in * l.out, 0)
  const width = Math.max(...a.halves.map(hiddenWidth))
  const weights = 4 * Math.max(...a.halves.map(weightsOf))
  const stored = checkpoint.tensors.tensors.get(`${ffnHalves(a)[0].output.name}.weight`)!.dtype
  const next = ['F16', 'BF16'].includes(stored) ? 0.25 : 0.5 // the next half-block, as it is stored where it is dense
  const copies = 1 + next
  const gram = 4 * width ** 2
  // In float64: G_P, factor of G_MM, right-hand sides; for elimination the factor of G, its inverse, W twice.
  const measures = allocate === 'sensitivity'
  const eliminates = score === 'eliminate' || measures
  const solve = 8 * ((eliminates ? 1.5 : 1) * width ** 2 + (eliminates ? 3 : 2) * width * a.hiddenSize)
  const run = 4 * TOKENS_PER_RUN * 4 * width // float32 buffers inside ONNX Runtime
  const severalBatches = windows * seqLen > TOKENS_PER_RUN
  const grams = products === 'bf16' && severalBatches ? 2 : 1.5 // G, half as it adds up, in bf16 half of one batch
  const work = copies * weights + grams * gram + solve + run
  // ONNX Runtime keeps what logits once took: of two models with what compares them, or of one.
  const logits = (measures ? 6 : heldOut > 0 ? 3 : 0) * 4 * headRows(a) * a.vocabularySize
  const measured = measures ? Math.min(memory * 2 ** 30 + BUFFER_BYTES, allocationBytes(a, options)) : 0
  const garbage = GARBAGE_BYTES * (1 + Number(eliminates || target === 'dense') + Number(measures))
  const table = Math.min(4 * a.vocabularySize * a.embeddingSize, TABLE_BYTES.held)
  const base = BASE_BYTES + (products === 'bf16' ? BF16_BYTES : 0)
  const mixed = expertsOf(a) > 0 ? Math.min(MIXED_BYTES, 4 * windows * seqLen * a.hiddenSize) : 0 // added to rows
  return base + garbage + Math.max(activations, measured) + mixed + logits + Math.max(table, work)
}
