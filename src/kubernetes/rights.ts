import { groupOf, type KubeObject } from './api/objects.ts'
import { goesBack } from './capture.ts'
import type { Case, Say } from './case.ts'
import { syncs } from './gitops.ts'
import { deletes, leftover } from './goals.ts'
import { eachOf, type Site } from './site.ts'

export interface Right {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly namespace: string
  readonly name?: string
  readonly why: string
}

interface Review extends KubeObject {
  status?: { allowed?: boolean; reason?: string }
}

const AT_ONCE = 10

/** Asks the API server, for each right, whether the user of the context has it. Answers those that are missing. */
export async function missing(site: Site, rights: readonly Right[], signal: AbortSignal): Promise<Right[]> {
  const answers = await eachOf(rights, AT_ONCE, async right => {
    const { verb, group, resource: full, namespace, name } = right
    const [resource, subresource] = full.split('/')
    const resourceAttributes = {
      verb,
      group,
      resource,
      namespace,
      ...(subresource && { subresource }),
      ...(name && { name }),
    }
    const spec = { resourceAttributes }
    const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec }
    const review = await site.client.post<Review>(
      '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      body,
      signal,
    )
    return review.status?.allowed === true
  })
  return rights.filter((_, i) => answers[i] !== true)
}

export function told({ verb, group, resource, namespace }: Right): string {
  return `${verb} ${resource}${group === '' ? '' : `.${group}`} in ${namespace}`
}

/** What the steps of a proposal will need, asked before anything is begun. */
export async function rights(it: Case, say: Say): Promise<void> {
  const needed = neededFor(it)
  for (const right of await missing(it.site, needed, it.question.signal)) {
    say(
      'blocker',
      'right_missing',
      `The user of the context may not ${told(right)}, ${right.why}`,
      'give it by a Role and RoleBinding, as docs/adapters/kubernetes.md shows',
    )
  }
}

/** Of a workload's plural name. */
export function groupOfResource(resource: string): string {
  return groupOf(resource.startsWith('rollouts') ? 'Rollout' : 'Deployment')
}

function neededFor({ site, changing, rung, configs, owners, question, boundings }: Case): Right[] {
  const { namespace } = site
  const apps = (verb: string, resource: string, why: string): Right => ({
    verb,
    group: groupOfResource(resource),
    resource,
    namespace,
    why,
  })
  const core = (verb: string, resource: string, why: string): Right => ({ verb, group: '', resource, namespace, why })
  const kinds = [...new Set(changing.map(g => `${g.seen.kind.toLowerCase()}s`))]
  const out = kinds.flatMap(kind => [
    apps('patch', kind, 'which brings it back'),
    apps('watch', kind, 'which its rollout is followed by'),
    ...(rung === 'manifest' ? [apps('create', kind, 'which makes it again')] : []),
  ])
  if (kinds.includes('rollouts')) out.push(apps('patch', 'rollouts/status', 'which aborts and promotes it'))
  if (changing.length > 0) out.push(core('watch', 'pods', 'which a rollout is followed by'))
  if (changing.some(deletes)) {
    out.push(core('delete', 'pods', 'for those that hold it up while they are not ready'))
  }
  if (changing.some(goal => leftover(goal) === 'all'))
    out.push(core('create', 'pods/eviction', 'which replaces its pods, one after the other'))
  const back = [...configs].filter(([id]) => goesBack(site, id))
  for (const kind of new Set(back.map(([id]) => `${id.split('/')[0]}s`))) {
    out.push(core('patch', kind, 'which puts its content back'))
  }
  for (const kind of new Set(back.filter(([, now]) => now === null).map(([id]) => `${id.split('/')[0]}s`))) {
    out.push(core('create', kind, 'which makes it again'))
  }
  if (Object.keys(question.to.services).length > 0 && changing.length > 0) {
    out.push(core('patch', 'services', 'whose selector may have to go back'))
  }
  if (boundings.length > 0) {
    const group = 'autoscaling'
    const why = 'whose bounds go back'
    out.push({ verb: 'patch', group, resource: 'horizontalpodautoscalers', namespace, why })
  }
  for (const { path } of site.config.gitops === 'suspend' ? owners.filter(syncs) : []) {
    const [, , group = '', , , owner = '', resource = '', name = ''] = path.split('/')
    out.push({ verb: 'patch', group, resource, namespace: owner, name, why: 'which suspends it' })
  }
  return out
}
