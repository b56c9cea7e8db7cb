// Half of a decoder layer as data: `y = x + after(W_out · hidden(before(x)))`. Layers may differ. A family's data file
// fills it in; every forward pass, statistic, cut and export is a function of it.

export type Activation = 'silu' | 'relu' | 'gelu' | 'gelu_tanh'

/** A norm over [size] values by the name before `.weight` and `.bias`. */
export interface Norm {
  readonly name: string
  readonly type: 'rms' | 'layer'
  readonly size: number
  readonly epsilon: number
  /** Whether it has weights. */
  readonly affine: boolean
  /** Added to the weights that are stored: Gemma's norms multiply by 1 + γ. @default 0 */
  readonly offset?: number
}

/**
 * A linear layer by the name before `.weight` and `.bias`; `W` is [out, in]. Input layers with one name are slices of
 * one stored tensor (Phi-3's `qkv_proj` and `gate_up_proj`), row after row in the order of the list, or `headwise`.
 */
export interface Linear {
  readonly name: string
  readonly out: number
  readonly in: number
  readonly bias: boolean
}

/** Rotary embedding: angle of pair i at position p is `p · inverseFrequencies[i]`. Pairs are (i, i + e/2). */
export interface Rope {
  /** Base of the frequencies before any scaling: θ^(−2i/r) of the r channels that are turned. */
  readonly theta: number
  readonly inverseFrequencies: Float64Array // [e/2], 0: the pair is not turned
  /** Those of texts of more than `from` tokens (LongRoPE). @default the same */
  readonly long?: { readonly from: number; readonly inverseFrequencies: Float64Array }
  /** What cosines and sines are multiplied by (LongRoPE, YaRN). @default 1 */
  readonly factor?: number
  /** YaRN, from a context of `from` positions. `usual`: the config's other YaRN fields have their defaults. */
  readonly yarn?: { readonly from: number; readonly factor: number; readonly usual: boolean }
  /** The channels of a head in the order in which they are such pairs. @default as they are stored */
  readonly order?: readonly number[] // [e]
}

/**
 * Where a norm is: of the stream, before the input layers; of each query and key head, before it is turned; of the
 * update, before it is added (Gemma 2); of the sum `x + update` (opt-350m), where the stream has no other way around.
 */
export type NormRole = 'before' | 'query' | 'key' | 'after' | 'afterSum'

interface Half {
  readonly layer: number
  readonly norms: Readonly<Partial<Record<NormRole, Norm>>>
  /** q, k, v, or gate and up, or fc1. */
  readonly inputs: readonly Linear[]
  /** o_proj or down_proj: the layer whose input columns are removed. */
  readonly output: Linear
  /** Indices into `inputs` of the layers whose rows go with the columns of `output`. */
  readonly coupled: readonly number[]
  /** What the update is multiplied by before it is added (Granite). @default 1 */
  readonly updateScale?: number
  /** FFN and attention read the same: y = x + attention(x) + ffn(x) (GPT-NeoX). @default the FFN reads the sum */
  readonly parallel?: boolean
}

export interface AttentionHalf extends Half {
  readonly kind: 'attention'
  /** h */
  readonly heads: number
  /** k; h / k query heads share one value head. */
  readonly kvHeads: number
  /** e */
  readonly headSize: number
  /** Value channels stored of each KV head, at most `headSize`. */
  readonly values: readonly number[] // [k]
  /** Of the scores. */
  readonly scale: number
  /** Queries and keys are turned by their positions. */
  readonly rope?: Rope
  /** A token sees the last `window` ones, itself among them. @default all */
  readonly window?: number
  /** Scores s become c · tanh(s / c) (Gemma 2). @default as they are */
  readonly cap?: number
  /** Of the tensor of q, k and v the rows of KV head 0 come first, then those of head 1, … (GPT-NeoX). */
  readonly headwise?: boolean
}

