import type { Finding } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import type { PatchOp } from './api/client.ts'
import type { KubeObject } from './api/objects.ts'
import type { Site } from './site.ts'

/** Kept on what was suspended: by which step, and what it was like. */
const SUSPENDED = 'backout.dev/suspended'

interface Sync extends KubeObject {
  spec?: { suspend?: boolean; syncPolicy?: { automated?: unknown; [field: string]: unknown }; [field: string]: unknown }
}

/** What keeps objects as Git has them, and would put the bad version back. */
export interface GitOwner {
  /** "application argocd/shop". */
  readonly title: string
  readonly tool: 'argocd' | 'flux'
  readonly path: string
  /** null: it cannot be read. */
  readonly object: Sync | null
  /** Why it cannot be read. */
  readonly why: string | null
}

interface Mark {
  readonly tool: GitOwner['tool']
  readonly title: string
  readonly path: string
  /** Others put the same mark there: it leads to an owner only where there is one. */
  readonly unsure: boolean
}

/** The owners that marks on the objects lead to. */
export async function ownersOf(
  site: Site,
  world: { readonly objects: readonly { readonly object: KubeObject | null }[] },
  signal: AbortSignal,
): Promise<GitOwner[]> {
  const marks = new Map<string, Mark>()
  for (const { object } of world.objects) for (const mark of marksOn(object, site)) marks.set(mark.path, mark)
  const owners = [...marks.values()].map(async ({ unsure, ...mark }): Promise<GitOwner[]> => {
    try {
      const object = await site.client.get<Sync>(mark.path, signal)
      return object === null && unsure ? [] : [{ ...mark, object, why: object === null ? 'it is not there' : null }]
    } catch (error) {
      if (!(error instanceof BackoutError && error.code === 'kubernetes_forbidden')) throw error
      // What may not be looked at is not taken for none, unless there can be none.
      if (unsure && !(await mayHaveApplications(site, signal))) return []
      return [{ ...mark, object: null, why: error.why ?? 'it may not be read' }]
    }
  })
  return (await Promise.all(owners)).flat()
}

/** Which kinds a server has is told to everybody who is let in. */
async function mayHaveApplications({ client }: Site, signal: AbortSignal): Promise<boolean> {
  try {
    const group = await client.get<KubeObject & { resources?: { name: string }[] }>(ARGO, signal)
    return group?.resources?.some(({ name }) => name === 'applications') === true
  } catch {
    signal.throwIfAborted()
    return true
  }
}

function marksOn(object: KubeObject | null, site: Site): Mark[] {
  const { annotations = {}, labels = {} } = object?.metadata ?? {}
  const out: Mark[] = []
  // "<namespace>_<app>:group/kind:…" where Applications live in several namespaces.
  const tracked = annotations['argocd.argoproj.io/tracking-id']?.split(':')[0] ?? labels['argocd.argoproj.io/instance']
  // What Argo CD marks with where nobody told it otherwise, and charts of Helm as well.
  const instance = tracked ?? labels['app.kubernetes.io/instance']
  if (instance !== undefined && instance !== '') {
    const [first = '', second] = instance.split('_')
    const [namespace, name] = second === undefined ? [site.config.argocd, first] : [first, second]
    out.push({
      tool: 'argocd',
      title: `Argo CD's application ${namespace}/${name}`,
      path: `${ARGO}/namespaces/${namespace}/applications/${name}`,
      unsure: tracked === undefined,
    })
  }
  for (const [group, version, kind] of FLUX) {
    const name = labels[`${group}/name`]
    if (name === undefined) continue
    const namespace = labels[`${group}/namespace`] ?? site.namespace
    const path = `/apis/${group}/${version}/namespaces/${namespace}/${kind.toLowerCase()}s/${name}`
    out.push({ tool: 'flux', title: `Flux's ${kind} ${namespace}/${name}`, path, unsure: false })
  }
  return out
}

const ARGO = '/apis/argoproj.io/v1alpha1'
const FLUX = [
  ['kustomize.toolkit.fluxcd.io', 'v1', 'Kustomization'],
  ['helm.toolkit.fluxcd.io', 'v2', 'HelmRelease'],
] as const

/** True where it puts things back by itself. */
export function syncs({ tool, object }: GitOwner): boolean {
  if (object === null) return false
  if (tool === 'flux') return object.spec?.suspend !== true
  const automated = object.spec?.syncPolicy?.automated as { enabled?: boolean } | undefined | null
  return automated !== undefined && automated !== null && automated.enabled !== false
}

/** The step of Backout that suspended it; null where none did, or it was lifted. */
export function suspendedBy(owner: GitOwner): string | null {
  const mark = markOn(owner)
  return mark === null || syncs(owner) ? null : (mark.by ?? 'a step of Backout that the mark does not name')
}

/** What a suspension left on it; anybody may have written there since. */
function markOn({ object }: GitOwner): { by?: string; automated?: unknown } | null {
  const text = object?.metadata.annotations?.[SUSPENDED]
  if (text === undefined) return null
  try {
    const mark: unknown = JSON.parse(text)
    return typeof mark === 'object' && mark !== null ? mark : {}
  } catch {
    return {}
  }
}

/** What suspends it, with a mark that says what it was like. */
export function suspending(owner: GitOwner, by: string): PatchOp[] {
  const { object, tool } = owner
  const was = tool === 'argocd' ? { automated: object?.spec?.syncPolicy?.automated } : {}
  const mark = { by, ...was }
  const annotations = { ...object?.metadata.annotations, [SUSPENDED]: JSON.stringify(mark) }
  const noted: PatchOp = { op: 'add', path: '/metadata/annotations', value: annotations }
  if (tool === 'flux') return [noted, { op: 'add', path: '/spec/suspend', value: true }]
  return [noted, { op: 'remove', path: '/spec/syncPolicy/automated' }]
}

/** The command that lifts the suspension again. */
export function lifting(owner: GitOwner): string {
  const { tool, object, path } = owner
  const [, , group = '', , , namespace = '', plural = '', name = ''] = path.split('/')
  const off = { metadata: { annotations: { [SUSPENDED]: null } } }
  const mark = markOn(owner)
  const was = mark === null ? object?.spec?.syncPolicy?.automated : mark.automated
  const spec = tool === 'flux' ? { suspend: false } : { syncPolicy: { automated: was ?? {} } }
  return `kubectl -n ${namespace} patch ${plural}.${group} ${name} --type merge -p '${JSON.stringify({ ...off, spec })}'`
}

/** Says what GitOps would do to what is put back. `acts`: something is put back at all. */
export function checkOwners(
  owners: readonly GitOwner[],
  { gitops, acts }: { gitops: 'suspend' | 'warn'; acts: boolean },
  say: (level: Finding['level'], code: string, what: string, remedy: string) => void,
): void {
  for (const owner of owners) {
    const by = suspendedBy(owner)
    if (by !== null) {
      say(
        'warning',
        'sync_suspended',
        `${owner.title} is suspended since ${by}: nothing that is put into Git gets there`,
        `once Git has what is wanted: ${lifting(owner)}`,
      )
    } else if (owner.object === null) {
      say(
        'warning',
        'gitops_owner',
        `${owner.title} cannot be looked at (${owner.why}); it may put the bad version back`,
        'hold it by hand, and revert in Git',
      )
    } else if (syncs(owner) && acts) {
      const does =
        gitops === 'suspend'
          ? 'would put the bad version back: it is suspended, and stays so until it is lifted'
          : 'will put back what Git has'
      say('warning', 'gitops_owner', `${owner.title} ${does}`, 'revert the release in Git too')
    }
  }
}
