// A model as the stages see it, read from `config.json`: half-blocks, and what is before and after them. A data file
// for each `model_type` (families/) fills it in; nothing else asks for the family.
import type { GgufArchitecture } from '../checkpoint/checkpoint.ts'
import {
  type AttentionHalf,
  expertCount,
  type FfnHalf,
  fullWidth,
  type HalfBlock,
  type LayerWidths,
  linearSize,
  linearsOf,
  type Norm,
  narrowedTo,
  normsOf,
  normTensors,
  type Widths,
  withNeurons,
  withValues,
} from './half-block.ts'

export interface Architecture {
  /** Of the stock model; a compact checkpoint of it has another. */
  readonly modelType: string
  /** d */
  readonly hiddenSize: number
  /** Attention and FFN of the first layer, those of the second, … */
  readonly halves: readonly HalfBlock[]
  /** Layers have widths that the stock model's config has no words for. */
  readonly compact: boolean
  /** FFN neurons by `config.json`, under this key; a compact model's before it was pruned. */
  readonly ffnWidth: number
  readonly ffnWidthKey: string
  /** The fields of `config.json` that say how many experts a mixture has: transformers 4 and 5 may differ. */
  readonly expertsKeys?: readonly string[]
  readonly vocabularySize: number
  readonly maxPositions: number
  /** Fields of `config.json` that give all linear layers of the decoder a bias. Undefined where the family has none. */
  readonly biasFields?: Readonly<Record<string, true>>
  readonly tied: boolean
  readonly finalNorm?: Norm
  readonly names: {
    readonly layers: string
    readonly embedding: string
    /** Learned positions; row p + `positionOffset` belongs to position p. */
    readonly positions?: string
    readonly head: string
    readonly projectIn?: string
    readonly projectOut?: string
  }
  readonly positionOffset: number
  /** transformers 4's names of `rope_theta` and `partial_rotary_factor` in `config.json`. @default the same */
  readonly ropeFields?: readonly [theta: string, part: string]
  /** Width of the embedding rows; differs from `hiddenSize` where there are `projectIn` and `projectOut`. */
  readonly embeddingSize: number
  /** What these rows are multiplied by (Gemma). @default 1 */
  readonly embeddingScale?: number
  /** What logits are multiplied by (Granite). @default 1 */
  readonly logitScale?: number
  /** What `layer_types` calls each layer in transformers 4, where 5 has another word for it. */
  readonly layerType?: string
  /** How the classes of transformers begin, `…Config`, `…Model` and `…ForCausalLM`. */
  readonly classes: string
  /** How `…ForCausalLM` begins. @default as the others */
  readonly headClass?: string
  /** What llama.cpp calls the family, where it has a graph for it. */
  readonly gguf?: GgufArchitecture
}

/** What a family's data file says; its `model_type` is where `FAMILIES` has it. */
export type Family = Omit<Architecture, 'modelType'>

/** What may go: FFN neurons; with value channels or whole KV heads and their query heads; experts; layers. */
export type Scope = 'ffn' | 'ffn+vo' | 'ffn+heads' | 'experts' | 'layers'

export const layersOf = ({ halves }: Architecture): number => halves.at(-1)!.layer + 1

/** Experts of a layer, or 0. */
export const expertsOf = (a: Architecture): number => Math.max(...ffnHalves(a).map(expertCount))

/** FFNs, each expert one: a model has more tensors than that. */
export const ffnCount = (a: Architecture): number => layersOf(a) * Math.max(1, expertsOf(a))

/** The half-blocks of layer `index`. */
export const halfBlocks = ({ halves }: Architecture, index: number): readonly HalfBlock[] =>
  halves.filter(({ layer }) => layer === index)

export const attentionHalves = ({ halves }: Architecture): readonly AttentionHalf[] =>
  halves.filter(half => half.kind === 'attention')

export const ffnHalves = ({ halves }: Architecture): readonly FfnHalf[] => halves.filter(half => half.kind === 'ffn')

/** How wide layers are where nothing is removed: as the widest, where they differ. */
export const fullWidths = (a: Architecture): Widths & { readonly kvHeads: number } => ({
  ffn: Math.max(...ffnHalves(a).map(fullWidth)),
  value: Math.max(...attentionHalves(a).map(fullWidth)),
  kvHeads: Math.max(...attentionHalves(a).map(({ kvHeads }) => kvHeads)),
  ...(expertsOf(a) > 0 && { experts: expertsOf(a) }),
})

