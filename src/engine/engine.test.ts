import { expect, test } from 'vitest'
import { Graph } from '../formats/onnx.ts'
import { openEngine } from './engine.node.ts'

test('handles on the CPU are the arrays themselves, and what runs write into them can be read', async () => {
  await using engine = openEngine()
  const data = Float32Array.of(1, 2, 3, 4, 5, 6)
  const x = engine.tensor(data, [2, 3])
  const y = engine.array([2, 3])
  const build = () => {
    const g = new Graph('negative')
    g.output('y', g.op('Neg', [g.input('x', 'float32', ['n', 'm'])]), 'float32', ['n', 'm'])
    return g
  }
  await engine.run('negative', build, { x }, { y })
  expect(engine.array([2, 3], data).data).toBe(data)
  expect(y.data).toEqual(data.map(v => -v))
  await engine.run('negative', build, { x }, { y: x })
  expect(data).toEqual(Float32Array.of(-1, -2, -3, -4, -5, -6))
})
