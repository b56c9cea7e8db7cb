import { defineConfig } from 'vitest/config'
import { pythonAsText } from '../python-as-text.ts'

// Checks that need Python beside them; their shell script makes the virtual environments.
export default defineConfig({
  plugins: [pythonAsText],
  test: { include: ['test/python/*.check.ts'], testTimeout: 60_000, hookTimeout: 60_000 },
})
