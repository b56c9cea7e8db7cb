// From the stream after the last layer to −log p of given next tokens.
import { HEAD_ROWS, Head } from '../blocks/decoder.ts'
import { lossGraph } from '../blocks/head.ts'
import { type Engine, values } from '../engine/engine.ts'
import type { Model } from '../model/model.ts'

type Floats = Float32Array<ArrayBuffer>

/** The head of a model with room for `HEAD_ROWS` rows of logits. */
export class TokenLosses {
  private constructor(
    readonly engine: Engine,
    readonly head: Head,
    private readonly buffer: Floats,
  ) {}

  static async open(model: Model, engine: Engine): Promise<TokenLosses> {
    const buffer = new Float32Array(HEAD_ROWS * model.architecture.vocabularySize)
    return new TokenLosses(engine, await Head.open(model, engine), buffer)
  }

  /** The logits [n, vocabulary] of the rows last given, until the next. */
  logits(n: number): Floats {
    return this.buffer.subarray(0, n * this.head.model.architecture.vocabularySize)
  }

  /** −log p of `targets` [n ≤ HEAD_ROWS] after the stream rows `x` [n, d], in nats. */
  async of(x: Floats, targets: Int32Array): Promise<Floats> {
    const n = targets.length
    const { vocabularySize } = this.head.model.architecture
    const logits = this.logits(n)
    await this.head.logits(x, logits)
    const nll = new Float32Array(n)
    const next = BigInt64Array.from(targets, BigInt)
    const feeds = { logits: values(logits, [n, vocabularySize]), targets: values(next, [n, 1]) }
    await this.engine.run('loss', lossGraph, feeds, { nll: values(nll, [n, 1]) })
    return nll
  }
}
