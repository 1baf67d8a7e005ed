import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * What takes about a minute or more on an idle machine, the longest first. Vitest knows that only of files it has seen; on
 * a fresh clone one of them would be last, and run alone.
 */
const LONG = [
  'test/e2e/demo-servers.test.ts',
  'test/crash/matrix.test.ts',
  'src/adapters/helm/helm.test.ts',
  'test/crash/luck.test.ts',
  'src/adapters/hosts/hosts.systemd.test.ts',
  'test/e2e/kubernetes.test.ts',
  'test/crash/middle.test.ts',
  'src/adapters/kubernetes/kubernetes.wire.test.ts',
  'test/carry/servers.test.ts',
  'test/crash/owner.test.ts',
  'src/adapters/swarm/swarm.nodes.test.ts',
  'test/e2e/standing.test.ts',
  'test/rungs/random.test.ts',
  'src/adapters/helm/helm.drift.test.ts',
  'examples/shop/demo.test.ts',
  'test/rungs/wrote.test.ts',
  'test/e2e/docker.test.ts',
  'test/e2e/restore.test.ts',
  'test/carry/two-releases.test.ts',
  'src/adapters/hosts/hosts.back.test.ts',
  'src/cli/remote.test.ts',
  'test/crash/moved.test.ts',
  'test/e2e/rollback.test.ts',
  'src/adapters/swarm/swarm.needs.test.ts',
]

/** The long ones first, everything else as vitest has it. */
export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const at = LONG.findIndex(name => moduleId.endsWith(`/${name}`))
      return at === -1 ? LONG.length : at
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}
