// What the stages need to know of a model, read from `config.json`: sizes, norms, activation, positions and tensor names.
// One data file per `model_type` fills this in; nothing else in the code asks which family a model belongs to.

export type Activation = 'silu' | 'relu' | 'gelu' | 'gelu_tanh'

/** A linear layer by the name before `.weight` and `.bias`; `W` is [out, in]. */
export interface Linear {
  readonly name: string
  readonly out: number
  readonly in: number
  readonly bias: boolean
}

/** Rotary embedding: angle of pair i at position p is `p · inverseFrequencies[i]`. Pairs are (i, i + e/2), as in Hugging Face. */
export interface Rope {
  /** Base of the frequencies before any scaling: θ^(−2i/e). */
  readonly theta: number
  readonly inverseFrequencies: Float64Array // [e/2]
}

/** Names of one layer's modules, after the layer's prefix. */
export interface LayerNames {
  readonly attentionNorm: string
  readonly q: string
  readonly k: string
  readonly v: string
  readonly o: string
  readonly ffnNorm: string
  /** `[gate, up]` of a gated FFN, or `[fc1]`. The activation is applied to the first. */
  readonly ffnIn: readonly string[]
  readonly ffnOut: string
}

/** How wide the tensors of one layer are. */
export interface LayerWidths {
  /** FFN neurons. */
  readonly ffn: number
  /** Value channels of each KV head, at most `headSize`. */
  readonly values: readonly number[] // [k]
  /** KV heads that have query and key rows, where some have gone whole: no tensors are so, sizes are counted so. */
  readonly kvHeads?: number
}

export interface Architecture {
  /** Of the stock model; a compact checkpoint of it has `layerWidths`. */
  readonly modelType: string
  /** d */
  readonly hiddenSize: number
  readonly layers: number
  /** h */
  readonly heads: number
  /** k; h / k query heads share one value head. */
  readonly kvHeads: number
  /** e */
  readonly headSize: number
  /** f */
  readonly ffnWidth: number
  /** The key of `config.json` that holds `ffnWidth`. */
  readonly ffnWidthKey: string
  /** Widths of each layer in the compact layout. Absent: `ffnWidth` and `headSize` in all. */
  readonly layerWidths?: readonly LayerWidths[]
  readonly vocabularySize: number
  readonly maxPositions: number
  readonly activation: Activation
  readonly norm: { readonly type: 'rms' | 'layer'; readonly epsilon: number; readonly affine: boolean }
  /** Norm after the residual sum instead of before the half-block (opt-350m). */
  readonly postNorm: boolean
  readonly rope?: Rope
  readonly bias: { readonly qkv: boolean; readonly o: boolean; readonly ffn: boolean }
  /** Fields of `config.json` that give all linear layers of the decoder a bias. */
  readonly biasFields: Readonly<Record<string, true>>
  readonly tied: boolean
  readonly names: {
    readonly layers: string
    readonly layer: LayerNames
    readonly embedding: string
    /** Learned positions; row p + `positionOffset` belongs to position p. */
    readonly positions?: string
    readonly finalNorm?: string
    readonly head: string
    readonly projectIn?: string
    readonly projectOut?: string
  }
  readonly positionOffset: number
  /** Width of the embedding rows; differs from `hiddenSize` where there are `projectIn` and `projectOut`. */
  readonly embeddingSize: number
}

/** `y = x + W_out · hidden(norm(x))`: half of a decoder layer. */
export interface HalfBlock {
  readonly kind: 'attention' | 'ffn'
  readonly layer: number
  readonly norm: string
  /** q, k, v, or gate and up, or fc1. */
  readonly inputs: readonly Linear[]
  /** o_proj or down_proj: the layer whose input columns are removed. */
  readonly output: Linear
  /** Indices into `inputs` of the layers whose rows go with the columns of `output`. */
  readonly coupled: readonly number[]
}

/** How much a layer keeps, before it is known which. */
export interface Widths {
  /** FFN neurons. */
  readonly ffn: number
  /** Value channels of each KV head; with ragged selection the layer keeps `value · k` in all. */
  readonly value: number
  /** KV heads with their query heads, where some go whole. */
  readonly kvHeads?: number
}

/** What may be removed: FFN neurons, with value channels or whole KV heads and their query heads, or whole layers. */
export type Scope = 'ffn' | 'ffn+vo' | 'ffn+heads' | 'layers'

export const fullWidths = (a: Architecture): Widths => ({ ffn: a.ffnWidth, value: a.headSize, kvHeads: a.kvHeads })

/** The architecture with a bias in all linear layers of the decoder. */
export const withBiases = (a: Architecture): Architecture => ({ ...a, bias: { qkv: true, o: true, ffn: true } })

/** A tensor's name with another number for its layer; the same where it belongs to none. */
export function renumbered({ names }: Architecture, tensor: string, number: (layer: number) => number): string {
  const prefix = `${names.layers}.`
  if (!tensor.startsWith(prefix)) return tensor
  const [layer, ...rest] = tensor.slice(prefix.length).split('.')
  return [names.layers, number(Number(layer)), ...rest].join('.')
}

