// `--metrics`: what Prometheus fetches while a run works.
import { createServer } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { metricsText, serveMetrics } from '../src/cli/metrics.ts'
import { PhaseCourse } from '../src/cli/progress.ts'
import { ALONE } from '../src/group/group.ts'
import { freePort, parseExposition, scraped } from './exposition.ts'
import { fasp, QUICK, refused, TINY_LLAMA, workplaces } from './fasp.ts'

const workplace = workplaces()

test('what a phase has done and how fast, and what each rank has said of itself', async () => {
  const course = new PhaseCourse()
  course.see({ type: 'phase', phase: 'prune', total: 4, unit: 'layers' })
  await sleep(150) // there is no rate before
  course.see({ type: 'progress', done: 1, tokens: 1000 })
  const facts = [
    { sent: 5, waited: 0.5, memory: 1e6 },
    { sent: 7, waited: 2.5, memory: 2e6 },
  ]
  const all = parseExposition(metricsText(course, { facts, bytes: 6 }))
  const sampleOf = (name: string, labels: object) =>
    all.find(one => one.name === name && JSON.stringify(one.labels) === JSON.stringify(labels))?.value
  expect(sampleOf('fasp_phase_done', { phase: 'prune', unit: 'layers' })).toBe(1)
  expect(sampleOf('fasp_phase_size', { phase: 'prune', unit: 'layers' })).toBe(4)
  expect(sampleOf('fasp_layer', { phase: 'prune' })).toBe(1)
  expect(sampleOf('fasp_tokens_per_second', {})).toBeGreaterThan(0)
  expect(sampleOf('fasp_tokens_per_second', {})).toBeLessThan(1000 / 4 / 0.14)
  expect(sampleOf('fasp_sent_bytes_total', { rank: '0' })).toBe(6)
  expect(sampleOf('fasp_sent_bytes_total', { rank: '1' })).toBe(7)
  expect(sampleOf('fasp_waiting_seconds_total', { rank: '1' })).toBe(2.5)
  expect(sampleOf('fasp_peak_memory_bytes', { rank: '1' })).toBe(2e6)
})

test('they are served while a run works, and no longer', async () => {
  const folder = await workplace()
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/metrics`
  let done = false
  const args = ['prune', TINY_LLAMA, '-s', '0.3', '--method', 'plain', '--calibration', 'text.txt', '--seq-len', '64']
  const running = fasp([...args, '--windows', '64', '-o', 'out', '--metrics', `${port}`], { folder }).finally(() => {
    done = true
  })
  const seen = await scraped(url, () => done)
  expect((await running).code).toBe(0)
  const phases = new Set(seen.flat().flatMap(({ name, labels }) => (name === 'fasp_phase_done' ? [labels.phase] : [])))
  expect([...phases]).toContain('prune')
  expect(seen.at(-1)!.find(({ name }) => name === 'fasp_peak_memory_bytes')!.value).toBeGreaterThan(1e7)
  await expect(fetch(url)).rejects.toThrow()
})

test.each([
  ['0', false],
  ['127.0.0.1:0', false],
  ['0.0.0.0:0', true],
])('at %s others than this machine reach them: %s', async (at, others) => {
  const said = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  await using _ = await serveMetrics(at, ALONE)
  const [, port] = /^Metrics: http:\/\/[\d.]+:(\d+)\/metrics\n$/.exec(`${said.mock.lastCall![0]}`)!
  said.mockRestore()
  expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200)
  expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404)
  const elsewhere = fetch(`http://127.0.0.2:${port}/metrics`).then(({ status }) => status)
  if (others) expect(await elsewhere).toBe(200)
  else await expect(elsewhere).rejects.toThrow()
})

describe('refused', () => {
  const args = ['prune', TINY_LLAMA, '-s', '0.3', ...QUICK, '-o', 'out', '--metrics']
  test.for(['', 'port', '99999', ':9100', '0.0.0.0'])('"%s"', async at =>
    refused(await workplace(), [...args, at], {
      code: 2,
      says: ['fasp: ', 'it must be a port from 0 to 65535, or host:port, as 0.0.0.0:9100.'],
    }),
  )
  test('a port that is taken', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    await refused(await workplace(), [...args, `${port}`], { code: 2, says: ['fasp: --metrics', 'EADDRINUSE'] })
    server.close()
  })
})