export interface FfnHalf extends Half {
  readonly kind: 'ffn'
  /** Of the first input layer; others multiply what it gives. */
  readonly activation: Activation
  /** Of a mixture, whose layers are those of its first expert: the others have the same, under their own numbers. */
  readonly experts?: Experts
}

/** A token's gates are the softmax of the router; experts with the largest gates run, weighed by them. */
export interface Experts {
  /** [experts, d] */
  readonly router: Linear
  /** To how many experts a token goes. */
  readonly active: number
  /** The gates of these are divided by their sum. */
  readonly normalised: boolean
}

export type HalfBlock = AttentionHalf | FfnHalf

/** How much a layer keeps, before it is known which. */
export interface Widths {
  /** FFN neurons. */
  readonly ffn: number
  /** Value channels of each KV head; with ragged selection the layer keeps `value · k` in all. */
  readonly value: number
  /** KV heads with their query heads, where some go whole. */
  readonly kvHeads?: number
  /** Experts of a mixture, where some go whole. */
  readonly experts?: number
}

/** What is stored of a layer that is narrower than the model's config says. */
export interface LayerWidths {
  /** FFN neurons. */
  readonly ffn: number
  /** Value channels of each KV head, at most `headSize`. */
  readonly values: readonly number[] // [k]
}

/** The inverse frequencies of a text of so many tokens. */
export const frequenciesOf = ({ inverseFrequencies, long }: Rope, tokens: number): Float64Array =>
  long && tokens > long.from ? long.inverseFrequencies : inverseFrequencies

/** d: what a half-block reads and writes. */
export const hiddenSize = ({ output }: HalfBlock): number => output.out

/** Query heads that share one KV head. */
export const groupSize = ({ heads, kvHeads }: AttentionHalf): number => heads / kvHeads

/** The stored tensors of the input layers, and which layers each holds the rows of, in this order. */
export function storedInputs({ inputs }: HalfBlock): Map<string, number[]> {
  const stored = new Map<string, number[]>()
  for (const [i, { name }] of inputs.entries()) stored.set(name, [...(stored.get(name) ?? []), i])
  return stored
}

/** Where in its tensor each row of q, k and v is stored, of q first. Undefined where they lie so. */
export function storedRows(half: HalfBlock): Int32Array<ArrayBuffer> | undefined {
  if (half.kind === 'ffn' || !half.headwise) return undefined
  const sizes = half.values.map(n => [groupSize(half) * half.headSize, half.headSize, n]) // of each head
  const layers = sizes.flatMap(rows => rows.flatMap((n, i) => new Array<number>(n).fill(i))) // that a stored row is of
  return Int32Array.from(layers.keys()).sort((a, b) => layers[a] - layers[b] || a - b)
}

/** Whether it reads the stream from before the attention of its layer. */
export const isBeside = ({ kind, parallel }: HalfBlock): boolean => kind === 'ffn' && parallel === true

/** Units that may go one by one: neurons, or value channels of each KV head. */
export const fullWidth = (half: HalfBlock): number => (half.kind === 'ffn' ? half.output.in : half.headSize)

/** Columns of `H` where nothing is removed: neurons, or heads · headSize. */
export const hiddenWidth = (half: HalfBlock): number =>
  half.kind === 'ffn' ? half.output.in : half.heads * half.headSize

/** Experts of a mixture, or else 0. */
export const expertCount = (half: HalfBlock): number => (half.kind === 'ffn' && half.experts?.router.out) || 0

/** Whether these widths take anything from a half-block. */
export const narrows = (half: HalfBlock, { ffn, value, kvHeads = Infinity, experts = Infinity }: Widths): boolean =>
  half.kind === 'ffn'
    ? ffn < half.output.in || experts < expertCount(half)
    : value < half.headSize || kvHeads < half.kvHeads

