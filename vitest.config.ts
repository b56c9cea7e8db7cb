import { defineConfig } from 'vitest/config'
import { pythonAsText } from './test/python-as-text.ts'

// Two cores: test files that run models share them badly, so files run one at a time in few workers.
export default defineConfig({
  plugins: [pythonAsText],
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
