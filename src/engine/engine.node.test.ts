import { constants, PerformanceObserver } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { Worker } from 'node:worker_threads'
import { expect, test } from 'vitest'
import { NIGHTLY } from '../../test/nightly.ts'
import { markInOnePiece, openEngine } from './engine.node.ts'

/** Collections that V8 does little by little, until there is one. @param rounds in which a heap of some size is filled, at most */
async function marksInPieces(rounds: number): Promise<number> {
  let found = 0
  const observer = new PerformanceObserver(list => {
    for (const { detail } of list.getEntries() as unknown as { detail: { kind: number } }[])
      if (detail.kind === constants.NODE_PERFORMANCE_GC_INCREMENTAL) found++
  })
  observer.observe({ entryTypes: ['gc'] })
  let kept: object[] = []
  for (let round = 0; round < rounds && found === 0; round++) {
    for (let i = 0; i < 1e6; i++) kept.push({ i, text: [i] })
    kept = []
    await setTimeout(20)
  }
  observer.disconnect()
  return found
}

test('an engine lets V8 mark garbage in one piece, from then on', async () => {
  setFlagsFromString('--incremental-marking')
  expect(await marksInPieces(100)).toBeGreaterThan(0)
  await openEngine().close()
  expect(await marksInPieces(NIGHTLY ? 5 : 2)).toBe(0)
})

test('threads start while it is told so', async () => {
  for (let round = 0; round < (NIGHTLY ? 20 : 5); round++) {
    const codes = [0, 1].map(() => new Promise(resolve => new Worker('0', { eval: true }).on('exit', resolve)))
    for (const end = performance.now() + 40; performance.now() < end; markInOnePiece())
      for (const flag of ['incremental', 'cppheap-incremental', 'cppheap-concurrent'])
        setFlagsFromString(`--${flag}-marking`)
    expect(await Promise.all(codes)).toEqual([0, 0])
  }
})
