import { defineConfig } from 'vitest/config'

// Checks that need Python beside them; their shell script makes the virtual environments.
export default defineConfig({
  test: { include: ['test/python/*.check.ts'], testTimeout: 60_000, hookTimeout: 60_000 },
})
