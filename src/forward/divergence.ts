// KL(p ‖ q) between rows of logits, in nats.
import { type Engine, type Values, values } from '../engine/engine.ts'
import type { Floats } from '../formats/tensors.ts'
import { divergenceGraph } from '../graphs/head.ts'

/** KL(p ‖ q) of each row, with p from `logits` and q from `others` [n, vocabulary]. */
export async function divergences(engine: Engine, logits: Values, others: Values): Promise<Floats> {
  const [n] = logits.shape
  const kl = new Float32Array(n)
  await engine.run('divergence', divergenceGraph, { logits, others }, { kl: values(kl, [n, 1]) })
  return kl
}
