// The memory of a device that an engine takes.
import { expect, test } from 'vitest'
import { describeOn, devices } from '../../test/devices.ts'
import { Graph } from '../formats/onnx.ts'
import { openEngine } from './engine.node.ts'
import { constant, values } from './engine.ts'

const GIB = 2 ** 30

test('an engine says what it takes', async () => {
  await using cpu = openEngine()
  expect(cpu.facts.deviceMemory).toBeUndefined()
})

const [, webgpu] = await devices()
if (process.platform === 'linux')
  describeOn(webgpu, 'of a driver that is here', () => {
    test('what is larger than shaders bind in one piece is multiplied all the same', { timeout: 120_000 }, async () => {
      const [rows, d] = [40_000, 1024] // 164 MB; drivers in software bind 128 MiB
      const build = () => {
        const g = new Graph('product')
        const operands = [g.input('w', 'float32', ['rows', d]), g.input('x', 'float32', ['n', d])]
        g.output('y', g.op('Gemm', operands, { transB: 1 }), 'float32', ['rows', 'n'])
        return g
      }
      const w = new Float32Array(rows * d)
      for (let row = 0; row < rows; row++) w[row * d + (row % d)] = row
      await using engine = openEngine({ device: 'webgpu', deviceMemory: 1 })
      const y = engine.array([rows, 1])
      const x = values(new Float32Array(d).fill(1), [1, d])
      await engine.run('product', build, { w: constant(w, [rows, d]), x }, { y })
      expect(y.data.findIndex((value, row) => value !== row)).toBe(-1)
    })

    test('an engine takes 1 GiB of it unless told', async () => {
      await using unasked = openEngine({ device: 'webgpu' })
      await using asked = openEngine({ device: 'webgpu', deviceMemory: 0.5 })
      expect([unasked, asked].map(({ facts }) => facts.deviceMemory)).toEqual([GIB, GIB / 2])
    })
  })
