import { join } from 'node:path'
import { z } from 'zod'
import { runLocal } from '../../exec/local.ts'
import { type Candidate, type Finds, NOTHING_FOUND, nameFrom } from './found.ts'
import { DATABASE } from './projects.ts'
import { isAside, readYaml, type Site } from './site.ts'

const STACK = 'com.docker.stack.namespace'
const FILE = /(^|\/)([a-z0-9-]*(stack|swarm)|(docker-)?compose)[^/]*\.ya?ml$/
const LIMIT_MS = 15_000
/** As the adapter takes it; a context of docker is none. */
const ENGINE = /^(unix|tcp|ssh):\/\//

const spec = z.object({
  Name: z.string(),
  Labels: z.record(z.string(), z.string()).nullish(),
  Mode: z.record(z.string(), z.unknown()),
  TaskTemplate: z.object({ ContainerSpec: z.object({ Image: z.string() }) }),
})
type Spec = z.infer<typeof spec>

/** Stacks of the swarm that docker here speaks to, as far as a file of the project has their services. Quiet where there is none. */
export async function stacks(site: Site): Promise<Finds> {
  const paths = site.files.filter(path => FILE.test(path) && !isAside(path))
  if (paths.length === 0) return NOTHING_FOUND
  const specs = await services()
  const names = [...new Set(specs.map(s => s.Labels?.[STACK] ?? '').filter(Boolean))].sort()
  const found: Candidate[] = []
  for (const path of paths) {
    const tree = (await readYaml(join(site.dir, path))) as { services?: Record<string, unknown> | null } | null
    const written = new Set(Object.keys(tree?.services ?? {}))
    for (const stack of names) {
      const own = specs.filter(s => s.Labels?.[STACK] === stack)
      const all = own.every(s => written.has(s.Name.slice(stack.length + 1)))
      if (all && !found.some(c => c.settings['stack'] === stack)) found.push(candidateOf(stack, path, own))
    }
  }
  return { ...NOTHING_FOUND, candidates: found }
}

/** What runs in the swarm; nothing where docker is not there, or is no manager. */
async function services(): Promise<Spec[]> {
  const script = 'ids=$(docker service ls -q) && [ -n "$ids" ] && docker service inspect --format "{{json .Spec}}" $ids'
  const ran = await runLocal({ argv: ['sh', '-c', script], limitMs: LIMIT_MS, keepBytes: 16 << 20 }).catch(() => null)
  if (ran?.code !== 0) return []
  return ran.stdout
    .split('\n')
    .filter(Boolean)
    .flatMap(line => spec.safeParse(JSON.parse(line)).data ?? [])
}

function candidateOf(stack: string, path: string, own: readonly Spec[]): Candidate {
  const host = process.env['DOCKER_HOST'] ?? ''
  const jobs = own.filter(s => 'ReplicatedJob' in s.Mode || 'GlobalJob' in s.Mode)
  const data = own.filter(s => DATABASE.test(s.TaskTemplate.ContainerSpec.Image))
  const except = [...new Set([...data, ...jobs].map(s => s.Name))].sort()
  return {
    id: nameFrom(stack, 'app').toLowerCase(),
    adapter: 'swarm',
    what: `Docker Swarm: the stack ${stack}, by ${path}`,
    about: [`The stack ${stack} of the swarm, whose services ${path} has: docs/adapters/swarm.md`],
    settings: { ...(ENGINE.test(host) ? { engine: host } : {}), stack, ...(except.length === 0 ? {} : { except }) },
    hints:
      except.length === 0
        ? []
        : ['databases and jobs are left out: they have components of their own, or stay as they are'],
    layer: 'app',
    held: null,
  }
}
