// Low-rank updates: what they make of weights, and their gradients by differences of a loss of these.
import { expect, test } from 'vitest'
import { ownMemories } from '../../test/devices.ts'
import { random } from '../../test/random.ts'
import { randomNumbers } from '../base/random.ts'
import type { Floats } from '../formats/tensors.ts'
import type { Linear } from '../model/half-block.ts'
import { beginUpdates, SCALE, updated, updateGradients, updateSize, updatesOf } from './lora.ts'

const engines = Object.entries(ownMemories())
const [[, engine]] = engines

const rank = 3
const layer = (out: number, columns: number): Linear => ({ name: 'some', out, in: columns, bias: false })
const layers = [layer(7, 5), layer(4, 9)]
const [{ out, in: columns }] = layers
const weight = random(out * columns, 1).map((w, i) => (i % 4 === 0 ? 0 : w))
const all = () => random(updateSize(layers, rank), 2).slice()

/** W in float64 from the definition. */
const defined = (a: Floats, b: Floats) =>
  Array.from(weight, (w, at) => {
    const [row, column] = [Math.floor(at / columns), at % columns]
    let product = 0
    for (let i = 0; i < rank; i++) product += b[row * rank + i] * a[i * columns + column]
    return w === 0 ? 0 : w + SCALE * product
  })

test('weights get the product of both, but for those that are 0', async () => {
  const [update] = updatesOf(layers, rank, all())
  const found = await updated(engine.linalg, weight, update, rank)
  for (const [i, w] of defined(update.a, update.b).entries()) expect(found[i]).toBeCloseTo(w, 5)
})

test.each(engines)('gradients are differences of a loss of the weights, %s', async (_, engine) => {
  const [{ a, b }] = updatesOf(layers, rank, all())
  const direction = random(weight.length, 3)
  const loss = (a: Floats, b: Floats) => defined(a, b).reduce((sum, w, i) => sum + direction[i] * w + 0.5 * w * w, 0)
  const now = await updated(engine.linalg, weight, { a, b }, rank)
  const d = now.map((w, i) => direction[i] + w)
  const to = { a: new Float32Array(a.length), b: new Float32Array(b.length) }
  await updateGradients(engine, now, engine.array([out, columns], d), { a, b }, to, rank)
  const moved = (of: Floats, at: number, step: number) => of.map((v, i) => (i === at ? v + step : v))
  for (const i of a.keys()) {
    const at = (step: number) => loss(moved(a, i, step), b)
    expect(to.a[i]).toBeCloseTo((at(0.125) - at(-0.125)) / 0.25, 4)
  }
  for (const i of b.keys()) {
    const at = (step: number) => loss(a, moved(b, i, step))
    expect(to.b[i]).toBeCloseTo((at(0.125) - at(-0.125)) / 0.25, 4)
  }
})

test('at first nothing is changed, and the seed gives the rest', async () => {
  const begun = (seed: number) => {
    const values = all()
    beginUpdates(layers, rank, values, randomNumbers(seed))
    return values
  }
  const updates = updatesOf(layers, rank, begun(4))
  expect(await updated(engine.linalg, weight, updates[0], rank)).toEqual(weight)
  for (const [i, { a }] of updates.entries()) {
    const most = Math.max(...a.map(Math.abs))
    expect(most).toBeLessThanOrEqual(Math.fround(1 / Math.sqrt(layers[i].in)))
    expect(most).toBeGreaterThan(0.5 / Math.sqrt(layers[i].in))
  }
  expect(begun(4)).toEqual(begun(4))
  expect(begun(5)).not.toEqual(begun(4))
})
