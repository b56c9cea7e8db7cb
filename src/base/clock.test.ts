import { expect, test, vi } from 'vitest'
import { Clock, total } from './clock.ts'

test('counts each name whenever it comes, and not what is counted elsewhere', () => {
  vi.useFakeTimers({ toFake: ['performance'] })
  let engine = 1
  const clock = new Clock<'reading' | 'repair'>(() => engine)
  clock.start('reading')
  vi.advanceTimersByTime(3000)
  clock.start('repair')
  vi.advanceTimersByTime(5000)
  engine += 4
  clock.start('reading')
  vi.advanceTimersByTime(2000)
  const seconds = clock.stop()
  vi.useRealTimers()
  expect(seconds).toEqual({ reading: 5, repair: 1 })
  expect(total(seconds)).toBe(6)
})
