// Does the pruned model fit the calibration windows only? From each text some windows that are calibrated on, and as many that are not,
// go through the layers beside the calibration stream, once dense and once pruned. The losses at the end show what pruning cost on either,
// and on the way each half-block that was cut has its error on the held-out ones measured, as the repair has it on the others
// (method/restore/least-squares.ts):  ‖H_M W'ᵀ + b' − (H Wᵀ + b + αD)‖² / ‖H Wᵀ‖²,  D = y_dense − (x + H Wᵀ + b),
// where a norm follows all of it as that counts (docs/method.md).

import { asValues, constant, hostOf, values } from '../engine/engine.ts'
import { plusDistance } from '../engine/linalg/rows.ts'
import { pickRows, scatterColumns } from '../engine/linalg/scatter.ts'
import { Graph, type Value } from '../formats/onnx.ts'
import type { Context } from '../forward/context.ts'
import { Head } from '../forward/head.ts'
import { dropOwn, type Observed, outputGains, weighted } from '../forward/observation.ts'
import type { HalfBlockRunner, PrunedOutput } from '../forward/runner.ts'
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

/** What a half-block has become. */
export interface CutHalf {
  readonly weights: HalfWeights
  readonly pruned: PrunedOutput
  /** Of the dense target; 0 without one. */
  readonly alpha: number
}

export class HeldOutCheck {
  private constructor(
    readonly model: Model,
    readonly all: readonly Checked[],
    /** Those of this rank. */
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

  /** Takes both streams through a half-block. @param cut undefined where nothing changed @returns of one that was cut its error on held-out windows */
  async pass(dense: HalfWeights, cut?: CutHalf): Promise<number | undefined> {
    if (cut) {
      await this.streams.throughDense(dense)
      return await this.#throughCut(cut)
    }
    await this.streams.through(dense)
    return undefined
  }

  async #throughCut(cut: CutHalf): Promise<number> {
    const { weights, pruned, alpha } = cut
    const { checked, streams } = this
    const { half, output } = weights
    const { runner } = streams.pruned
    const { linalg } = runner.engine
    const d = hiddenSize(half)
    const gains = outputGains(weights)
    let there: ReturnType<typeof errorsThere> | undefined
    const isHeld = (token: number) => checked[Math.floor(token / checked[0].ids.length)].held
    let [error, total] = [0, 0]
    await streams.pruned.change(async (x, batch) => {
      const { start, tokens } = batch
      const h = runner.graphs.array([hiddenWidth(half), tokens])
      await runner.hidden(weights, await streams.pruned.readBy(weights, x, batch), batch.windows, h)
      const held = Array.from({ length: tokens }, (_, t) => t).filter(t => isHeld(start + t))
      if (held.length > 0) {
        const dense = await streams.dense!.rows.at(batch)
        const seen = await weighted(runner, weights, { h, x, y: dense, tokens })
        if (h.drop) {
          there ??= errorsThere(runner, cut)
          const [errors, totals] = await there(seen, held)
          error += errors
          total += totals
          dropOwn(seen, h, x)
        } else {
          const whole = await linalg.multiply(output.weight, h.data, tokens) // H Wᵀ, transposed [d, tokens]
          const left =
            pruned.columns.length > 0
              ? await linalg.multiply(pruned.output.weight, pickRows(h.data, pruned.columns, tokens), tokens)
              : new Float32Array(whole.length)
          const [y, rest, scale] = [dense.data, await hostOf(seen.x), seen.scale?.data]
          for (let o = 0; o < d; o++) {
            const [bias, newBias] = [output.bias?.[o] ?? 0, pruned.output.bias?.[o] ?? 0]
            for (const t of held) {
              const at = t * d + o
              const counts = gains ? gains[o] * (scale?.[t] ?? 1) : 1
              const [full, beside] = [counts * whole[o * tokens + t], counts * bias]
              const wanted = full + beside + alpha * (y[at] - rest[at] - full - bias)
              error += (counts * left[o * tokens + t] + counts * newBias - wanted) ** 2
              total += full ** 2
            }
          }
        }
      }
      await runner.residual(weights, pruned, x, h)
      h.drop?.()
    })
    return this.#ratio(error, total)
  }

