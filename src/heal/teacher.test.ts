// Losses towards the dense model against their definition, over windows in any order, in parts that end anywhere.
import { afterAll, expect, test } from 'vitest'
import { madeModel } from '../../test/model-shapes.ts'
import { random } from '../../test/random.ts'
import { finish } from '../base/events.ts'
import { openEngine } from '../engine/engine.node.ts'
import { logits } from '../evaluate/logits.ts'
import { memoryContext } from '../forward/context.ts'
import { Head } from '../forward/head.ts'
import { openTeacher, teacherBytes } from './teacher.ts'

const engine = openEngine()
afterAll(() => engine.close())

const [v, d, length] = [37, 24, 6]
const sizes = { vocab_size: v, hidden_size: d, intermediate_size: 10, num_hidden_layers: 2, num_attention_heads: 4 }
const dense = madeModel({ model_type: 'llama', ...sizes, max_position_embeddings: 64 }, 3)
const windows = [5, 6, 7].map(seed => Int32Array.from(random(length, seed), x => Math.abs(Math.floor(1e4 * x)) % v))
const order = [2, 0, 1]
/** From the third row of the first of these to the second of the last. */
const [first, n] = [2, 2 * length]
const others = random(n * v, 9).map(logit => 3 * logit)

const softmax = (of: readonly number[]): number[] => {
  const exponentials = of.map(Math.exp)
  const total = exponentials.reduce((sum, e) => sum + e)
  return exponentials.map(e => e / total)
}
const rowsOf = (all: ArrayLike<number>): number[][] =>
  Array.from({ length: all.length / v }, (_, row) => Array.from({ length: v }, (_, i) => all[row * v + i]))

/** By all tokens, and by as many as there are. */
test.each([0, v])('top %i: KL by the definition, its gradient by differences', async top => {
  const teacher = await finish(openTeacher(memoryContext(engine), await Head.open(dense, engine), windows, top))
  const gradient = new Float32Array(n * v)
  const found = await teacher.loss(order)(first, others, 0.25, gradient)
  const each = await Promise.all(windows.map(window => logits(memoryContext(engine), dense, window)))
  const p = rowsOf(order.flatMap(w => [...each[w]]))
    .slice(first, first + n)
    .map(softmax)
  const kl = (row: number, z: readonly number[]) => {
    const q = softmax(z)
    return p[row].reduce((sum, pi, i) => sum + pi * Math.log(pi / q[i]), 0)
  }
  let total = 0
  for (const [row, z] of rowsOf(others).entries()) {
    total += 0.25 * kl(row, z)
    for (let i = 0; i < v; i++) {
      const at = (step: number) => kl(row, z.with(i, z[i] + step))
      expect(gradient[row * v + i]).toBeCloseTo((0.25 * (at(1e-3) - at(-1e-3))) / 2e-3, 5)
    }
  }
  expect(found).toBeCloseTo(total, 4)
})

test('bytes of a position: ids and log-probabilities with what is left, or the stream', () => {
  const { architecture } = dense
  expect([0, 5, 1024].map(top => teacherBytes(architecture, top))).toEqual([4 * d, 4 * 11, 4 * (2 * v + 1)])
})
