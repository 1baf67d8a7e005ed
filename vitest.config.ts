import { defineConfig } from 'vitest/config'
import LongFirst from './tools/test-order.ts'

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // CI's machines are shared: what fails once there is tried once more, and is named at the end of the log.
    retry: process.env['CI'] === 'true' ? 1 : 0,
    maxWorkers: 3,
    pool: 'forks',
    sequence: { sequencer: LongFirst },
    globalSetup: ['./tools/test-setup.ts'],
    reporters: [['default', { summary: false }], './tools/reporter.ts'],
  },
})
