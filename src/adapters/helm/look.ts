import { systemClock } from '../../core/clock.ts'
import type { OpenContext } from '../../core/contract.ts'
import { type Workload, workloadPath } from '../../kubernetes/api/objects.ts'
import { type GitOwner, ownersOf } from '../../kubernetes/gitops.ts'
import { clusterOf } from '../../kubernetes/look.ts'
import { site as siteSettings } from '../../kubernetes/settings.ts'
import { openSite, type Site } from '../../kubernetes/site.ts'
import { Helm, type Revision } from './cli.ts'
import type { HelmConfig } from './config.ts'
import { driftOf, type Off } from './drift.ts'
import { endedHere } from './ended.ts'
import { type Member, members } from './manifest.ts'

/** One release: where it is, and how it is reached. */
export interface Place {
  readonly config: HelmConfig
  readonly ctx: OpenContext
  readonly helm: Helm
  /** The same cluster, for what helm does not tell: which one it is, what runs there, who else writes. */
  readonly site: Site
}

export function openPlace(config: HelmConfig, ctx: OpenContext): () => Promise<Place> {
  const { kubeconfig, context, namespace, gitops, argocd, limits } = config
  const settings = siteSettings.parse({ kubeconfig, context, namespace, gitops, argocd })
  const { api, settle, stuck, rollback: rollout } = limits
  const own = { api, settle, stuck, rollout }
  const site = openSite(
    { ...settings, selector: 'app.kubernetes.io/managed-by=Helm', limits: { ...settings.limits, ...own } },
    ctx,
  )
  return async () => {
    const open = await site()
    // What the kubeconfig says where nothing is set is settled once, and the same for helm.
    const settled = { ...config, namespace: open.namespace, context: open.client.session.context }
    return { config: settled, ctx, helm: new Helm(settled, ctx.baseDir), site: open }
  }
}

export interface Live extends Member {
  /** null: it is not there. */
  readonly object: Workload | null
}

export interface World {
  readonly identity: string
  /** The oldest first. */
  readonly history: readonly Revision[]
  /** Keyed hash of the newest revision's manifest; null: there is none. */
  readonly manifest: string | null
  /** What the newest revision says should run, and what is there. */
  readonly live: readonly Live[]
  /** What is not as the newest revision says. */
  readonly drift: readonly Off[]
  readonly owners: readonly GitOwner[]
  /** The newest revision is of an operation that nobody is at any more. */
  readonly left: boolean
}

export async function look(place: Place, signal: AbortSignal): Promise<World> {
  const { helm, site, config } = place
  const [cluster, history] = await Promise.all([clusterOf(site, signal), helm.history(signal)])
  const identity = `helm:${cluster}/${site.namespace}/${config.release}`
  const last = history.at(-1)
  if (last === undefined) return { identity, history, manifest: null, live: [], drift: [], owners: [], left: false }
  const text = await helm.manifest(last.revision, signal)
  // Nothing is asked for by what was uninstalled.
  const [live, drift] =
    last.status === 'uninstalled'
      ? [[], []]
      : await Promise.all([liveOf(place, members(text, site.namespace), signal), driftOf(place, text, signal)])
  const objects = live.map(one => ({ ...one, revisions: [], pods: [] }))
  const owners = await ownersOf(site, { objects }, signal)
  return { identity, history, manifest: macOf(place, text), live, drift, owners, left: await isLeft(place, last) }
}

export async function liveOf({ site }: Place, wanted: readonly Member[], signal: AbortSignal): Promise<Live[]> {
  return Promise.all(
    wanted.map(async member => {
      const found = await site.client.get<Workload>(workloadPath(member.namespace, member.kind, member.name), signal)
      return { ...member, object: found === null ? null : { ...found, kind: member.kind } }
    }),
  )
}

export function macOf({ ctx }: Place, manifest: string): string {
  return ctx.vault.mac(Buffer.from(manifest.trim()))
}

export function isPending({ status }: Revision): boolean {
  return status.startsWith('pending-') || status === 'uninstalling'
}

/** An operation that is older than its client may take was left by a client that died; so was one of our own that ended, or died. */
export async function isLeft({ config, ctx }: Place, revision: Revision): Promise<boolean> {
  if (!isPending(revision)) return false
  const old = systemClock.now() - Date.parse(revision.updated) > config.limits.pending
  return old || endedHere(ctx, revision)
}
