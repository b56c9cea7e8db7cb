// Does the pruned model fit the calibration windows only? From each text some windows that are calibrated on, and as many that are not,
// go through the layers beside the calibration stream, once dense and once pruned. The losses at the end show what pruning cost on either.
import type { ActivationPool } from '../blocks/activations.ts'
import { Head } from '../blocks/decoder.ts'
import type { HalfBlockRunner, PrunedOutput } from '../blocks/halfblock.ts'
import { windowLosses } from '../blocks/losses.ts'
import { copyStream, embedWindows, passPruned, passThrough, type Stream } from '../blocks/stream.ts'
import { type HalfWeights, readHalf } from '../blocks/weights.ts'
import { spread, type Windows } from '../calibrate/windows.ts'
import type { Engine } from '../engine/engine.ts'
import { halfBlocks } from '../model/architecture.ts'
import type { Model } from '../model/model.ts'
import type { TextLoss } from '../result.ts'

/** Windows of one text. */
interface Checked {
  readonly text: number
  readonly held: boolean
  readonly ids: Int32Array
}

export class HeldOutCheck {
  private constructor(
    readonly model: Model,
    readonly engine: Engine,
    readonly checked: readonly Checked[],
    readonly dense: Stream,
    readonly pruned: Stream,
  ) {}

  /** Undefined where no windows are held out. */
  static async open(
    model: Model,
    engine: Engine,
    windows: Windows,
    pool: ActivationPool,
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
    const dense = await embedWindows(model, engine, ids, pool)
    const pruned = await copyStream(dense, model.architecture.hiddenSize, pool)
    return new HeldOutCheck(model, engine, checked, dense, pruned)
  }

  /** Takes both streams through a half-block. @param pruned what it has become; undefined where nothing changed */
  async pass(
    runner: HalfBlockRunner,
    dense: HalfWeights,
    pruned: { readonly weights: HalfWeights; readonly output: PrunedOutput } | undefined,
    signal?: AbortSignal,
  ): Promise<void> {
    await passThrough(runner, this.dense, dense, signal)
    if (pruned) await passPruned(runner, this.pruned, pruned.weights, pruned.output, signal)
    else await passThrough(runner, this.pruned, dense, signal)
  }

  /** Takes the dense stream through a layer that the pruned model lacks. */
  async passRemoved(runner: HalfBlockRunner, layer: number, signal?: AbortSignal): Promise<void> {
    for (const half of halfBlocks(this.model.architecture, layer))
      await passThrough(runner, this.dense, await readHalf(this.model, half), signal)
  }

  /** After the last layer; closes both streams. @returns the losses of each text, undefined for one without windows held out */
  async losses(): Promise<(TextLoss | undefined)[]> {
    const { model, engine, checked } = this
    const ids = checked.map(window => window.ids)
    const head = await Head.open(model, engine)
    const losses = async ({ rows, batches }: Stream) => {
      const found: number[] = []
      for (const batch of batches) {
        const these = ids.slice(found.length, found.length + batch.windows)
        found.push(...(await windowLosses(head, await rows.load(batch), these)))
      }
      await rows.close()
      return found
    }
    const [dense, pruned] = [await losses(this.dense), await losses(this.pruned)]
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
