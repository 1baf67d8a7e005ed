import { defineConfig } from 'vitest/config'
import LongFirst from './tools/test-order.ts'

// A real cluster takes its time: each pod that ends takes ten seconds of an old kubelet.
const LIMIT_MS = process.env['BACKOUT_TEST_KUBECONFIG'] ? 600_000 : 120_000

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    testTimeout: LIMIT_MS,
    hookTimeout: LIMIT_MS,
    // CI's machines are shared: what fails once there is tried once more, and is named at the end of the log.
    retry: process.env['CI'] === 'true' ? 1 : 0,
    maxWorkers: 3,
    pool: 'forks',
    sequence: { sequencer: LongFirst },
    globalSetup: ['./tools/test-setup.ts'],
    reporters: [['default', { summary: false }], './tools/reporter.ts'],
  },
})
