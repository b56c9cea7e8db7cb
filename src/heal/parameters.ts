// The weights that healing changes, in float32, and the state of Adam: half-block after half-block in memory, beyond a
// budget in scratch files, in the shapes of forward/weights.ts; `storedTensors` gives the tensors of files. With
// low-rank updates (lora.ts) only the updates are kept, and weights are made from them and the checkpoint when they are
// read.
import { randomNumbers } from '../base/random.ts'
import { pick, pickRows, scatterRows } from '../engine/linalg/scatter.ts'
import { type FloatDType, fromFloat32, toFloat32 } from '../formats/dtype.ts'
import type { Floats, TensorSource } from '../formats/tensors.ts'
import type { Context } from '../forward/context.ts'
import { type HalfWeights, type LinearWeights, readHalf } from '../forward/weights.ts'
import { columnsOfRows, firstValueRows } from '../model/coupling.ts'
import {
  expertHalf,
  type HalfBlock,
  hiddenWidth,
  type Linear,
  linearsOf,
  plainHalves,
  storedInputs,
  storedRows,
  withValues,
} from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import type { Trains } from '../options/options.ts'
import type { Activations, Batch } from '../output/activations.ts'
import { type GradientSums, type HalfGradients, summed } from './backward.ts'
import { beginUpdates, type Update, updated, updateGradients, updateSize, updatesOf } from './lora.ts'

/** Low-rank updates in the place of weights. */
export interface LowRank {
  readonly rank: number
  /** Of their first values. */
  readonly seed: number
}

export const trainedHalves = (halves: readonly HalfBlock[], train: Trains): HalfBlock[] =>
  halves.filter(({ kind }) => train !== 'ffn' || kind === 'ffn').flatMap(plainHalves)

type Linears = Pick<HalfGradients, 'inputs' | 'output'>

/** The half-block with all value channels, as it computes. */
const wideHalf = (half: HalfBlock): HalfBlock =>
  half.kind === 'ffn' ? half : withValues(half, new Array<number>(half.kvHeads).fill(half.headSize))

const layersOf = (half: HalfBlock): Linear[] => linearsOf(wideHalf(half))

const sizeOf = (half: HalfBlock, rank?: number): number =>
  rank
    ? updateSize(layersOf(half), rank)
    : layersOf(half).reduce((sum, { in: columns, out, bias }) => sum + out * (columns + (bias ? 1 : 0)), 0)

/** Trained numbers of these half-blocks. @param rank of low-rank updates, if they are trained */
export const trainedSize = (halves: readonly HalfBlock[], rank?: number): number =>
  halves.reduce((sum, half) => sum + sizeOf(half, rank), 0)

/** Weights and biases of the largest half-block, or expert. */
export const largestSize = (halves: readonly HalfBlock[]): number => Math.max(...halves.map(half => sizeOf(half)))

const arraysOf = ({ inputs, output }: Linears): Floats[] =>
  [...inputs, output].flatMap(({ weight, bias }) => (bias ? [weight, bias] : [weight]))

/** Names of the tensors that these arrays are of. */
const namesOf = (half: HalfBlock): string[] =>
  linearsOf(half).flatMap(({ name, bias }) => (bias ? [`${name}.weight`, `${name}.bias`] : [`${name}.weight`]))

/** Views on the linear layers of a half-block that lie one after another in `all`. */
function viewed(half: HalfBlock, all: Floats): Linears {
  let end = 0
  const take = (length: number): Floats => {
    end += length
    return all.subarray(end - length, end)
  }
  const layers = layersOf(half).map(
    ({ in: columns, out, bias }): LinearWeights => ({
      weight: take(out * columns),
      bias: bias ? take(out) : undefined,
    }),
  )
  return { inputs: layers.slice(0, -1), output: layers.at(-1)! }
}

