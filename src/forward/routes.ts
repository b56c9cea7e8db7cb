// The tokens of a mixture go to the experts with the largest gates, ties to the lower number (transformers,
// `MixtralTopKRouter`).
import type { Floats } from '../formats/tensors.ts'
import type { Experts } from '../model/half-block.ts'

/** The tokens that go to one expert. */
export interface Route {
  /** Their rows in the batch, ascending. */
  readonly rows: Int32Array
  /** Factors of the expert's output in these rows. */
  readonly gates: Floats
}

/** The route of each expert. @param gates softmax of the router's output [tokens, experts] */
export function routes(gates: Floats, { router: { out: count }, active, normalised }: Experts): Route[] {
  const rows = Array.from({ length: count }, (): number[] => [])
  const weights = rows.map((): number[] => [])
  for (let t = 0; t * count < gates.length; t++) {
    const of = gates.subarray(t * count, (t + 1) * count)
    const chosen: number[] = []
    for (let k = 0; k < active; k++) {
      let most = -1
      for (let e = 0; e < count; e++) if (!(of[e] <= (of[most] ?? -1)) && !chosen.includes(e)) most = e
      chosen.push(most)
    }
    const sum = normalised ? chosen.reduce((total, e) => total + of[e], 0) : 1
    for (const e of chosen) {
      rows[e].push(t)
      weights[e].push(of[e] / sum)
    }
  }
  return rows.map((list, e) => ({ rows: Int32Array.from(list), gates: Float32Array.from(weights[e]) }))
}