  /** As `pass`, of a mixture. @param left what it has become @param alpha as of `CutHalf` */
  async passMixture(dense: HalfWeights, left: HalfWeights, alpha: number): Promise<number> {
    const { checked, streams } = this
    const { engine } = streams.pruned.context
    await streams.throughDense(dense)
    const [before, whole] = [await streams.pruned.fork(), await streams.pruned.fork()]
    await whole.through(dense)
    await streams.pruned.through(left)
    let [error, total] = [0, 0]
    await streams.pruned.read(async (x, batch) => {
      const others = [before, whole, streams.dense!].map(({ rows }) => rows.at(batch))
      const [was, wanted, y] = await Promise.all(others)
      const isHeld = (row: number) => checked[Math.floor((batch.start + row) / checked[0].ids.length)].held
      total = await plusDistance(engine, total, [wanted, was], 0, isHeld)
      error = await plusDistance(engine, error, [x, wanted, y], alpha, isHeld)
    })
    for (const stream of [before, whole]) await stream.close()
    return this.#ratio(error, total)
  }

  /** Of what all ranks have. */
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

  /** After the last layer; closes both streams. @returns the losses of each text, undefined for one without windows held out */
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

/** Squared errors and outputs, summed over tokens of a batch, where rows stay on a device. */
function errorsThere(runner: HalfBlockRunner, { weights, pruned, alpha }: CutHalf) {
  const { half, output } = weights
  const [d, width] = [hiddenSize(half), hiddenWidth(half)]
  const { 'out.weight': weight } = runner.layer('out', output, width)
  const gains = outputGains(weights) ?? new Float32Array(d).fill(1)
  const zeros = new Float32Array(d)
  const [bias, newBias] = [output, pruned.output].map(layer => layer.bias ?? zeros)
  const wide = scatterColumns(pruned.output.weight, pruned.columns, width, d)
  const change = constant(
    wide.map((w, i) => w - output.weight[i]),
    [d, width],
  )
  return async ({ h, tokens, x, y, scale }: Observed, at: readonly number[]) => {
    const held = new Float32Array(tokens)
    for (const t of at) held[t] = 1
    const row = (data: Float32Array<ArrayBuffer>) => values(data, [d])
    const sums = [new Float32Array(1), new Float32Array(1)]
    const feeds = {
      ...{ 'out.weight': weight, change, h: asValues(h, tokens), x: asValues(x, d), y: asValues(y!, d) },
      ...{ gains: row(gains), bias: row(bias), shift: row(newBias.map((b, o) => gains[o] * (b - bias[o]))) },
      scale: scale ?? values(new Float32Array(tokens).fill(1), [tokens, 1]),
      held: values(held, [tokens, 1]),
      alpha: values(Float32Array.of(alpha), []),
    }
    const [error, total] = sums.map(sum => values(sum, []))
    await runner.engine.run('held out', errorGraph, feeds, { error, total })
    return sums.map(([sum]) => sum)
  }
}

/** `‖γ H̃ (W' − W)ᵀ + r γ (b' − b) − αD‖²` and `‖γ H̃ Wᵀ‖²` over the rows where `held` [n, 1] is 1. */
function errorGraph(): Graph {
  const g = new Graph('held out')
  const [x, y] = ['x', 'y'].map(name => g.input(name, 'float32', ['n', 'd']))
  const [gains, bias, shift] = ['gains', 'bias', 'shift'].map(name => g.input(name, 'float32', ['d']))
  const [scale, held] = ['scale', 'held'].map(name => g.input(name, 'float32', ['n', 1]))
  const alpha = g.input('alpha', 'float32', [])
  const [add, subtract, times] = ['Add', 'Sub', 'Mul'].map(op => (a: Value, b: Value) => g.op(op, [a, b]))
  const h = g.op('Transpose', [g.input('h', 'float32', ['m', 'n'])])
  const [full, change] = ['out.weight', 'change'].map(name =>
    times(g.op('Gemm', [h, g.input(name, 'float32', ['d', 'm'])], { transB: 1 }), gains),
  )
  const lacking = subtract(subtract(subtract(y, x), full), bias)
  const error = subtract(add(change, times(scale, shift)), times(alpha, lacking))
  for (const [name, rows] of Object.entries({ error, total: full }))
    g.output(name, g.op('ReduceSumSquare', [times(rows, held)], { keepdims: 0 }), 'float32', [])
  return g
}
