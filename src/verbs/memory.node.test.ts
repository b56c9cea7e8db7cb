import { expect, test } from 'vitest'
import { MemoryError } from '../base/errors.ts'
import { checkMemory, lacksMemory } from './memory.node.ts'

test('what a run takes is held against the machine or container, and against what is left of the address space', () => {
  expect(lacksMemory('prune', 'm', 2e9, 2, { memory: 2e9 })).toBe(undefined)
  expect(lacksMemory('prune', 'm', 2e9, 2, {})).toBe(undefined)
  expect(lacksMemory('prune', 'm', 2e9, 2, { memory: 1.5e9 })).toMatch(
    /^m: .* 2\.00 GB of memory, and .* has 1\.50 GB\. A lower/,
  )
  expect(lacksMemory('heal', 'm', 2e9, 2, { memory: 1.5e9 })).toMatch(
    /--memory, a smaller --seq-len and --train lora take/,
  )
  // 2 GB less what is resident, and 0.3 GB for each thread.
  const left = (bytes: number) => ({ address: { left: bytes, resident: 0.5e9 } })
  expect(lacksMemory('prune', 'm', 2e9, 2, left(2.1e9))).toBe(undefined)
  expect(lacksMemory('prune', 'm', 2e9, 2, left(2e9))).toMatch(
    /^m: .* 2\.10 GB of address space with --threads 2, and 2\.00 GB/,
  )
  expect(lacksMemory('prune', 'm', 0, 8, left(-1))).toMatch(
    /2\.40 GB .* 0\.0 kB of it are left \(ulimit -v\)\. Raise that limit/,
  )
  expect(() => checkMemory('prune', 'm', 2, 1, { memory: 1 })).toThrow(MemoryError)
})