/** Whether these widths take anything from a half-block. */
export const narrows = (a: Architecture, { kind }: HalfBlock, { ffn, value, kvHeads = a.kvHeads }: Widths): boolean =>
  kind === 'ffn' ? ffn < a.ffnWidth : value < a.headSize || kvHeads < a.kvHeads

/** The architecture with these widths, one for each layer. */
export const narrowed = (a: Architecture, widths: readonly Widths[]): Architecture => ({
  ...a,
  layers: widths.length,
  layerWidths: widths.map(({ ffn, value, kvHeads = a.kvHeads }) => ({
    ffn,
    values: new Array<number>(kvHeads).fill(value),
    kvHeads,
  })),
})

/** Widths of layer `index`. */
export const widthsOf = (a: Architecture, index: number): LayerWidths =>
  a.layerWidths?.[index] ?? { ffn: a.ffnWidth, values: new Array<number>(a.kvHeads).fill(a.headSize) }

/** The two half-blocks of layer `index`. */
export function halfBlocks(a: Architecture, index: number): readonly [HalfBlock, HalfBlock] {
  const { hiddenSize: d, names } = a
  const at = (name: string) => `${names.layers}.${index}.${name}`
  const linear = (name: string, out: number, input: number, bias: boolean): Linear => ({
    name: at(name),
    out,
    in: input,
    bias,
  })
  const widths = widthsOf(a, index)
  const key = (widths.kvHeads ?? a.kvHeads) * a.headSize
  const query = key * (a.heads / a.kvHeads)
  const value = widths.values.reduce((n, channels) => n + channels, 0)
  const n = names.layer
  return [
    {
      kind: 'attention',
      layer: index,
      norm: at(n.attentionNorm),
      inputs: [linear(n.q, query, d, a.bias.qkv), linear(n.k, key, d, a.bias.qkv), linear(n.v, value, d, a.bias.qkv)],
      output: linear(n.o, d, value * (a.heads / a.kvHeads), a.bias.o),
      coupled: [2],
    },
    {
      kind: 'ffn',
      layer: index,
      norm: at(n.ffnNorm),
      inputs: n.ffnIn.map(name => linear(name, widths.ffn, d, a.bias.ffn)),
      output: linear(n.ffnOut, d, widths.ffn, a.bias.ffn),
      coupled: n.ffnIn.map((_, i) => i),
    },
  ]
}

/** Every tensor of a model of this architecture with its shape, in the order of the forward pass. Tied heads have none. */
export function tensorShapes(a: Architecture): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>()
  const { names, hiddenSize: d, embeddingSize } = a
  const norm = (name: string) => {
    if (!a.norm.affine) return
    shapes.set(`${name}.weight`, [d])
    if (a.norm.type === 'layer') shapes.set(`${name}.bias`, [d])
  }
  shapes.set(`${names.embedding}.weight`, [a.vocabularySize, embeddingSize])
  if (names.positions) shapes.set(`${names.positions}.weight`, [a.maxPositions + a.positionOffset, d])
  if (names.projectIn) shapes.set(`${names.projectIn}.weight`, [d, embeddingSize])
  for (let i = 0; i < a.layers; i++)
    for (const half of halfBlocks(a, i)) {
      norm(half.norm)
      for (const l of [...half.inputs, half.output]) {
        shapes.set(`${l.name}.weight`, [l.out, l.in])
        if (l.bias) shapes.set(`${l.name}.bias`, [l.out])
      }
    }
  if (names.finalNorm) norm(names.finalNorm)
  if (names.projectOut) shapes.set(`${names.projectOut}.weight`, [embeddingSize, d])
  if (!a.tied) shapes.set(`${names.head}.weight`, [a.vocabularySize, embeddingSize])
  return shapes
}

/** Weights of the decoder linears: what `sparsity` is a fraction of. Embeddings, norms, biases and head do not count. */
export function decoderLinears(a: Architecture): { qk: number; vo: number; ffn: number } {
  const size = (l: Linear) => l.out * l.in
  const linears = { qk: 0, vo: 0, ffn: 0 }
  for (let i = 0; i < a.layers; i++) {
    const [{ inputs: qkv, output }, ffn] = halfBlocks(a, i)
    linears.qk += size(qkv[0]) + size(qkv[1])
    linears.vo += size(qkv[2]) + size(output)
    for (const l of [...ffn.inputs, ffn.output]) linears.ffn += size(l)
  }
  return linears
}

/** All of them together. */
export const linearWeights = (a: Architecture): number =>
  Object.values(decoderLinears(a)).reduce((n, size) => n + size, 0)

/** Names all facts that graphs depend on: two architectures with the same key can share sessions. */
export const graphKey = (a: Architecture): string =>
  JSON.stringify([
    [a.hiddenSize, a.heads, a.kvHeads, a.headSize, a.embeddingSize, a.vocabularySize, a.names.layer.ffnIn.length],
    [a.activation, a.norm, a.postNorm, a.bias, a.rope !== undefined, a.names.finalNorm, a.names.projectOut],
  ])
