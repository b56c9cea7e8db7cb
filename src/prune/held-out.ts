// Does the pruned model fit the calibration windows only? Some calibration windows of each text, and as many held-out
// windows, go through the layers beside the calibration stream, dense and pruned. Losses at the end show the cost of
// pruning on either, and each half-block that was cut has its error on held-out windows measured, as the repair
// measures it on the others (method/restore/least-squares.ts):
//   ‖H_M W'ᵀ + b' − (H Wᵀ + b + αD)‖² / ‖H Wᵀ‖²,  D = y_dense − (x + H Wᵀ + b)
import { asValues } from '../engine/engine.ts'
import { addOutputErrors } from '../engine/linalg/outputs.ts'
import { plusDistance } from '../engine/linalg/rows.ts'
import type { Context } from '../forward/context.ts'
import { Head } from '../forward/head.ts'
import { dropOwn, outputGains, weighted } from '../forward/observation.ts'
import { type HalfBlockRunner, type PrunedOutput, withColumn } from '../forward/runner.ts'
import { embedWindows } from '../forward/stream.ts'
import { Twins } from '../forward/stream-pair.ts'
import { type HalfWeights, readHalf } from '../forward/weights.ts'
import { halfBlocks } from '../model/architecture.ts'
import { hiddenSize, hiddenWidth } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'
import { ALONE, type Group } from '../ranks/group.ts'
import type { TextLoss } from '../result/result.ts'
import { spread, type Windows } from '../text/windows.ts'

/** Windows of one text. */
interface Checked {
  readonly text: number
  readonly held: boolean
  readonly ids: Int32Array
}

/** A half-block after the cut. */
interface CutHalf {
  readonly weights: HalfWeights
  readonly pruned: PrunedOutput
  /** As of the dense target; 0 without one. */
  readonly alpha: number
}

export class HeldOutCheck {
  private constructor(
    readonly model: Model,
    readonly all: readonly Checked[],
    /** The windows of this rank. */
    readonly checked: readonly Checked[],
    readonly streams: Twins,
  ) {}

  /** @returns undefined where no windows are held out */
  static async open(
    context: Context,
    model: Model,
    runner: HalfBlockRunner,
    windows: Windows,
  ): Promise<HeldOutCheck | undefined> {
    const all: Checked[] = []
    let [used, held] = [0, 0]
    for (const [text, share] of windows.texts.entries()) {
      const { heldOut = 0 } = share
      for (const i of spread(share.used, Math.min(heldOut, share.used)))
        all.push({ text, held: false, ids: windows.windows[used + i] })
      for (let i = 0; i < heldOut; i++) all.push({ text, held: true, ids: windows.heldOut![held + i] })
      used += share.used
      held += heldOut
    }
    if (all.length === 0) return undefined
    const ids = all.map(window => window.ids)
    const checked = (context.group ?? ALONE).share(all)
    return new HeldOutCheck(model, all, checked, new Twins(await embedWindows(context, model, runner, ids)))
  }

  /** Takes both streams through a half-block. @returns the error on held-out windows, where it was cut */
  async pass(dense: HalfWeights, cut?: CutHalf): Promise<number | undefined> {
    if (cut) {
      await this.streams.throughDense(dense)
      return await this.#throughCut(cut)
    }
    await this.streams.through(dense)
    return undefined
  }

  async #throughCut({ weights, pruned, alpha }: CutHalf): Promise<number> {
    const { streams } = this
    const { half, output } = weights
    const { runner } = streams.pruned
    const kept = withColumn(pruned, hiddenSize(half))
    const layer = { whole: output, kept: { ...kept.output, columns: kept.columns }, gains: outputGains(weights), alpha }
    const sums = { error: 0, output: 0 }
    await streams.pruned.change(async (x, batch) => {
      const { start, tokens } = batch
      const h = runner.graphs.array([hiddenWidth(half), tokens])
      await runner.hidden(weights, await streams.pruned.readBy(weights, x, batch), batch.windows, h)
      const held = Array.from({ length: tokens }, (_, t) => t).filter(t => this.#isHeld(start + t))
      if (held.length > 0) {
        const y = await streams.dense!.rows.at(batch)
        const seen = await weighted(runner, weights, { h, x, y, tokens })
        const rows = { h, x: asValues(seen.x, hiddenSize(half)), y, scale: seen.scale }
        await addOutputErrors(runner.engine, sums, layer, rows, held)
        dropOwn(seen, h, x)
      }
      await runner.residual(weights, pruned, x, h)
      h.drop?.()
    })
    return this.#ratio(sums.error, sums.output)
  }

  /** As `pass`, for a mixture. @param left the mixture after the cut */
  async passMixture(dense: HalfWeights, left: HalfWeights, alpha: number): Promise<number> {
    const { streams } = this
    const { engine } = streams.pruned.context
    await streams.throughDense(dense)
    const [before, whole] = [await streams.pruned.fork(), await streams.pruned.fork()]
    await whole.through(dense)
    await streams.pruned.through(left)
    let [error, total] = [0, 0]
    await streams.pruned.read(async (x, batch) => {
      const others = [before, whole, streams.dense!].map(({ rows }) => rows.at(batch))
      const [was, wanted, y] = await Promise.all(others)
      const isHeld = (row: number) => this.#isHeld(batch.start + row)
      total = await plusDistance(engine, total, [wanted, was], 0, isHeld)
      error = await plusDistance(engine, error, [x, wanted, y], alpha, isHeld)
    })
    for (const stream of [before, whole]) await stream.close()
    return this.#ratio(error, total)
  }

  #isHeld(token: number): boolean {
    return this.checked[Math.floor(token / this.checked[0].ids.length)].held
  }

  /** The ratio of sums over all ranks. */
  async #ratio(...own: readonly [error: number, total: number]): Promise<number> {
    const sums = Float64Array.from(own)
    await this.#group.sum(sums)
    return sums[1] > 0 ? sums[0] / sums[1] : 0
  }

  get #group(): Group {
    return this.streams.pruned.context.group ?? ALONE
  }

  /** Takes the dense stream through a layer that the pruned model lacks. */
  async passRemoved(layer: number): Promise<void> {
    for (const half of halfBlocks(this.model.architecture, layer))
      await this.streams.throughDense(await readHalf(this.model, half))
  }

  /** Closes both streams. @returns the losses of each text, undefined for a text without held-out windows */
  async losses(): Promise<(TextLoss | undefined)[]> {
    const { model, all, streams } = this
    const ids = this.checked.map(window => window.ids)
    const head = await Head.open(model, streams.pruned.context.engine)
    const ofAll = async (own: readonly number[]) => (await this.#group.gather(own)).flat()
    const pruned = await ofAll(await streams.pruned.losses(head, ids))
    const dense = streams.dense ? await ofAll(await streams.dense.losses(head, ids)) : pruned
    for (const stream of [streams.pruned, streams.dense]) await stream?.close()
    const side = (text: number, held: boolean) => {
      const which = [...all.keys()].filter(i => all[i].text === text && all[i].held === held)
      const mean = (of: readonly number[]) => which.reduce((sum, i) => sum + of[i], 0) / which.length
      return { windows: which.length, dense: mean(dense), pruned: mean(pruned) }
    }
    const texts = 1 + Math.max(...all.map(({ text }) => text))
    return Array.from({ length: texts }, (_, text) =>
      all.some(c => c.text === text && c.held)
        ? { calibratedOn: side(text, false), heldOut: side(text, true) }
        : undefined,
    )
  }
}
