// After each test file: the files of a suite may share a process, and what one of them set does not reach the next.
import { afterAll, vi } from 'vitest'

afterAll(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
  vi.resetConfig()
})
