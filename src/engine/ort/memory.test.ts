// A device from which rows come later, as in a page: one made of arrays here. What is the same on all is in memory.devices.test.ts.
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import type { Floats } from '../../formats/tensors.ts'
import { ActivationPool } from '../../output/activations.ts'
import { copyRows, hostOf, hostRoomOf, rowsOf, type Values, values } from '../values.ts'
import { DeviceMemory, type DeviceTensors } from './memory.ts'

/** A tensor there. */
interface There {
  readonly values: Floats
  isReleased: boolean
}

/** Bytes of rows. */
const ROWS = 8

class Late implements DeviceTensors<There> {
  lost = false
  /** Ends reads, where they do not end by themselves. */
  readonly ends: (() => void)[] = []
  isSlow = false
  allocate = (_type: string, [length]: readonly number[]) => ({ values: new Float32Array(length), isReleased: false })
  write = (here: unknown, _shape: unknown, there: There) => there.values.set(here as Floats)
  async read(here: unknown, _shape: unknown, there: There, isWanted: () => boolean) {
    const copy = there.values.slice()
    await (this.isSlow ? new Promise<void>(end => this.ends.push(end)) : setTimeout(5))
    if (this.lost) throw new Error('it is lost')
    if (isWanted()) (here as Floats).set(copy)
  }
  part = ({ values }: There, first: number, [length]: readonly number[], there: There) =>
    there.values.set(values.subarray(first, first + length))
  clear() {}
  release(there: There) {
    there.isReleased = true
  }
  check() {
    if (this.lost) throw new Error('it is lost')
  }
}

function opened(rows: number) {
  const device = new Late()
  const memory = new DeviceMemory(device, rows * ROWS)
  const of = (...values: number[]) => memory.array([values.length], Float32Array.from(values))
  /** `y ← Σ x + 1` */
  const next = (x: readonly Values[], y: Values<Floats>, ms = 0) =>
    memory.useInTurn(x, [y], async ([...given], [made]) => {
      await setTimeout(ms)
      expect([...given, made].some(there => there?.isReleased)).toBe(false)
      const all = x.map((values, i) => given[i]?.values ?? (values.data as Floats))
      const target = made?.values ?? y.data
      for (const i of target.keys()) target[i] = 1 + all.reduce((sum, values) => sum + values[i], 0)
    })
  return { device, memory, of, next }
}

test('rows are there when they have come, not before', async () => {
  const { memory, of, next } = opened(9)
  const x = of(1, 2)
  await next([x], x)
  expect(() => x.data).toThrow('await hostOf')
  expect([...(await hostOf(x))]).toEqual([2, 3])
  expect(x.data).toEqual(Float32Array.of(2, 3))
  expect(memory.moved).toEqual({ toDevice: ROWS, fromDevice: ROWS })
})

test('rows that are to be filled here do not come first', async () => {
  const { memory, of, next } = opened(9)
  const batch = { windows: 1, start: 0, tokens: 2 }
  const rows = await new ActivationPool(1e9, undefined, memory.array).open([batch], 1)
  for (const fill of [
    async (from: number[]) => rows.room(batch).set(from),
    (from: number[]) => copyRows(async () => {}, values(Float32Array.from(from), [2, 1]), rows.roomAt(batch)),
  ]) {
    await next([of(1, 2)], rows.roomAt(batch))
    await fill([7, 8])
    expect([...(await rows.load(batch))]).toEqual([7, 8])
  }
  expect(memory.moved.fromDevice).toBe(0)
})

test('rows that make room have come before a run that needs them', async () => {
  const { of, next } = opened(2)
  const [x, y] = [of(1, 2), of(5, 6)]
  for (let i = 0; i < 3; i++) for (const rows of [x, y]) await next([rows], rows)
  expect([...(await hostOf(x)), ...(await hostOf(y))]).toEqual([4, 5, 8, 9])
})

/** With room for eight, of which two may be on their way: the first rows are, which has made room for the eighth. The others are not there yet. */
async function leaving() {
  const on = opened(8)
  const rows = Array.from({ length: 12 }, (_, i) => on.of(i, i))
  on.device.isSlow = true
  for (const each of rows.slice(0, 8)) await on.next([each], each)
  expect(on.device.ends).toHaveLength(1)
  const [first, ...there] = rows.slice(0, 8)
  const end = () => {
    on.device.isSlow = false
    for (const end of on.device.ends) end()
  }
  return { ...on, first, there, others: rows.slice(8), end }
}

test('runs go on while rows that made room are on their way here', async () => {
  const {
    device,
    next,
    first,
    there: [second],
    others,
    end,
  } = await leaving()
  await next([others[0]], others[0])
  expect(device.ends).toHaveLength(2)
  let isHere = false
  const here = hostOf(first).then(() => (isHere = true))
  await setTimeout(20)
  expect(isHere).toBe(false)
  end()
  await here
  expect([...(await hostOf(first)), ...(await hostOf(second)), ...(await hostOf(others[0]))]).toEqual([
    1, 1, 2, 2, 9, 9,
  ])
})

/** Until what is on its way has come, by `end`. */
async function expectToWait(run: Promise<unknown>, end: () => void): Promise<void> {
  let isDone = false
  const done = run.then(() => (isDone = true))
  await setTimeout(20)
  expect(isDone).toBe(false)
  end()
  await done
}

