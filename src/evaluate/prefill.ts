// How fast models read a prompt, for what is said first of a result: seconds of their layers alone, half-block by half-block. Models take
// turns at each, so that what else the machine does hits all alike, and the best turn counts. No more than two half-blocks are in memory.
import type { Engine } from '../engine/engine.ts'
import { HalfBlockRunner } from '../forward/runner.ts'
import { readHalves } from '../forward/weights.ts'
import { hiddenSize } from '../model/half-block.ts'
import type { Model } from '../model/model.ts'

/** Enough for products of matrices, few enough to take a second on a model of 100 M parameters. */
const TOKENS = 64
const TURNS = 5

/** The median turn may take so many times the best; otherwise the machine is too busy to tell. */
const STEADY = 1.5

/** @returns tokens a second, of each model; none on a machine that is busy */
export async function prefillSpeeds(models: readonly Model[], engine: Engine, signal?: AbortSignal): Promise<number[]> {
  const runner = new HalfBlockRunner(engine, TOKENS)
  const readers = models.map(model => readHalves(model, model.architecture.halves))
  const [seconds, medians] = [models.map(() => 0), models.map(() => 0)]
  for (;;) {
    const next = await Promise.all(readers.map(reader => reader.next()))
    if (next.every(({ done }) => done))
      return seconds.every((s, i) => medians[i] < STEADY * s) ? seconds.map(s => TOKENS / s) : []
    const turns = models.map((): number[] => [])
    for (let turn = 0; turn < TURNS; turn++)
      for (const [i, { value: weights }] of next.entries()) {
        if (!weights) continue // a model with fewer layers
        signal?.throwIfAborted()
        const x = Float32Array.from({ length: TOKENS * hiddenSize(weights.half) }, (_, j) => Math.sin(j))
        const started = performance.now()
        await runner.forward(weights, x, 1)
        turns[i].push((performance.now() - started) / 1000)
      }
    for (const [i, of] of turns.entries()) {
      of.sort((a, b) => a - b)
      seconds[i] += of.at(0) ?? 0
      medians[i] += of.at(Math.floor(of.length / 2)) ?? 0
    }
  }
}
