// The weights of half-blocks, read as they are wanted.

import { type Values, values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { scatterColumns, scatterRows } from '../linalg/scatter.ts'
import { type Architecture, type HalfBlock, type Linear, widthsOf } from '../model/architecture.ts'
import { columnsOfRows, firstValueRows } from '../model/coupling.ts'
import { fetchWeights, type Model, readWeights } from '../model/model.ts'

/** A linear layer's values: `weight` [out, in] row-major, `bias` [out]. */
export interface LinearWeights {
  readonly weight: Floats
  readonly bias?: Floats
}

/** The weights of one half-block. Widths are those of the arrays, which pruning may have narrowed. */
export interface HalfWeights {
  readonly half: HalfBlock
  readonly norm: Readonly<Record<string, Values>>
  readonly inputs: readonly LinearWeights[]
  readonly output: LinearWeights
}

export const readHalf = async (model: Model, half: HalfBlock): Promise<HalfWeights> => (await fetchHalf(model, half))()

/** Reads the weights as they are stored; what comes of it decodes them. */
async function fetchHalf(model: Model, half: HalfBlock): Promise<() => HalfWeights> {
  const linear = async (l: Linear): Promise<() => LinearWeights> => {
    const weight = await fetchWeights(model, `${l.name}.weight`)
    const bias = l.bias ? await fetchWeights(model, `${l.name}.bias`) : undefined
    return () => ({ weight: weight(), bias: bias?.() })
  }
  const inputs: (() => LinearWeights)[] = []
  for (const l of half.inputs) inputs.push(await linear(l))
  const output = await linear(half.output)
  const norm = await readNorm(model, half.norm)
  return () => {
    const weights = { half, norm, inputs: inputs.map(decode => decode()), output: output() }
    return half.kind === 'attention' ? withAllValues(model.architecture, weights) : weights
  }
}

/** The weights of half-blocks, one after the other. While the caller works with one the next is read and, where it is dense, not decoded yet. */
export async function* readHalves(model: Model, halves: readonly HalfBlock[]): AsyncGenerator<HalfWeights, undefined> {
  const fetch = (i: number) => {
    const fetching = i < halves.length ? fetchHalf(model, halves[i]) : undefined
    fetching?.catch(() => {}) // thrown where it is waited for
    return fetching
  }
  let next = fetch(0)
  for (let i = 0; next; i++) {
    const weights = (await next)()
    next = fetch(i + 1) // and what was decoded goes
    yield weights
  }
}

/** Feeds of `norm` in a graph; ones and zeros where the model's norms have no weights. */
export async function readNorm(model: Model, name: string): Promise<Readonly<Record<string, Values>>> {
  const { hiddenSize: d, norm } = model.architecture
  const weight = norm.affine ? await readWeights(model, `${name}.weight`) : new Float32Array(d).fill(1)
  if (norm.type === 'rms') return { 'norm.weight': values(weight, [d]) }
  const bias = norm.affine ? await readWeights(model, `${name}.bias`) : new Float32Array(d)
  return { 'norm.weight': values(weight, [d]), 'norm.bias': values(bias, [d]) }
}

/**
 * Attention weights with `headSize` value channels in every head; the same object where that is so already. Compact checkpoints store fewer,
 * and the attention operator wants as many: a channel of zeros adds nothing to the output.
 */
function withAllValues(a: Architecture, weights: HalfWeights): HalfWeights {
  const { values } = widthsOf(a, weights.half.layer)
  if (values.every(n => n === a.headSize)) return weights
  const [q, k, v] = weights.inputs
  const rows = firstValueRows(a, values)
  const all = a.kvHeads * a.headSize
  const value: LinearWeights = {
    weight: scatterRows(v.weight, rows, all, a.hiddenSize),
    bias: v.bias && scatterRows(v.bias, rows, all, 1),
  }
  const { weight, bias } = weights.output
  const wide = scatterColumns(weight, columnsOfRows(a, rows), a.heads * a.headSize)
  return { ...weights, inputs: [q, k, value], output: { weight: wide, bias } }
}
