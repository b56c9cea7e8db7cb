import { expect, test } from 'vitest'
import { describeOn, devices } from '../../test/devices.ts'
import { openEngine } from '../engine/engine.node.ts'
import { constant, values } from '../engine/engine.ts'
import { Graph } from '../formats/onnx.ts'
import type { Adapter } from './adapter.ts'
import { freeOfCards, roomOfAdapters, roomOfCards } from './room.node.ts'
import { vulkanAdapters } from './vulkan.node.ts'

const GIB = 2 ** 30
const adapter = (type: Adapter['type'], free: number): Adapter => ({
  ...{ name: type, type, memory: 24 * GIB, free: free * GIB, binding: 2 ** 27, numbers: [] },
})
const room = (...adapters: Adapter[]) => roomOfAdapters(() => adapters, 16 * GIB) / GIB

test('a discrete GPU gives what is free, less a quarter and 512 MiB at least', () => {
  expect(room(adapter('discrete', 20))).toBe(15)
  expect(room(adapter('discrete', 1))).toBe(0.5)
  expect(room(adapter('discrete', 0.25))).toBe(0)
})

test('of those that WebGPU may take the least, and none of those that it takes after them', () => {
  expect(room(adapter('integrated', 1), adapter('discrete', 20), adapter('discrete', 8), adapter('software', 2))).toBe(
    6,
  )
})

test('of memory that is this machine’s a quarter of what is free, by the driver and by the system', () => {
  expect(room(adapter('integrated', 8), adapter('software', 16))).toBe(2)
  expect(room(adapter('software', 100))).toBe(4)
})

test('1 GiB where nothing can be asked', () => {
  expect(room()).toBe(1)
  const fails = () => {
    throw new Error('no loader')
  }
  expect([roomOfAdapters(fails), roomOfCards(fails), roomOfCards(() => [])]).toEqual([GIB, GIB, GIB])
})

test('NVIDIA’s library is asked for each card', () => {
  const free = [40n, 12n]
  const calls: Record<string, (...args: never[]) => number> = {
    nvmlInit_v2: () => 0,
    nvmlDeviceGetCount_v2: (count: [number]) => {
      count[0] = free.length
      return 0
    },
    nvmlDeviceGetHandleByIndex_v2: (i: number, handle: [unknown]) => {
      handle[0] = i
      return 0
    },
    nvmlDeviceGetMemoryInfo: (handle: number, memory: BigUint64Array) => {
      memory.set([80n, free[handle], 80n - free[handle]].map(gib => gib * BigInt(GIB)))
      return 0
    },
  }
  const load = () => ({ func: (signature: string) => calls[/ \*?(\w+)\(/.exec(signature)![1]] })
  const found = freeOfCards(load as never)
  expect(found).toEqual([40 * GIB, 12 * GIB])
  expect(roomOfCards(() => found)).toBe(9 * GIB)
  calls.nvmlDeviceGetMemoryInfo = () => 999
  expect(roomOfCards(() => freeOfCards(load as never))).toBe(GIB)
})

test('an engine says what it takes', async () => {
  await using cpu = openEngine()
  expect(cpu.facts.deviceMemory).toBeUndefined()
})

const [, webgpu] = await devices()
if (process.platform === 'linux')
  describeOn(webgpu, 'of a driver that is here', () => {
    test('it tells what is free', () => {
      for (const { memory, free } of vulkanAdapters()) {
        expect(free).toBeGreaterThan(0)
        expect(free).toBeLessThanOrEqual(memory)
      }
    })

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

    test('an engine takes a part of it unless told', async () => {
      await using unasked = openEngine({ device: 'webgpu' })
      await using asked = openEngine({ device: 'webgpu', deviceMemory: 0.5 })
      const most = Math.max(...vulkanAdapters().map(({ free }) => free))
      expect(unasked.facts.deviceMemory).toBeGreaterThan(0)
      expect(unasked.facts.deviceMemory).toBeLessThan(most)
      expect(asked.facts.deviceMemory).toBe(GIB / 2)
    })
  })
