import { expect, test } from 'vitest'
import { Clock, total } from './clock.ts'

const sleep = (seconds: number) => new Promise(resolve => setTimeout(resolve, seconds * 1000))

test('counts each name whenever it comes, and not what is counted elsewhere', async () => {
  let engine = 1
  const clock = new Clock<'reading' | 'repair'>(() => engine)
  clock.start('reading')
  clock.start('repair')
  await sleep(0.05)
  engine += 0.04
  clock.start('reading')
  await sleep(0.05)
  clock.start('repair')
  const seconds = clock.stop()
  expect(Object.keys(seconds)).toEqual(['reading', 'repair'])
  expect(seconds.reading).toBeGreaterThan(0.04)
  expect(seconds.repair).toBeLessThan(seconds.reading)
  expect(total(seconds)).toBeGreaterThan(0.05)
})
