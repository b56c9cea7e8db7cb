// Whether a provider's operator of attention computes what it is to: beyond 32 tokens it goes another way on a GPU, which was wrong (docs/devices.md).
import { Graph } from '../formats/onnx.ts'
import type { Floats } from '../formats/tensors.ts'
import { values } from '../values.ts'

const [LENGTH, HEADS, WIDTH] = [40, 2, 16]
const SCALE = 0.5
/** Of the largest value. */
const NEAR = 1e-3

const wave = (n: number, step: number): Floats => Float32Array.from({ length: n }, (_, i) => Math.sin(step * i))

/** Causal attention of one window, of two heads that share keys and values. */
export const attentionFeeds = {
  q: values(wave(LENGTH * HEADS * WIDTH, 0.37), [1, LENGTH, HEADS * WIDTH]),
  k: values(wave(LENGTH * WIDTH, 0.73), [1, LENGTH, WIDTH]),
  v: values(wave(LENGTH * WIDTH, 1.13), [1, LENGTH, WIDTH]),
  past: values(Int32Array.of(LENGTH - 1), [1]),
  total: values(Int32Array.of(LENGTH), []),
}

export function attentionGraph(): Graph {
  const g = new Graph('attention')
  const [q, k, v] = ['q', 'k', 'v'].map(name => g.input(name, 'float32', [...attentionFeeds[name as 'q'].shape]))
  const inputs = [q, k, v, '', '', g.input('past', 'int32', [1]), g.input('total', 'int32', [])]
  const attributes = { num_heads: HEADS, kv_num_heads: 1, scale: { float: SCALE } }
  const [h] = g.ops('com.microsoft.GroupQueryAttention', inputs, 3, attributes)
  g.output('h', h, 'float32', [1, LENGTH, HEADS * WIDTH])
  return g
}

/** @param compute the graph's output h [1, length, heads · width] @returns whether it is right; false where it throws */
export function attentionIsRight(compute: () => Floats): boolean {
  try {
    const h = compute()
    return expected().every((value, i) => Math.abs(h[i] - value) < NEAR)
  } catch {
    return false // what is wrong with the device shows with the first graph that is wanted
  }
}

function expected(): Floats {
  const [q, k, v] = [attentionFeeds.q, attentionFeeds.k, attentionFeeds.v].map(({ data }) => data)
  const h = new Float32Array(q.length)
  for (let at = 0; at < h.length; at += WIDTH) {
    const seen = Math.floor(at / (HEADS * WIDTH)) + 1
    const weights = Array.from({ length: seen }, (_, t) => {
      const row = k.subarray(t * WIDTH, (t + 1) * WIDTH)
      return Math.exp(SCALE * row.reduce((sum, value, i) => sum + value * q[at + i], 0))
    })
    const all = weights.reduce((sum, weight) => sum + weight, 0)
    for (const [t, weight] of weights.entries())
      for (let i = 0; i < WIDTH; i++) h[at + i] += (weight / all) * v[t * WIDTH + i]
  }
  return h
}
