import { defineConfig } from 'vitest/config'
import { pythonAsText } from '../python-as-text.ts'

// A suite of its own: it needs Chromium.
export default defineConfig({
  plugins: [pythonAsText],
  test: { include: ['test/report/*.check.ts'], testTimeout: 60_000, hookTimeout: 60_000, maxWorkers: 1 },
})
