// Turns half-blocks into output tensors: unpruned ones byte for byte, pruned ones narrowed or zeroed by the layout.
import { concatBytes } from '../base/bytes.ts'
import { pick, scatterColumns, scatterRows } from '../engine/linalg/scatter.ts'
import { DTYPE_BYTES, elementsOf, type FloatDType } from '../formats/dtype.ts'
import { encode, encodeRows } from '../formats/encode.ts'
import type { Floats } from '../formats/tensors.ts'
import type { HalfWeights, LinearWeights } from '../forward/weights.ts'
import type { Layout } from '../method/method.ts'
import type { Selection } from '../method/select/selection.ts'
import type { Statistics } from '../method/statistics/gram.ts'
import { renumbered, type Scope, tensorShapes } from '../model/architecture.ts'
import { columnsOfRows } from '../model/coupling.ts'
import {
  type AttentionHalf,
  expertHalf,
  type FfnHalf,
  type HalfBlock,
  type Linear,
  normsOf,
  normTensors,
  storedInputs,
  storedRows,
  withValues,
} from '../model/half-block.ts'
import { type Model, readStored } from '../model/model.ts'
import { converted } from './conversion.ts'
import type { CheckpointWriter } from './huggingface/checkpoint.ts'

/** An attention with the value rows that are kept. */
export const withKept = (half: AttentionHalf, kept: Int32Array): AttentionHalf =>
  withValues(
    half,
    half.values.map((_, head) => kept.filter(row => Math.floor(row / half.headSize) === head).length),
  )

/** Rows of several layers as they are stored in one tensor. */
const inOrder = (parts: readonly Uint8Array[], rows: Int32Array) => {
  const bytes = concatBytes(parts)
  return scatterRows(bytes, rows, rows.length, bytes.length / rows.length)
}

export class ModelWriter {
  constructor(
    readonly model: Model,
    readonly checkpoint: CheckpointWriter,
    readonly options: {
      readonly layout: Layout
      readonly scope: Scope
      /** The layers of the source that stay. */
      readonly layers: readonly number[]
      /** The type that a tensor of the source is written in. */
      readonly typeOf: (name: string) => FloatDType
      /** Takes the Gram matrix of each changed layer, by the layer's name or the first layer that reads the same. */
      readonly statistics?: CheckpointWriter
    },
  ) {}

  /** Copies embeddings, final norm and head. Calibration may not read all of them, so their values are checked here. */
  async copyOutsideLayers(): Promise<void> {
    const { architecture } = this.model
    const prefix = `${architecture.names.layers}.`
    for (const name of tensorShapes(architecture).keys()) if (!name.startsWith(prefix)) await this.#copy(name, true)
  }

  /**
   * The rows that are written. A tensor has at least one row: where nothing stays (FLAP) and the layout drops what was
   * removed, the first neuron or value row is written, and the output layer ignores it.
   */
  stored(half: HalfBlock, { kept, columns }: Pick<Selection, 'kept' | 'columns'>): Pick<Selection, 'kept' | 'columns'> {
    if (kept.length > 0 || !this.#narrows(half)) return { kept, columns }
    const first = Int32Array.of(0)
    return { kept: first, columns: half.kind === 'ffn' ? first : columnsOfRows(half, first) }
  }

  /** Copies a half-block that nothing was removed from. */
  async copyHalf(half: HalfBlock): Promise<void> {
    await this.#copyNorms(half)
    if (half.kind === 'ffn' && half.experts) return this.#copyExperts(half, half.experts.router)
    for (const slices of storedInputs(half).values()) await this.#copyLinears(slices.map(i => half.inputs[i]))
    await this.#copyLinears([half.output])
  }

  async #copyExperts(half: FfnHalf, router: Linear): Promise<void> {
    await this.#copyLinears([router])
    for (let e = 0; e < router.out; e++) await this.copyHalf({ ...expertHalf(half, e), norms: {} })
  }

  /** Writes the norm and the router of a mixture. @param rows of the experts that stay */
  async writeRouter(half: FfnHalf, rows: Floats): Promise<void> {
    await this.#copyNorms(half)
    const name = `${half.experts!.router.name}.weight`
    await this.#put(name, this.#encode(name, rows))
  }

