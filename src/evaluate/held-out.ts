// Does the pruned model fit the calibration windows only? From each text some windows that are calibrated on, and as many that are not,
// go through the layers beside the calibration stream, once dense and once pruned. The losses at the end show what pruning cost on either.

import type { Context } from '../forward/context.ts'
import { Head } from '../forward/head.ts'
import type { HalfBlockRunner, PrunedOutput } from '../forward/runner.ts'
import { embedWindows } from '../forward/stream.ts'
import { Twins } from '../forward/twins.ts'
import { type HalfWeights, readHalf } from '../forward/weights.ts'
import { halfBlocks } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { TextLoss } from '../result.ts'
import { spread, type Windows } from '../text/windows.ts'

/** Windows of one text. */
interface Checked {
  readonly text: number
  readonly held: boolean
  readonly ids: Int32Array
}

export class HeldOutCheck {
  private constructor(
    readonly model: Model,
    readonly checked: readonly Checked[],
    readonly streams: Twins,
  ) {}

  /** Undefined where no windows are held out. */
  static async open(
    context: Context,
    model: Model,
    runner: HalfBlockRunner,
    windows: Windows,
  ): Promise<HeldOutCheck | undefined> {
    const checked: Checked[] = []
    let [used, held] = [0, 0]
    for (const [text, share] of windows.texts.entries()) {
      const { heldOut = 0 } = share
      for (const i of spread(share.used, Math.min(heldOut, share.used)))
        checked.push({ text, held: false, ids: windows.windows[used + i] })
      for (let i = 0; i < heldOut; i++) checked.push({ text, held: true, ids: windows.heldOut![held + i] })
      used += share.used
      held += heldOut
    }
    if (checked.length === 0) return undefined
    const ids = checked.map(window => window.ids)
    return new HeldOutCheck(model, checked, new Twins(await embedWindows(context, model, runner, ids)))
  }

  /** Takes both streams through a half-block. @param cut what it has become; undefined where nothing changed */
  async pass(
    dense: HalfWeights,
    cut?: { readonly weights: HalfWeights; readonly pruned: PrunedOutput },
  ): Promise<void> {
    if (!cut) return this.streams.through(dense)
    await this.streams.throughDense(dense)
    await this.streams.pruned.throughPruned(cut.weights, cut.pruned)
  }

  /** Takes the dense stream through a layer that the pruned model lacks. */
  async passRemoved(layer: number): Promise<void> {
    for (const half of halfBlocks(this.model.architecture, layer))
      await this.streams.throughDense(await readHalf(this.model, half))
  }

  /** After the last layer; closes both streams. @returns the losses of each text, undefined for one without windows held out */
  async losses(): Promise<(TextLoss | undefined)[]> {
    const { model, checked, streams } = this
    const ids = checked.map(window => window.ids)
    const head = await Head.open(model, streams.pruned.context.engine)
    const pruned = await streams.pruned.losses(head, ids)
    const dense = (await streams.dense?.losses(head, ids)) ?? pruned
    await streams.close()
    const side = (text: number, held: boolean) => {
      const which = [...checked.keys()].filter(i => checked[i].text === text && checked[i].held === held)
      const mean = (of: readonly number[]) => which.reduce((sum, i) => sum + of[i], 0) / which.length
      return { windows: which.length, dense: mean(dense), pruned: mean(pruned) }
    }
    const texts = 1 + Math.max(...checked.map(({ text }) => text))
    return Array.from({ length: texts }, (_, text) =>
      checked.some(c => c.text === text && c.held)
        ? { calibratedOn: side(text, false), heldOut: side(text, true) }
        : undefined,
    )
  }
}
