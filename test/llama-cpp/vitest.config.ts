import { defineConfig } from 'vitest/config'
import { pythonAsText } from '../python-as-text.ts'

// A suite of its own: it installs node-llama-cpp into a cache folder, which needs the network.
export default defineConfig({
  plugins: [pythonAsText],
  test: {
    include: ['test/llama-cpp/*.check.ts'],
    testTimeout: 120_000,
    hookTimeout: 240_000,
    maxWorkers: 1,
  },
})
