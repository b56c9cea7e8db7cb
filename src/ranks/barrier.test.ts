// Ranks that wait for each other, on mail in this process.
import { afterEach, expect, test, vi } from 'vitest'
import { AbsentError, type Mail, Waiting, type WaitingOptions, type Word } from './barrier.ts'

const open: Waiting[] = []
afterEach(() => {
  for (const waiting of open.splice(0)) waiting.close()
})

function ranks(size: number, options?: WaitingOptions): Waiting[] {
  const sent = new Map<string, Word[]>()
  const box = (from: number, to: number) =>
    sent.get(`${from} ${to}`) ?? sent.set(`${from} ${to}`, []).get(`${from} ${to}`)!
  const mailOf = (own: number): Mail => ({
    send(to, word) {
      box(own, to).push(word)
      return () => true
    },
    receive: from => () => box(from, own).shift(),
  })
  const all = Array.from({ length: size }, (_, rank) => new Waiting(rank, size, mailOf(rank), options))
  open.push(...all)
  return all
}

test('nobody goes on before all are there, again and again', async () => {
  const all = ranks(4)
  const there = [0, 0, 0, 0]
  await Promise.all(
    all.map(async (waiting, rank) => {
      for (let round = 1; round <= 20; round++) {
        if ((rank + round) % 4 === 0) await new Promise(resolve => setTimeout(resolve, 2))
        there[rank] = round
        await waiting.meet()
        expect(Math.min(...there)).toBeGreaterThanOrEqual(round)
      }
    }),
  )
})

test('those that are long at work are waited for', async () => {
  const [root, one, two] = ranks(3, { timeout: 250 })
  const met = Promise.all([root.meet(), one.meet()])
  await new Promise(resolve => setTimeout(resolve, 1500)) // `two` gives signs of life
  await Promise.all([met, two.meet()])
})

test('those that give no sign of life are named, at the root', async () => {
  const [root, one, two, three] = ranks(4, { timeout: 60 })
  one.close()
  three.close()
  const waits = two.meet().catch(() => {})
  const error = await root.meet().catch(error => error)
  expect(error).toBeInstanceOf(AbsentError)
  expect(error.rank).toBe(1)
  expect(error.message).toMatch(
    /^rank 1 of 4: no sign of life for 0\.1 s, nor of rank 3, and others wait for it\. .*--mpi-timeout\.$/,
  )
  void waits
})

test('so is the root, by the next', async () => {
  const now = performance.now.bind(performance)
  let ahead = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now() + ahead)
  const [root, one] = ranks(2, { timeout: 60_000 })
  root.close()
  const error = one.meet().catch(error => error)
  await new Promise(resolve => setTimeout(resolve, 20))
  ahead = 66_000
  expect((await error).message).toMatch(/^rank 0 of 2: no sign of life for 65 s, and/)
  vi.restoreAllMocks()
})

test('with 0 nobody is given up, and whoever interrupts is obeyed', async () => {
  const controller = new AbortController()
  const [root] = ranks(2, { timeout: 0, signal: controller.signal })
  const met = root.meet().catch(error => error)
  await new Promise(resolve => setTimeout(resolve, 50))
  controller.abort(new Error('stop'))
  expect((await met).message).toBe('stop')
})
