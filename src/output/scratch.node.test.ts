import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { UNFINISHED, type Unfinished } from '../base/unfinished.node.ts'
import { openScratch } from './scratch.node.ts'

test.runIf(process.platform !== 'win32')('a file whose name has gone is nothing to remove any more', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fasp-scratch-'))
  const told: Unfinished[] = []
  const listen = (message: unknown) => void told.push(message as Unfinished)
  subscribe(UNFINISHED, listen)
  const scratch = await openScratch(join(folder, 'out'))
  unsubscribe(UNFINISHED, listen)
  expect(told.map(({ state }) => state)).toEqual(['temporary', 'kept'])
  expect(told[0].path).toBe(told[1].path)
  await scratch.write(Uint8Array.of(1, 2), 0)
  const read = new Uint8Array(2)
  await scratch.read(read, 0)
  expect([...read]).toEqual([1, 2])
  await scratch.close()
  rmSync(folder, { recursive: true })
})
