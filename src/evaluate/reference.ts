// The dense model as what others are measured against, without running it again for each: the rows of its last stream are kept [rows, d],
// and its head turns them into logits beside those of the other model, in the pass that gives the other's perplexity.
import { UsageError } from '../base/errors.ts'
import { hostOf, values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Context } from '../forward/context.ts'
import { divergences } from '../forward/divergence.ts'
import { Head, headRows } from '../forward/head.ts'
import type { RowObserver } from '../forward/losses.ts'
import { agreementGraph } from '../graphs/head.ts'
import type { Model } from '../model/model.ts'
import type { Scratch } from '../output/activations.ts'

/** Where the rows are: a file, or memory. */
export type Rows = Pick<Scratch, 'read' | 'write'>

const asBytes = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength)

/** Keeps the rows of `model` while its perplexity is measured. */
export const keepRows =
  ({ architecture: { hiddenSize } }: Model, rows: Rows): RowObserver =>
  async (first, x) =>
    rows.write(asBytes(await hostOf(x)), first * hiddenSize * 4)

/** @throws UsageError where the models have different vocabularies */
export function checkVocabularies(dense: Model, other: Model): void {
  const [p, q] = [dense, other].map(model => model.architecture.vocabularySize)
  if (p !== q) throw new UsageError(`the models have vocabularies of ${p} and ${q}; KL needs the same.`)
}

/** Mean KL(dense ‖ other) in nats and top-1 agreement over the rows that `observe` has seen. */
export class DenseReference {
  readonly #x: Float32Array<ArrayBuffer>
  readonly #room: Floats
  #seen = 0
  #kl = 0
  #same = 0

  private constructor(
    readonly head: Head,
    readonly rows: Rows,
  ) {
    const { architecture } = head.model
    this.#x = new Float32Array(headRows(architecture) * architecture.hiddenSize)
    this.#room = head.room()
  }

  /**
   * @param rows of the dense model, as `keepRows` has kept them on the same windows
   * @throws UsageError where the models have different vocabularies
   */
  static async open({ engine }: Context, dense: Model, other: Model, rows: Rows): Promise<DenseReference> {
    checkVocabularies(dense, other)
    return new DenseReference(await Head.open(dense, engine), rows)
  }

  readonly observe: RowObserver = async (first, _, others) => {
    const { engine, model } = this.head
    const { hiddenSize: d } = model.architecture
    const [n] = others.shape
    const x = this.#x.subarray(0, n * d)
    await this.rows.read(asBytes(x), first * d * 4)
    const logits = await this.head.logitsIn(this.#room, values(x, [n, d]))
    const same = new Float32Array(n)
    const kl = await divergences(engine, logits, others)
    await engine.run('agreement', agreementGraph, { logits, others }, { same: values(same, [n, 1]) })
    logits.drop?.()
    this.#seen += n
    this.#kl += sum(kl)
    this.#same += sum(same)
  }

  result = (): { kl: number; topAgreement: number } => ({
    kl: this.#kl / this.#seen,
    topAgreement: this.#same / this.#seen,
  })
}

const sum = (numbers: Float32Array) => numbers.reduce((total, n) => total + n, 0)