/** The tensors of a half-block as files have them: narrow, or with several layers in one. */
export function storedTensors(half: HalfBlock, { inputs, output }: Linears): Map<string, Floats> {
  const found = new Map<string, Floats>()
  const values = half.kind === 'attention' ? firstValueRows(half) : undefined
  const order = storedRows(half)
  for (const [name, slices] of storedInputs(half)) {
    const put = (part: keyof LinearWeights, width: number) => {
      const layers = slices.map(i => {
        const rows = inputs[i][part]!
        return values && half.coupled.includes(i) ? pickRows(rows, values, width) : rows
      })
      const joined = new Float32Array(layers.reduce((sum, { length }) => sum + length, 0))
      let end = 0
      for (const layer of layers) {
        joined.set(layer, end)
        end += layer.length
      }
      found.set(`${name}.${part}`, order ? scatterRows(joined, order, order.length, width) : joined)
    }
    const { in: width, bias } = half.inputs[slices[0]]
    put('weight', width)
    if (bias) put('bias', 1)
  }
  const { name, out } = half.output
  const rows = Int32Array.from({ length: out }, (_, row) => row)
  const columns = half.kind === 'attention' && columnsOfRows(half, values!)
  found.set(`${name}.weight`, columns ? pick(output.weight, rows, columns, hiddenWidth(half)) : output.weight)
  if (output.bias) found.set(`${name}.bias`, output.bias)
  return found
}

/** Arrays as long as all that is trained, half-block by half-block. */
export class TrainedWeights {
  readonly #batches = new Map<string, Batch>()
  readonly #norms = new Map<string, HalfWeights['norms']>()

  private constructor(
    readonly context: Context,
    readonly model: Model,
    readonly halves: readonly HalfBlock[],
    readonly rank?: number,
  ) {
    let start = 0
    for (const half of halves) {
      const tokens = sizeOf(half, rank)
      this.#batches.set(keyOf(half), { windows: 1, start, tokens })
      start += tokens
    }
  }

