// KL and top-1 agreement by their definitions, from the logits of both models in float64.
import type { Engine } from '../src/engine/engine.ts'
import { logits, type Model } from '../src/node.ts'

const logSoftmax = (row: Float32Array) => {
  const max = row.reduce((a, b) => Math.max(a, b))
  const log = max + Math.log(row.reduce((sum, value) => sum + Math.exp(value - max), 0))
  return Array.from(row, value => value - log)
}

/** Mean KL(dense ‖ model) in nats, and the part of positions with the same likeliest token, over all targets of the windows. */
export async function divergenceOf(dense: Model, model: Model, engine: Engine, windows: readonly Int32Array[]) {
  const v = dense.architecture.vocabularySize
  let [kl, same, rows] = [0, 0, 0]
  for (const window of windows) {
    const [p, q] = [await logits(dense, engine, window), await logits(model, engine, window)]
    for (let row = 0; row < window.length - 1; row++) {
      const [logP, logQ] = [p, q].map(all => logSoftmax(all.subarray(row * v, (row + 1) * v)))
      kl += logP.reduce((sum, log, i) => sum + Math.exp(log) * (log - logQ[i]), 0)
      const top = (log: number[]) => log.indexOf(Math.max(...log))
      same += Number(top(logP) === top(logQ))
      rows++
    }
  }
  return { kl: kl / rows, topAgreement: same / rows }
}