/** One expert of a mixture as an FFN of its own. */
export function expertHalf(half: FfnHalf, expert: number): FfnHalf {
  const own = (linear: Linear): Linear => ({ ...linear, name: ofExpert(linear.name, expert) })
  return { ...half, experts: undefined, inputs: half.inputs.map(own), output: own(half.output) }
}

/** The half-block, or of a mixture each expert. */
export const plainHalves = (half: HalfBlock): readonly HalfBlock[] =>
  half.kind === 'ffn' && half.experts
    ? Array.from({ length: expertCount(half) }, (_, e) => expertHalf(half, e))
    : [half]

/** Number of an expert in a name. */
export const EXPERT = /\.experts\.(\d+)\./

/** The name with another number for its expert; the same where it belongs to none. */
export const ofExpert = (name: string, expert: number): string => name.replace(EXPERT, `.experts.${expert}.`)

/** A mixture with so many experts; a token goes to as many as before, or all that are left. */
function withExperts(half: FfnHalf, out: number): FfnHalf {
  if (!half.experts) return half
  const { router, active, normalised } = half.experts
  return { ...half, experts: { router: { ...router, out }, active: Math.min(active, out), normalised } }
}

/** An FFN with so many neurons. */
export const withNeurons = (half: FfnHalf, neurons: number): FfnHalf => ({
  ...half,
  inputs: half.inputs.map(linear => ({ ...linear, out: neurons })),
  output: { ...half.output, in: neurons },
})

/** An attention with so many value channels in each KV head, and no more KV heads than there are numbers. */
export function withValues(half: AttentionHalf, values: readonly number[]): AttentionHalf {
  const [q, k, v] = half.inputs
  const kvHeads = values.length
  const heads = kvHeads * groupSize(half)
  const channels = values.reduce((sum, n) => sum + n, 0)
  const inputs = [
    { ...q, out: heads * half.headSize },
    { ...k, out: kvHeads * half.headSize },
    { ...v, out: channels },
  ]
  return { ...half, heads, kvHeads, values, inputs, output: { ...half.output, in: channels * groupSize(half) } }
}

/** The half-block with the widths of its layer. */
export const narrowedTo = (half: HalfBlock, { ffn, value, kvHeads, experts }: Widths): HalfBlock =>
  half.kind === 'ffn'
    ? withExperts(withNeurons(half, ffn), experts ?? expertCount(half))
    : withValues(half, new Array<number>(kvHeads ?? half.kvHeads).fill(value))

/** The half-block with a bias in all its linear layers. */
export const withBiases = <H extends HalfBlock>(half: H): H => ({
  ...half,
  inputs: half.inputs.map(linear => ({ ...linear, bias: true })),
  output: { ...half.output, bias: true },
})

/** The linear layers of a half-block, those of all experts and their router. */
export const linearsOf = (half: HalfBlock): Linear[] =>
  half.kind === 'ffn' && half.experts
    ? [half.experts.router, ...plainHalves(half).flatMap(linearsOf)]
    : [...half.inputs, half.output]

/** Weights of the linear layers of a half-block. */
export const linearSize = (half: HalfBlock): number =>
  linearsOf(half).reduce((sum, linear) => sum + linear.out * linear.in, 0)

/** Tensors of a norm that has weights. */
export const normTensors = ({ name, type, affine }: Norm): string[] =>
  affine ? (type === 'rms' ? [`${name}.weight`] : [`${name}.weight`, `${name}.bias`]) : []

/** The norms of a half-block. */
export const normsOf = ({ norms }: HalfBlock): Norm[] => Object.values(norms)

/** What graphs get as inputs, or do not depend on. */
const NOT_OF_GRAPHS = /^(layer|name|out|in|values|experts|theta|inverseFrequencies|long|factor|yarn)$/

/** A key of all facts that a half-block's graphs depend on, except widths: equal keys can share sessions. */
export const graphKey = (half: HalfBlock): string =>
  JSON.stringify([hiddenSize(half), half], (fact, value) => (NOT_OF_GRAPHS.test(fact) ? undefined : value))