  /**
   * Writes the norm and the input layers of a pruned half-block.
   * @param kept rows of the coupled input layers; where whole heads go, rows of k_proj, too
   * @param columns where whole heads go: rows of q_proj; the other rows become zeros
   * @param aligned XᵀX of the inputs, where input layers that nothing was cut from have changed, too
   */
  async writeInputs(weights: HalfWeights, kept: Int32Array, columns: Int32Array, aligned?: Floats): Promise<void> {
    const { half } = weights
    await this.#copyNorms(half)
    if (aligned) await this.#putGram(half.inputs[0], aligned)
    const wholeHeads = half.kind === 'attention' && this.options.scope === 'ffn+heads'
    const order = storedRows(half.kind === 'attention' && this.#narrows(half) ? withKept(half, kept) : half)
    const isWhole = (i: number) => !half.coupled.includes(i) && !wholeHeads
    const isNarrow = (i: number) => half.coupled.includes(i) && this.#narrows(half)
    for (const slices of storedInputs(half).values()) {
      if (!aligned && slices.every(isWhole)) {
        await this.#copyLinears(slices.map(i => half.inputs[i]))
        continue
      }
      const encoded = (name: string, i: number, values: Floats, width: number) => {
        const stay = wholeHeads && i === 0 ? columns : kept
        const total = isNarrow(i) ? undefined : half.inputs[i].out
        return isWhole(i)
          ? this.#encode(name, values)
          : encodeRows(name, values, this.options.typeOf(name), { width, stay, total })
      }
      const put = async (name: string, width: number, of: (weights: LinearWeights) => Floats) => {
        const parts = slices.map(i => encoded(name, i, of(weights.inputs[i]), width))
        for (const part of order ? [inOrder(parts, order)] : parts) await this.checkpoint.part(this.#place(name), part)
      }
      const { name, in: width, bias } = half.inputs[slices[0]]
      await put(`${name}.weight`, width, linear => linear.weight)
      if (bias) await put(`${name}.bias`, 1, linear => linear.bias!)
      else for (const i of slices) await this.#addBias({ name, out: isNarrow(i) ? kept.length : half.inputs[i].out })
    }
  }

  /**
   * Writes the output layer of a pruned half-block.
   * @param columns those that `weight` [d, columns] holds, in the type of the output; where it is empty zeros
   * @param statistics of all columns
   */
  async writeOutput(
    half: HalfBlock,
    columns: Int32Array,
    { weight, bias }: { readonly weight: Uint8Array<ArrayBuffer>; readonly bias?: Uint8Array<ArrayBuffer> },
    { gram, width }: Statistics,
  ): Promise<void> {
    const { output } = half
    const name = `${output.name}.weight`
    const type = this.options.typeOf(name)
    const narrow = () => (weight.length > 0 ? weight : new Uint8Array(output.out * columns.length * DTYPE_BYTES[type]))
    const padded = () => new Uint8Array(scatterColumns(elementsOf(weight, type), columns, output.in, output.out).buffer)
    await this.#put(name, this.#narrows(half) ? narrow() : padded())
    if (bias) await this.#put(`${output.name}.bias`, bias)
    if (!this.options.statistics) return
    const kept = pick(gram, columns, columns, width)
    const square = () => scatterRows(scatterColumns(kept, columns, width, columns.length), columns, width, width)
    await this.#putGram(output, this.#narrows(half) ? kept : square())
  }

  async #putGram({ name }: Linear, gram: Floats): Promise<void> {
    const { statistics } = this.options
    if (statistics?.has(this.#place(name))) await statistics.tensor(this.#place(name), new Uint8Array(gram.buffer))
  }

  /** Whether the layout leaves the removed rows and columns of a half-block out, instead of zeros. */
  #narrows({ kind }: HalfBlock): boolean {
    const { layout } = this.options
    return layout === 'compact' || (layout === 'stock' && kind === 'ffn')
  }

  async #copyNorms(half: HalfBlock): Promise<void> {
    for (const name of normsOf(half).flatMap(normTensors)) await this.#copy(name)
  }

  /** Copies one stored tensor. @param slices the layers that it holds */
  async #copyLinears(slices: readonly Linear[]): Promise<void> {
    const [{ name, bias }] = slices
    await this.#copy(`${name}.weight`)
    if (bias) await this.#copy(`${name}.bias`)
    else for (const linear of slices) await this.#addBias(linear)
  }

  /** Zeros, where the output has a bias and the source has none. */
  async #addBias({ name, out }: Pick<Linear, 'name' | 'out'>): Promise<void> {
    const place = this.#place(`${name}.bias`)
    if (this.checkpoint.has(place))
      await this.checkpoint.part(place, this.#encode(`${name}.bias`, new Float32Array(out)))
  }

  /** The tensor's name in the output. */
  #place(name: string): string {
    return renumbered(this.model.architecture, name, layer => this.options.layers.indexOf(layer))
  }

  async #copy(name: string, check = false): Promise<void> {
    const { tensors } = this.model.checkpoint
    if (tensors.tensors.get(name)!.dtype === this.options.typeOf(name))
      await this.#put(name, check ? await readStored(this.model, name) : await tensors.bytes(name))
    else
      for await (const part of converted(this.model, name, this.options.typeOf(name)))
        await this.checkpoint.part(this.#place(name), part)
  }

  #put(name: string, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    return this.checkpoint.tensor(this.#place(name), bytes)
  }

  /** In the output's type. @throws NumericError where a value does not fit it */
  #encode(name: string, values: Floats): Uint8Array<ArrayBuffer> {
    return encode(name, values, this.options.typeOf(name))
  }
}
