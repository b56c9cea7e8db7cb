// Whether a provider's operator of attention computes on its device what it computes on the CPU. Beyond 32 tokens it
// takes another way on a GPU, which was wrong (docs/devices.md).
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
  const pairs = WIDTH / 2
  return new Float32Array(LENGTH * pairs).map((_, i) => of(ANGLE * Math.floor(i / pairs) * ((i % pairs) + 1)))
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

/** @param compute h [1, length, heads · width] of the graph @returns false also for a device that fails */
export function attentionIsRight(compute: (on: 'device' | 'cpu') => Floats): boolean {
  try {
    const expected = compute('cpu')
    return compute('device').every((value, i) => Math.abs(value - expected[i]) < NEAR)
  } catch {
    return false // the first graph that is wanted will say what is wrong with the device
  }
}