test('a run waits for rows on their way that it reads', async () => {
  const { next, first, end } = await leaving()
  await expectToWait(next([first], first), end)
  expect([...(await hostOf(first))]).toEqual([2, 2])
})

test('a run waits for rows on their way that it writes to here, where there is no room for them', async () => {
  const { next, first, there, others, end } = await leaving()
  await expectToWait(next([...there, others[0]], first), end) // these take all of it
  expect([...(await hostOf(first))]).toEqual([44, 44])
})

test('no more rows are on their way beside a run than a quarter of the room', async () => {
  const { device, next, first, others, end } = await leaving()
  const done: number[] = []
  const runs = Promise.all(others.map(async (rows, i) => next([rows], rows).then(() => done.push(i))))
  await setTimeout(20)
  expect(device.ends).toHaveLength(3) // of which the second run waits for one
  expect(done).toEqual([0])
  end()
  await runs
  expect([...(await hostOf(first)), ...(await hostOf(others[3]))]).toEqual([1, 1, 12, 12])
})

test('rows on their way that are to be filled here stay as they are filled', async () => {
  const { next, first, others, end } = await leaving()
  hostRoomOf(first).set([7, 8])
  end()
  await setTimeout(5)
  expect([...(await hostOf(first))]).toEqual([7, 8])
  await next([first], others[0])
  expect([...(await hostOf(others[0]))]).toEqual([8, 9])
})

test('rows that are lost on their way are said to those who ask for them, and to nobody else', async () => {
  const {
    device,
    next,
    first,
    there: [second],
    end,
  } = await leaving()
  device.check = () => {}
  device.lost = true
  end()
  await setTimeout(5)
  device.lost = false
  await next([second], second)
  await expect(hostOf(first)).rejects.toThrow('it is lost')
  await expect(next([first], first)).rejects.toThrow('it is lost')
  await expect(next([first], first)).rejects.toThrow('it is lost')
  expect([...(await hostOf(second))]).toEqual([3, 3])
})

test('what a run reads makes no room for what else it reads', async () => {
  const { of, next } = opened(2)
  const [x, y, sum] = [of(1, 2), of(5, 6), of(0, 0)]
  await next([y], y)
  await next([x], x)
  await next([sum, y, x], sum)
  expect([...(await hostOf(sum))]).toEqual([9, 11])
})

test.each([
  [1, 'here, where there is no room for both', ROWS],
  [3, 'there', 0],
])('with room for %i, parts of rows are read %s', async (rows, _, fromDevice) => {
  const { memory, of, next } = opened(rows)
  const [x, sum] = [of(1, 2), of(0)]
  await next([x], x)
  await next([rowsOf(x, 1, 2)], sum)
  expect(memory.moved.fromDevice).toBe(fromDevice)
  expect([...(await hostOf(sum)), ...(await hostOf(rowsOf(x, 0, 1)))]).toEqual([4, 2])
})

test('parts of rows push nothing out when they have been read', async () => {
  const { memory, of, next } = opened(3)
  const [x, y, sum, other] = [of(1, 2), of(5, 6), of(0), of(0)]
  await next([x], x)
  await next([y], y)
  const part = rowsOf(x, 1, 2)
  await next([part], sum)
  await next([y], other)
  expect(memory.moved.fromDevice).toBe(0)
  await next([part], sum) // from the whole again
  expect([...(await hostOf(sum))]).toEqual([4])
})

test('nor do rows of which it reads a part', async () => {
  const { of, next } = opened(2.5)
  const [x, y, z, sum] = [of(1, 2), of(5, 6), of(3, 4), of(0)]
  await next([y], y)
  await next([x, z, rowsOf(y, 0, 1)], sum)
  expect([...(await hostOf(sum))]).toEqual([11])
})

test('runs and rows that are asked for wait for each other', async () => {
  const { of, next } = opened(3)
  const [x, y] = [of(1, 2), of(5, 6)]
  const order: string[] = []
  const done = (name: string) => () => order.push(name)
  await Promise.all([
    next([x], x, 20).then(done('slow')),
    next([x, y], y).then(done('fast')),
    hostOf(x).then(done('rows')),
  ])
  expect(order).toEqual(['slow', 'fast', 'rows'])
  expect([...(await hostOf(y))]).toEqual([8, 10])
})

test('a run that fails leaves rows as they were, and the next goes on', async () => {
  const { memory, of, next } = opened(3)
  const x = of(1, 2)
  await next([x], x)
  const failing = memory.useInTurn([x], [x], async () => {
    throw new Error('no kernel')
  })
  await expect(failing).rejects.toThrow('no kernel')
  await next([x], x)
  expect([...(await hostOf(x))]).toEqual([3, 4])
})

test('a device that is lost is said where it is waited for', async () => {
  const { device, memory, of, next } = opened(2)
  const [x, y] = [of(1, 2), of(5, 6)]
  await next([x], x)
  device.lost = true
  await expect(hostOf(x)).rejects.toThrow('it is lost')
  await expect(next([y], y)).rejects.toThrow('it is lost')
  await expect(memory.close()).rejects.toThrow('it is lost')
})
