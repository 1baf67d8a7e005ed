import { corePath, type Pod, selectorText } from './api/objects.ts'
import type { Case, Say } from './case.ts'
import type { World } from './look.ts'
import { servicesOf } from './observe.ts'
import type { KubernetesPin } from './pin.ts'
import { eachOf, type Site } from './site.ts'
import { isLive } from './status.ts'

const READS_AT_ONCE = 20

type Selectors = Readonly<Record<string, Readonly<Record<string, string>>>>

/** Who else has pods that these Services send users to, by Service: "deployment/shop-canary". */
export async function besides(
  site: Site,
  world: World,
  services: Selectors,
  signal: AbortSignal,
): Promise<Record<string, string[]>> {
  const own = new Set(world.objects.flatMap(({ pods }) => pods.map(pod => pod.metadata.uid)))
  const found = await eachOf(Object.entries(services), READS_AT_ONCE, async ([name, matchLabels]) => {
    const query = `?labelSelector=${encodeURIComponent(selectorText({ matchLabels }))}`
    const listed = await site.client.list(`${corePath(site.namespace, 'pods')}${query}`, signal)
    const others = ((listed?.items ?? []) as Pod[]).filter(pod => isLive(pod) && !own.has(pod.metadata.uid))
    return [name, [...new Set(others.map(ownerOf))].sort()] as const
  })
  return Object.fromEntries(found.filter(([, owners]) => owners.length > 0))
}

/** A ReplicaSet is named after what it belongs to, and the hash of its template. */
function ownerOf({ metadata: { name, labels, ownerReferences = [] } }: Pod): string {
  const owner = ownerReferences.find(({ controller }) => controller === true)
  if (owner === undefined) return `pod/${name}`
  const hashes = [
    ['deployment', labels?.['pod-template-hash']],
    ['rollout', labels?.['rollouts-pod-template-hash']],
  ] as const
  for (const [kind, hash] of hashes) {
    if (hash !== undefined && owner.name.endsWith(`-${hash}`)) return `${kind}/${owner.name.slice(0, -hash.length - 1)}`
  }
  return `${owner.kind.toLowerCase()}/${owner.name}`
}

/** Selectors that Services of the component have now. */
export function selectorsOf(world: World): Record<string, Record<string, string>> {
  return Object.fromEntries(servicesOf(world).map(({ metadata, spec }) => [metadata.name, spec.selector ?? {}]))
}

/** Users that go to pods of others by the component's own Services stay on what those run. */
export async function checkBeside({ site, world, question }: Case, say: Say): Promise<void> {
  const { to, release, signal } = question
  const there = Object.entries(to.services).filter(([name]) => world.services.some(s => s.metadata.name === name))
  const now = await besides(site, world, { ...selectorsOf(world), ...Object.fromEntries(there) }, signal)
  for (const [service, owners] of Object.entries(now)) {
    const since = owners.filter(owner => !wasThere(to, service, owner))
    if (since.length === 0) continue
    const known = to.beside === null ? '' : `, which it did not at ${release}`
    const scale = since.map(owner => {
      return owner.startsWith('pod/') || owner.startsWith('daemonset/')
        ? `kubectl -n ${site.namespace} delete ${owner}`
        : `kubectl -n ${site.namespace} scale ${owner} --replicas=0`
    })
    say(
      'warning',
      'service_shared',
      `service/${service} sends users to pods of ${since.join(', ')} too${known}: these are left as they are`,
      `if they are of the release that is left: ${scale.join('; ')}; or name them in \`objects\``,
    )
  }
}

function wasThere({ beside, objects }: KubernetesPin, service: string, owner: string): boolean {
  return objects[owner] !== undefined || beside?.[service]?.includes(owner) === true
}
