// The weights of half-blocks, read one at a time.
import { constant, type Values } from '../engine/engine.ts'
import { pickRows, scatterColumns, scatterRows, splitRows } from '../engine/linalg/scatter.ts'
import type { Floats } from '../formats/tensors.ts'
import { columnsOfRows, firstValueRows } from '../model/coupling.ts'
import {
  type AttentionHalf,
  expertCount,
  expertHalf,
  type HalfBlock,
  hiddenSize,
  hiddenWidth,
  type Linear,
  type Norm,
  type NormRole,
  normTensors,
  storedInputs,
  storedRows,
  withValues,
} from '../model/half-block.ts'
import { fetchWeights, type Model, readWeights } from '../model/model.ts'

/** A linear layer's values: `weight` [out, in] row-major, `bias` [out]. */
export interface LinearWeights {
  readonly weight: Floats
  readonly bias?: Floats
}

/** The weights of a half-block, with `headSize` value channels in every head. */
export interface HalfWeights {
  readonly half: HalfBlock
  /** Feeds of graphs. */
  readonly norms: Partial<Record<NormRole, Readonly<Record<string, Values<Floats>>>>>
  readonly inputs: readonly LinearWeights[]
  readonly output: LinearWeights
  /** The experts of a mixture, whose own `inputs` and `output` are empty. */
  readonly experts?: ExpertWeights
}

export interface ExpertWeights {
  readonly router: LinearWeights // [experts, d]
  /** Reads one expert as an FFN: all experts of a layer may not fit the memory. */
  readonly read: (expert: number) => Promise<HalfWeights>
}

export const readHalf = async (model: Model, half: HalfBlock): Promise<HalfWeights> => (await fetchHalf(model, half))()

/** As `readHalf`, all experts in memory. */
export async function readWhole(model: Model, half: HalfBlock): Promise<HalfWeights> {
  const weights = await readHalf(model, half)
  const { experts } = weights
  if (!experts) return weights
  const all: HalfWeights[] = []
  for (let e = 0; e < expertCount(half); e++) all.push(await experts.read(e))
  return { ...weights, experts: { ...experts, read: async e => all[e] } }
}

/** Reads stored weights. @returns a function that decodes them @param given norms, if they have been read */
async function fetchHalf(model: Model, half: HalfBlock, given?: HalfWeights['norms']): Promise<() => HalfWeights> {
  const linear = async ({ name, bias: hasBias }: Linear): Promise<() => LinearWeights> => {
    const weight = await fetchWeights(model, `${name}.weight`)
    const bias = hasBias ? await fetchWeights(model, `${name}.bias`) : undefined
    return () => ({ weight: weight(), bias: bias?.() })
  }
  const norms = given ?? (await readNorms(model, half))
  if (half.kind === 'ffn' && half.experts) {
    const router = { weight: await readWeights(model, `${half.experts.router.name}.weight`) }
    const read = async (e: number) => (await fetchHalf(model, expertHalf(half, e), norms))()
    return () => ({ half, norms, inputs: [], output: { weight: new Float32Array() }, experts: { router, read } })
  }
  const stored: (() => LinearWeights[])[] = []
  for (const slices of storedInputs(half).values()) {
    const layers = slices.map(i => half.inputs[i])
    const decode = await linear(layers[0])
    stored.push(() => sliced(decode(), layers, storedRows(half)))
  }
  const output = await linear(half.output)
  return () => {
    const inputs = stored.flatMap(decode => decode())
    const weights = { half, norms, inputs, output: output() }
    return half.kind === 'attention' ? withAllValues(half, weights) : weights
  }
}

async function readNorms(model: Model, half: HalfBlock): Promise<HalfWeights['norms']> {
  const norms: HalfWeights['norms'] = {}
  for (const [role, norm] of Object.entries(half.norms)) norms[role as NormRole] = await readNorm(model, norm, role)
  return norms
}

/** Views on the layers whose rows lie in a stored tensor, one after another or in this order. */
function sliced({ weight, bias }: LinearWeights, layers: readonly Linear[], order?: Int32Array): LinearWeights[] {
  const rows = layers.map(({ out }) => out)
  const split = (all: Floats, width: number) => splitRows(order ? pickRows(all, order, width) : all, rows, width)
  const biases = bias && split(bias, 1)
  return split(weight, layers[0].in).map((part, i) => ({ weight: part, bias: biases?.[i] }))
}

/** The weights of half-blocks, in turn. While the caller works with one, the next is read, not decoded. */
export async function* readHalves(model: Model, halves: readonly HalfBlock[]): AsyncGenerator<HalfWeights, undefined> {
  const fetch = (i: number) => {
    const fetching = i < halves.length ? fetchHalf(model, halves[i]) : undefined
    fetching?.catch(() => {}) // thrown where somebody waits for it
    return fetching
  }
  let next = fetch(0)
  for (let i = 0; next; i++) {
    const weights = (await next)()
    next = fetch(i + 1)
    yield weights
  }
}

/** Feeds of the norm `role` of graphs: ones and zeros where the norm has no weights. */
export async function readNorm(model: Model, norm: Norm, role: string): Promise<Record<string, Values<Floats>>> {
  const stored = normTensors(norm)
  const read = async (i: number) =>
    stored[i] ? await readWeights(model, stored[i]) : new Float32Array(norm.size).fill(1 - i)
  const feed = async (i: number) => {
    const weights = await read(i)
    return constant(norm.offset ? weights.map(w => w + norm.offset!) : weights, [norm.size])
  }
  const weight = { [`${role}.weight`]: await feed(0) }
  return norm.type === 'rms' ? weight : { ...weight, [`${role}.bias`]: await feed(1) }
}

/**
 * Attention weights with `headSize` value channels in every head, as the attention operator wants. Compact checkpoints
 * store fewer: channels of zeros add nothing to the output.
 */
function withAllValues(half: AttentionHalf, weights: HalfWeights): HalfWeights {
  const { kvHeads, headSize, values } = half
  if (values.every(n => n === headSize)) return weights
  const [q, k, v] = weights.inputs
  const rows = firstValueRows(half)
  const all = kvHeads * headSize
  const value: LinearWeights = {
    weight: scatterRows(v.weight, rows, all, hiddenSize(half)),
    bias: v.bias && scatterRows(v.bias, rows, all, 1),
  }
  const { weight, bias } = weights.output
  const wide = scatterColumns(weight, columnsOfRows(half, rows), hiddenWidth(half))
  const wideHalf = withValues(half, new Array<number>(kvHeads).fill(headSize))
  return { ...weights, half: wideHalf, inputs: [q, k, value], output: { weight: wide, bias } }
}