  /** @param halves to train @returns also the weights of the checkpoint, or updates that change nothing yet */
  static async open(context: Context, model: Model, halves: readonly HalfBlock[], updates?: LowRank) {
    const trained = new TrainedWeights(context, model, halves, updates?.rank)
    const weights = await trained.room()
    const random = randomNumbers(updates?.seed ?? 0)
    for (const half of halves) {
      context.signal?.throwIfAborted()
      if (updates) {
        beginUpdates(layersOf(half), updates.rank, weights.room(trained.#of(half)), random)
        await weights.store(trained.#of(half))
        continue
      }
      const stored = await readHalf(model, half)
      trained.#norms.set(keyOf(half), stored.norms)
      join(stored, weights.room(trained.#of(half)))
      await weights.store(trained.#of(half))
    }
    return { trained, weights }
  }

  /** Room for one number of each weight, all zeros. */
  async room(): Promise<Activations> {
    const room = await this.context.pool.open([...this.#batches.values()], 1)
    for (const batch of room.batches) {
      room.room(batch).fill(0)
      await room.store(batch)
    }
    return room
  }

  isTrained = (half: HalfBlock): boolean => this.#batches.has(keyOf(half))

  #of(half: HalfBlock): Batch {
    return this.#batches.get(keyOf(half))!
  }

  /** Half-blocks with the weights of `values`, or of the checkpoint if not trained. @param change of each array */
  async *read(
    values: Activations,
    halves: readonly HalfBlock[],
    change: (values: Floats, name: string) => Floats = same => same,
  ): AsyncGenerator<HalfWeights, undefined> {
    for (const half of halves) {
      if (!this.isTrained(half)) {
        yield await readHalf(this.model, half)
        continue
      }
      if (half.kind === 'ffn' && half.experts) {
        const { experts, ...others } = await readHalf(this.model, half)
        yield { ...others, experts: { ...experts!, read: e => this.#read(values, expertHalf(half, e), change) } }
      } else yield await this.#read(values, half, change)
    }
  }

  async #read(
    values: Activations,
    half: HalfBlock,
    change: (values: Floats, name: string) => Floats,
  ): Promise<HalfWeights> {
    const { norms, ...linears } = await this.#weights(half, await values.load(this.#of(half)))
    const names = namesOf(half)
    const arrays = arraysOf(linears).map((array, i) => change(array, names[i]))
    let next = 0
    const changed = ({ bias }: LinearWeights): LinearWeights => ({
      weight: arrays[next++],
      bias: bias && arrays[next++],
    })
    const inputs = linears.inputs.map(changed)
    return { half: wideHalf(half), norms, inputs, output: changed(linears.output) }
  }

  /** The weights of a half-block, from its part of the values. */
  async #weights(half: HalfBlock, all: Floats): Promise<Linears & Pick<HalfWeights, 'norms'>> {
    const { rank, context } = this
    if (!rank) return { ...viewed(half, all), norms: this.#norms.get(keyOf(half))! }
    const { norms, ...stored } = await readHalf(this.model, half)
    const updates = updatesOf(layersOf(half), rank, all)
    const linear = async ({ weight, bias }: LinearWeights, update: Update): Promise<LinearWeights> => ({
      weight: await updated(context.engine.linalg, weight, update, rank),
      bias,
    })
    const inputs: LinearWeights[] = []
    for (const [i, layer] of stored.inputs.entries()) inputs.push(await linear(layer, updates[i]))
    return { norms, inputs, output: await linear(stored.output, updates.at(-1)!) }
  }

  /** Keeps the gradients of a half-block, over all ranks. @param of used up @returns the sum of their squares */
  async keep(gradients: Activations, values: Activations, weights: HalfWeights, of: GradientSums): Promise<number> {
    const { rank } = this
    if (of.experts) {
      let squares = 0
      for (const [e, own] of of.experts.of.entries())
        squares += await this.keep(gradients, values, await weights.experts!.read(e), own)
      return squares
    }
    const batch = this.#of(weights.half)
    const room = gradients.room(batch)
    if (rank) {
      const layers = layersOf(weights.half)
      const [updates, to] = [await values.load(batch), room].map(all => updatesOf(layers, rank, all))
      const [own, its] = [
        [...weights.inputs, weights.output],
        [...of.inputs, of.output],
      ]
      for (const i of layers.keys())
        await updateGradients(this.context.engine, own[i].weight, its[i].weight, updates[i], to[i], rank)
    } else join(await summed(of), room)
    await this.context.group?.sum(room)
    let squares = 0
    for (let i = 0; i < room.length; i++) squares += room[i] * room[i] // several times as fast as by `of`
    await gradients.store(batch)
    return squares
  }

  /** Shows each half-block of several arrays at a time, and keeps changes in `kept`. */
  async change<K extends string>(
    all: Readonly<Record<K, Activations>>,
    kept: readonly NoInfer<K>[],
    visit: (of: Record<K, Floats>, half: HalfBlock) => void,
  ): Promise<void> {
    for (const half of this.halves) {
      this.context.signal?.throwIfAborted()
      const batch = this.#of(half)
      const names = Object.keys(all) as K[]
      const of = {} as Record<K, Floats>
      for (const name of names) of[name] = await all[name].load(batch)
      visit(of, half)
      for (const name of kept) await all[name].store(batch)
    }
  }

  /** The model with the weights of `values`. */
  healed(values: Activations): Model {
    const { checkpoint, architecture } = this.model
    const { tensors } = checkpoint
    const owners = new Map(this.halves.flatMap(half => namesOf(half).map((name): [string, HalfBlock] => [name, half])))
    let last: { half: HalfBlock; stored: Map<string, Floats> } | undefined
    const valuesOf = async (name: string, half: HalfBlock) => {
      if (last?.half !== half) {
        const linears = await this.#weights(half, (await values.load(this.#of(half))).slice())
        last = { half, stored: storedTensors(half, linears) }
      }
      return last.stored.get(name)!
    }
    const healed: TensorSource = {
      ...tensors,
      float32: async name => {
        const half = owners.get(name)
        return half ? (await valuesOf(name, half)).slice() : tensors.float32(name)
      },
      bytes: async name => {
        const half = owners.get(name)
        const { dtype } = tensors.tensors.get(name)!
        return half ? fromFloat32(await valuesOf(name, half), dtype as FloatDType) : tensors.bytes(name)
      },
      rows: async (name, ids) => {
        const half = owners.get(name)
        const width = tensors.tensors.get(name)!.shape[1]
        return half ? pickRows(await valuesOf(name, half), ids, width) : tensors.rows(name, ids)
      },
      close: async () => {},
    }
    return { checkpoint: { ...checkpoint, tensors: healed }, architecture }
  }
}

const keyOf = ({ output }: HalfBlock): string => output.name

/** One after another. */
function join(of: Linears, all: Floats): void {
  let end = 0
  for (const array of arraysOf(of)) {
    all.set(array, end)
    end += array.length
  }
}

/** Values as a reader of `dtype` will see them. Those that do not fit are infinite. */
export const asStored = (values: Floats, dtype: FloatDType): Floats =>
  dtype === 'F32' ? values : toFloat32(fromFloat32(values, dtype), dtype)
