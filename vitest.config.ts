import { configDefaults, defineConfig } from 'vitest/config'
import LongFirst from './tools/test-order.ts'

// A real cluster takes its time: each pod that ends takes ten seconds of an old kubelet.
const LIMIT_MS = process.env['BACKOUT_TEST_KUBECONFIG'] ? 600_000 : 120_000

/** Asked for by a variable: what they need is not to be had from one Debian release, or takes minutes. */
const ON_DEMAND = {
  BACKOUT_TEST_HOSTS: ['src/adapters/hosts/hosts.many.test.ts'],
  BACKOUT_TEST_POSTGRES: ['versions', 'since-18'].map(name => `src/adapters/postgres/${name}.test.ts`),
  BACKOUT_TEST_MARIADB: ['src/adapters/mysql/versions.test.ts'],
}
const notAsked = Object.entries(ON_DEMAND).flatMap(([name, files]) => (process.env[name] ? [] : files))

export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'examples/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...notAsked],
    testTimeout: LIMIT_MS,
    hookTimeout: LIMIT_MS,
    // CI's machines are shared: what fails once there is tried once more, and is named at the end of the log.
    retry: process.env['CI'] === 'true' ? 1 : 0,
    // More than a small machine has processors: half of the time a test waits for a server, a limit or a gate.
    maxWorkers: 4,
    pool: 'forks',
    sequence: { sequencer: LongFirst },
    globalSetup: ['./tools/test-setup.ts'],
    reporters: [['default', { summary: false }], './tools/reporter.ts'],
  },
})
