// Whether a provider's operator of attention computes what it is to: beyond 32 tokens it goes another way on a GPU, which was wrong (docs/devices.md).
import { Graph } from '../../formats/onnx.ts'
import type { Floats } from '../../formats/tensors.ts'
import { values } from '../values.ts'

const [LENGTH, HEADS, WIDTH] = [40, 2, 16]
const SCALE = 0.5
/** Values are below 1. */
const NEAR = 1e-3

const wave = (n: number, step: number): Floats => Float32Array.from({ length: n }, (_, i) => Math.sin(step * i))

/** A step of a pair of channels from one position to the next. */
const ANGLE = 0.1

function angles(of: (angle: number) => number): Floats {
  const all = new Float32Array((LENGTH * WIDTH) / 2)
  return all.map((_, i) => of(angleAt(Math.floor(i / (WIDTH / 2)), i % (WIDTH / 2))))
}

function angleAt(position: number, pair: number): number {
  return ANGLE * position * (pair + 1)
}

/** Causal attention of one window with rotary positions, of two heads that share keys and values. */
export const attentionFeeds = {
  q: values(wave(LENGTH * HEADS * WIDTH, 0.37), [1, LENGTH, HEADS * WIDTH]),
  k: values(wave(LENGTH * WIDTH, 0.73), [1, LENGTH, WIDTH]),
  v: values(wave(LENGTH * WIDTH, 1.13), [1, LENGTH, WIDTH]),
  past: values(Int32Array.of(LENGTH - 1), [1]),
  total: values(Int32Array.of(LENGTH), []),
  cos: values(angles(Math.cos), [LENGTH, WIDTH / 2]),
  sin: values(angles(Math.sin), [LENGTH, WIDTH / 2]),
}

export function attentionGraph(): Graph {
  const g = new Graph('attention')
  const [q, k, v] = ['q', 'k', 'v'].map(name => g.input(name, 'float32', [...attentionFeeds[name as 'q'].shape]))
  const inputs = [q, k, v, '', '', g.input('past', 'int32', [1]), g.input('total', 'int32', [])]
  for (const name of ['cos', 'sin']) inputs.push(g.input(name, 'float32', [LENGTH, WIDTH / 2]))
  const attributes = { num_heads: HEADS, kv_num_heads: 1, do_rotary: 1, scale: { float: SCALE } }
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
  const [q, k] = [turned(attentionFeeds.q.data, HEADS), turned(attentionFeeds.k.data, 1)]
  const v = attentionFeeds.v.data
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

/** Each pair (i, i + width/2) by the angle of its position. @param x [length, heads · width] */
function turned(x: Floats, heads: number): Floats {
  return x.map((value, i) => {
    const pair = i % (WIDTH / 2)
    const isFirst = i % WIDTH < WIDTH / 2
    const angle = angleAt(Math.floor(i / (heads * WIDTH)), pair)
    const other = x[isFirst ? i + WIDTH / 2 : i - WIDTH / 2]
    return value * Math.cos(angle) + (isFirst ? -1 : 1) * other * Math.sin(angle)
  })
}
