import type { Finding, Readiness } from '../core/contract.ts'
import { lifting, ownersOf, suspendedBy } from './gitops.ts'
import { haltedBy, resuming } from './halt.ts'
import { look, type Seen } from './look.ts'
import { groupOfResource, missing, type Right, told } from './rights.ts'
import { serverFinding } from './server.ts'
import type { Site } from './site.ts'
import { isHeldStopped, starting } from './stopped.ts'

/** What capturing and going back will need, asked ahead. */
export async function ready(site: Site, signal: AbortSignal): Promise<Readiness> {
  const world = await look(site, signal)
  const wanted = allRights(site, [...new Set(world.objects.map(o => `${o.kind.toLowerCase()}s`))])
  const lacking = await missing(site, wanted, signal)
  const findings = lacking.map(
    (right): Finding => ({
      level: 'blocker',
      code: 'right_missing',
      component: site.component,
      what: `The user of the context ${site.client.session.context} may not ${told(right)}, ${right.why}`,
      remedy: 'give it by a Role and RoleBinding, as docs/adapters/kubernetes.md shows',
    }),
  )
  const tooOld = await serverFinding(site, signal)
  if (tooOld !== null) findings.push(tooOld)
  for (const owner of await ownersOf(site, world, signal)) {
    const by = suspendedBy(owner)
    if (by === null) continue
    const what = `${owner.title} is suspended since ${by}: nothing that is put into Git gets there`
    findings.push({
      level: 'warning',
      code: 'sync_suspended',
      component: site.component,
      what,
      remedy: `once Git has what is wanted: ${lifting(owner)}`,
    })
  }
  findings.push(...world.objects.flatMap(seen => [...heldFinding(site, seen), ...stoppedFinding(site, seen)]))
  const { server, context } = site.client.session
  const well = [`${world.identity} at ${server} (context ${context})`]
  if (lacking.length === 0) well.push(`${wanted.length} rights that going back needs`)
  return { well, findings }
}

/** A run that was aborted after its halt: nothing that is deployed gets to the pods. */
function heldFinding({ component, namespace }: Site, { object, kind, id }: Seen): Finding[] {
  const by = object === null ? null : haltedBy(object)
  if (object === null || by === null) return []
  const what = `The rollout of ${id} is held since ${by}: no pod is replaced, whatever is deployed`
  const remedy = `run the rollback again, or let it go on: ${resuming(namespace, kind, object)}`
  return [{ level: 'warning', code: 'rollout_held', component, what, remedy }]
}

/** One that ended after it had stopped a DaemonSet: nothing but its summary would tell. */
function stoppedFinding({ component, namespace }: Site, { object, kind, id }: Seen): Finding[] {
  if (object === null || !isHeldStopped(object.spec.template)) return []
  const what = `${id} was stopped by a run of Backout: it has no pods, whatever is deployed`
  const remedy = `run the rollback again, or have it run: ${starting(namespace, kind, object)}`
  return [{ level: 'warning', code: 'object_stopped', component, what, remedy }]
}

function allRights({ namespace, config }: Site, kinds: readonly string[]): Right[] {
  const right =
    (group: string, why: string) =>
    (verb: string, resource: string): Right => ({ verb, group, resource, namespace, why })
  const read = right('', 'which it is looked at by')
  const apps = right('apps', 'which its revisions are known by')
  const own = (verb: string, resource: string, why: string): Right =>
    right(groupOfResource(resource), why)(verb, resource)
  const secrets = config.pinned.some(id => id.startsWith('secret/'))
  return [
    ...['get', 'list', 'watch'].flatMap(verb => [
      read(verb, 'pods'),
      ...kinds.map(kind => own(verb, kind, 'which its state is known by')),
    ]),
    apps(
      'list',
      kinds.some(kind => kind === 'deployments' || kind === 'rollouts') ? 'replicasets' : 'controllerrevisions',
    ),
    read('get', 'configmaps'),
    read('get', 'secrets'),
    read('list', 'services'),
    right('autoscaling', 'which bounds are known by')('list', 'horizontalpodautoscalers'),
    ...kinds.map(kind => own('patch', kind, 'which brings it back')),
    ...(kinds.includes('rollouts') ? [own('patch', 'rollouts/status', 'which aborts and promotes it')] : []),
    right('', 'which puts its content back')('patch', 'configmaps'),
    ...(secrets ? [right('', 'which puts its content back')('patch', 'secrets')] : []),
    right('', 'whose selector may have to go back')('patch', 'services'),
    right('', 'which tells why a pod dies')('get', 'pods/log'),
  ]
}
