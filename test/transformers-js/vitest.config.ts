import { defineConfig } from 'vitest/config'
import { pythonAsText } from '../python-as-text.ts'

// A suite of its own: it prunes SmolLM2 several times, and needs Chromium.
export default defineConfig({
  plugins: [pythonAsText],
  test: {
    include: ['test/transformers-js/*.check.ts'],
    testTimeout: 120_000,
    hookTimeout: 240_000,
    maxWorkers: 1,
  },
})
