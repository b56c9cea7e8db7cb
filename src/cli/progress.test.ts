import { afterEach, expect, test, vi } from 'vitest'
import type { ProgressEvent } from '../base/events.ts'
import { showProgress } from './progress.ts'

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

/** What a terminal of so many columns shows of events, line by line. */
async function shown(columns: number, events: readonly ProgressEvent[]): Promise<string[]> {
  let text = ''
  vi.stubEnv('TERM', 'xterm')
  vi.spyOn(process.stderr, 'write').mockImplementation(part => Boolean((text += part)))
  Object.assign(process.stderr, { isTTY: true, columns })
  let now = 0
  vi.spyOn(performance, 'now').mockImplementation(() => (now += 60_000))
  await showProgress(
    (async function* () {
      yield* events
    })(),
  )
  return text
    .replaceAll('\r\x1b[K', '\n')
    .split('\n')
    .filter(line => line !== '')
}

const PHASE = { type: 'phase', phase: 'calibration text', total: 1_048_576, unit: 'tokens' } as const

test.each([40, 60, 90, 100])('time left is whole in %i columns: the rate goes first, then the bar', async columns => {
  const lines = await shown(columns, [PHASE, { type: 'progress', done: 262_144 }])
  expect(lines.filter(line => line.length >= columns)).toEqual([])
  const last = lines.at(-1)!
  expect(last).toMatch(/(^| )6 min 0 s left$/)
  expect([/tokens\/s/, /█/, /calibration text/].map(part => part.test(last))).toEqual([
    columns >= 100,
    columns >= 90,
    columns >= 60,
  ])
})

test('a notice breaks between words, and something is shown before the first event', async () => {
  const message = 'No calibration text given: calibrating on text that was written by the model itself.'
  const lines = await shown(40, [{ type: 'notice', message }])
  expect(lines[0]).toBe('opening')
  expect(lines.slice(1).join(' ')).toBe(message)
  expect(Math.max(...lines.map(line => line.length))).toBeLessThan(40)
})
