import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    maxWorkers: 3,
    pool: 'forks',
    globalSetup: ['./tools/test-setup.ts'],
    reporters: [['default', { summary: false }], './tools/reporter.ts'],
  },
})
