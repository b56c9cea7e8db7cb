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

/** @returns tokens a second, of each model */
export async function prefillSpeeds(models: readonly Model[], engine: Engine, signal?: AbortSignal): Promise<number[]> {
  const runner = new HalfBlockRunner(engine, TOKENS)
  const readers = models.map(model => readHalves(model, model.architecture.halves))
  const seconds = models.map(() => 0)
  for (;;) {
    const next = await Promise.all(readers.map(reader => reader.next()))
    if (next.every(({ done }) => done)) return seconds.map(s => TOKENS / s)
    const best = models.map(() => Number.POSITIVE_INFINITY)
    for (let turn = 0; turn < TURNS; turn++)
      for (const [i, { value: weights }] of next.entries()) {
        if (!weights) continue // a model with fewer layers
        signal?.throwIfAborted()
        const x = Float32Array.from({ length: TOKENS * hiddenSize(weights.half) }, (_, j) => Math.sin(j))
        const started = performance.now()
        await runner.forward(weights, x, 1)
        best[i] = Math.min(best[i], (performance.now() - started) / 1000)
      }
    for (const [i, s] of best.entries()) if (next[i].value) seconds[i] += s
  }
}