/** A tensor's name with another number for its layer; the same where it belongs to none. */
export function renumbered({ names }: Pick<Architecture, 'names'>, tensor: string, number: (layer: number) => number) {
  const prefix = `${names.layers}.`
  if (!tensor.startsWith(prefix)) return tensor
  const [layer, ...rest] = tensor.slice(prefix.length).split('.')
  return [names.layers, number(Number(layer)), ...rest].join('.')
}

/** The architecture with these layers alone, each of its width. */
export const narrowed = (a: Architecture, layers: readonly number[], widths: readonly Widths[]): Architecture => ({
  ...a,
  compact: true,
  halves: layers.flatMap((source, layer) =>
    halfBlocks(a, source).map(half => moved(a, narrowedTo(half, widths[layer]), layer)),
  ),
})

/** The half-block as that of another layer. */
function moved(a: Architecture, half: HalfBlock, layer: number): HalfBlock {
  const place = <T extends { readonly name: string }>(part: T): T => ({
    ...part,
    name: renumbered(a, part.name, () => layer),
  })
  const { norms, inputs, output } = half
  const own = {
    layer,
    norms: Object.fromEntries(Object.entries(norms).map(([role, norm]) => [role, place(norm)])),
    inputs: inputs.map(place),
    output: place(output),
  }
  if (half.kind === 'attention' || !half.experts) return { ...half, ...own }
  return { ...half, ...own, experts: { ...half.experts, router: place(half.experts.router) } }
}

/** The architecture with what is stored of each layer. */
export const withLayerWidths = (a: Architecture, widths: readonly LayerWidths[], compact = true): Architecture => ({
  ...a,
  compact,
  halves: a.halves.map(half =>
    half.kind === 'ffn' ? withNeurons(half, widths[half.layer].ffn) : withValues(half, widths[half.layer].values),
  ),
})

/** What is stored of each layer. */
export function layerWidths(a: Architecture): LayerWidths[] {
  const ffns = ffnHalves(a)
  return attentionHalves(a).map(({ values }, layer) => ({ ffn: ffns[layer].output.in, values }))
}

/** Every tensor of a model of this architecture with its shape, in forward order. A tied head has none. */
export function tensorShapes(a: Architecture): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>()
  const { names, hiddenSize: d, embeddingSize } = a
  const norm = (norm: Norm) => {
    for (const name of normTensors(norm)) shapes.set(name, [norm.size])
  }
  shapes.set(`${names.embedding}.weight`, [a.vocabularySize, embeddingSize])
  if (names.positions) shapes.set(`${names.positions}.weight`, [a.maxPositions + a.positionOffset, d])
  if (names.projectIn) shapes.set(`${names.projectIn}.weight`, [d, embeddingSize])
  for (const half of a.halves) {
    normsOf(half).forEach(norm)
    for (const l of linearsOf(half)) {
      const rows = l.out + (shapes.get(`${l.name}.weight`)?.[0] ?? 0) // slices of one tensor lie one after another
      shapes.set(`${l.name}.weight`, [rows, l.in])
      if (l.bias) shapes.set(`${l.name}.bias`, [rows])
    }
  }
  if (a.finalNorm) norm(a.finalNorm)
  if (names.projectOut) shapes.set(`${names.projectOut}.weight`, [embeddingSize, d])
  if (!a.tied) shapes.set(`${names.head}.weight`, [a.vocabularySize, embeddingSize])
  return shapes
}

/** Weights of the decoder linears, which `sparsity` is a fraction of: no embeddings, norms, biases or head. */
export function decoderLinears(a: Architecture): { qk: number; vo: number; ffn: number } {
  const linears = { qk: 0, vo: 0, ffn: 0 }
  for (const half of a.halves) {
    const size = linearSize(half)
    if (half.kind === 'ffn') linears.ffn += size
    else {
      const qk = (half.inputs[0].out + half.inputs[1].out) * a.hiddenSize
      linears.qk += qk
      linears.vo += size - qk
    }
  }
  return linears
}

/** All of them together. */
export const linearWeights = ({ halves }: Architecture): number =>
  halves.reduce((sum, half) => sum + linearSize(half), 0)
