// Turns half-blocks into output tensors: unpruned ones byte for byte, pruned ones narrowed or zeroed as the layout says, and rounded to the output's type.
import type { HalfWeights, LinearWeights } from '../blocks/halfblock.ts'
import { NumericError } from '../errors.ts'
import { type FloatDType, fromFloat32, toFloat32 } from '../formats/dtype.ts'
import { pickColumns, pickRows, scatterColumns, scatterRows } from '../linalg/scatter.ts'
import { type HalfBlock, type Linear, renumbered, type Scope, tensorShapes } from '../model/architecture.ts'
import { firstNotFinite, type Model, readWeights } from '../model/model.ts'
import type { Layout } from '../options.ts'
import type { CheckpointWriter } from './checkpoint.ts'

type Floats = Float32Array<ArrayBuffer>

export class ModelWriter {
  constructor(
    readonly model: Model,
    readonly checkpoint: CheckpointWriter,
    readonly options: {
      readonly layout: Layout
      readonly scope: Scope
      /** The layers of the source that stay. */
      readonly layers: readonly number[]
    },
  ) {}

  /** Copies embeddings, final norm and head. Calibration may not read all of them, so their values are checked here. */
  async copyOutsideLayers(): Promise<void> {
    const { architecture } = this.model
    const prefix = `${architecture.names.layers}.`
    for (const name of tensorShapes(architecture).keys()) if (!name.startsWith(prefix)) await this.#copy(name, true)
  }

  /** Copies a half-block that nothing was removed from. */
  async copyHalf(half: HalfBlock): Promise<void> {
    await this.#copyNorm(half)
    for (const l of [...half.inputs, half.output]) await this.#copyLinear(l)
  }

  /** Input layers as a reader of the output will see them. @throws NumericError where a value does not fit its type */
  rounded(weights: HalfWeights): HalfWeights {
    const inputs = weights.inputs.map(({ weight, bias }, i) => ({
      weight: this.#encode(`${weights.half.inputs[i].name}.weight`, weight).rounded,
      bias,
    }))
    return { ...weights, inputs }
  }

  /**
   * Writes a pruned half-block.
   * @param kept rows of the coupled input layers (and of k_proj, where whole heads go; of q_proj then `columns`) @param columns of the output layer that `restored.weight` [d, columns] holds
   * @param aligned whether input layers that nothing is cut from have changed, too
   * @returns the output layer [d, columns] with its values as rounded on disk
   */
  async writePruned(
    weights: HalfWeights,
    kept: Int32Array,
    columns: Int32Array,
    restored: LinearWeights,
    aligned?: boolean,
  ): Promise<LinearWeights> {
    const { half } = weights
    const { layout, scope } = this.options
    const narrow = layout === 'compact' || (layout === 'stock' && half.kind === 'ffn')
    await this.#copyNorm(half)
    const wholeHeads = half.kind === 'attention' && scope === 'ffn+heads'
    for (const [i, linear] of half.inputs.entries()) {
      const whole = !half.coupled.includes(i) && !wholeHeads
      if (whole && !aligned) {
        await this.#copyLinear(linear)
        continue
      }
      const { weight, bias } = weights.inputs[i]
      const stay = wholeHeads && i === 0 ? columns : kept
      const rows = (matrix: Floats, width: number) => {
        if (whole) return matrix
        const picked = pickRows(matrix, stay, width)
        return narrow ? picked : scatterRows(picked, stay, linear.out, width)
      }
      await this.#write(`${linear.name}.weight`, rows(weight, linear.in))
      if (bias) await this.#write(`${linear.name}.bias`, rows(bias, 1))
      else await this.#addBias(linear)
    }
    const { output } = half
    const name = `${output.name}.weight`
    const weight = narrow
      ? await this.#write(name, restored.weight)
      : pickColumns(
          await this.#write(name, scatterColumns(restored.weight, columns, output.in, output.out)),
          columns,
          output.in,
        )
    return { weight, bias: restored.bias && (await this.#write(`${output.name}.bias`, restored.bias)) }
  }

  async #copyNorm({ norm }: HalfBlock): Promise<void> {
    const { norm: kind } = this.model.architecture
    if (!kind.affine) return
    await this.#copy(`${norm}.weight`)
    if (kind.type === 'layer') await this.#copy(`${norm}.bias`)
  }

  async #copyLinear(linear: Linear): Promise<void> {
    await this.#copy(`${linear.name}.weight`)
    if (linear.bias) await this.#copy(`${linear.name}.bias`)
    else await this.#addBias(linear)
  }

  /** Zeros, where the output has a bias and the source has none. */
  async #addBias({ name, out }: Linear): Promise<void> {
    if (this.checkpoint.has(this.#place(`${name}.bias`))) await this.#write(`${name}.bias`, new Float32Array(out))
  }

  /** The tensor's name in the output. */
  #place(name: string): string {
    return renumbered(this.model.architecture, name, layer => this.options.layers.indexOf(layer))
  }

  async #copy(name: string, check = false): Promise<void> {
    const { tensors } = this.model.checkpoint
    const place = this.#place(name)
    const same = tensors.tensors.get(name)!.dtype === this.checkpoint.dtype(place)
    const values = check || !same ? await readWeights(this.model, name) : undefined
    if (values && !same) await this.#write(name, values)
    else await this.checkpoint.tensor(place, await tensors.bytes(name))
  }

  /** @param name of the source @returns the values as a reader of the output will see them */
  async #write(name: string, values: Floats): Promise<Floats> {
    const { bytes, rounded } = this.#encode(name, values)
    await this.checkpoint.tensor(this.#place(name), bytes)
    return rounded
  }

  /** In the output's type. @throws NumericError where a value does not fit it */
  #encode(name: string, values: Floats) {
    const dtype = this.checkpoint.dtype(this.#place(name)) as FloatDType
    const bytes = fromFloat32(values, dtype)
    const rounded = toFloat32(bytes, dtype)
    const bad = firstNotFinite(rounded)
    if (bad >= 0)
      throw new NumericError(
        `${name}: ${values[bad]} does not fit ${dtype}. Write in a wider type, --dtype bf16 or f32.`,
      )
    return { bytes, rounded }
  }
}
