import { defineConfig } from 'vitest/config'

// Two cores: test files that run models share them badly, so files run one at a time in few workers.
export default defineConfig({
  // As `loader` in tsdown.config.ts.
  plugins: [
    {
      name: 'python-as-text',
      transform: (code, id) => (id.endsWith('.py') ? `export default ${JSON.stringify(code)}` : undefined),
    },
  ],
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
  },
})
