import type { CaptureAct, Observation } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { orNull } from './engine.ts'
import { goesOn, isHeld, lifting, shares, unhalted } from './halt.ts'
import { alive, lookAtServices, lookAtSwarm, type Swarm, type View } from './look.ts'
import type { Image, PinnedService, SwarmPin } from './pin.ts'
import { countOf, deathsBefore, isOf, settledOf } from './settled.ts'
import type { Site } from './site.ts'
import { bare, identityOf, isJob, replicasOf, shortName, variable } from './spec.ts'
import { isHeldStopped, starting, unstopped } from './stopped.ts'
import type { Config, Network, Spec } from './types.ts'

export async function observe(site: Site, signal: AbortSignal): Promise<Observation> {
  const swarm = await lookAtSwarm(site, signal)
  const views = await lookAtServices(site, swarm, signal)
  const all = [...views.values()]
  return {
    identity: identity(site, swarm),
    state: { services: Object.fromEntries(namesOf(site, views).map(name => [name, stateOf(site, views.get(name))])) },
    detail: { services: Object.fromEntries(all.map(v => [v.service.Spec.Name, detailOf(v)])) },
    summary: summaryOf(site, views),
    inFlight: all.flatMap(view => inFlight(site, view)),
  }
}

/** The swarm and what is chosen in it: stable over releases, and over managers. */
export function identity({ config }: Site, swarm: Swarm): string {
  const chosen = config.stack === undefined ? [...(config.services ?? [])].sort().join(',') : `stack ${config.stack}`
  return `swarm:${swarm.cluster}/${chosen}`
}

/** All that is there, and what should be. */
function namesOf({ config }: Site, views: ReadonlyMap<string, View>): string[] {
  return [...new Set([...(config.services ?? []), ...views.keys()])].sort()
}

function stateOf(site: Site, view: View | undefined): Json {
  if (view === undefined) return null
  return { shape: site.shape(view.service.Spec), image: identityOf(view.image) }
}

function detailOf({ service, tasks, image }: View): Json {
  return {
    image: image.ref,
    version: service.Version.Index,
    running: countOf(tasks),
    replicas: replicasOf(service.Spec),
    update: service.UpdateStatus?.State ?? null,
  }
}

function summaryOf(site: Site, views: ReadonlyMap<string, View>): string {
  const names = namesOf(site, views)
  if (names.length === 0) return 'no service'
  return names.map(name => line(name, views.get(name))).join(', ')
}

function line(name: string, view: View | undefined): string {
  if (view === undefined) return `${name} is not there`
  const { service, tasks, image } = view
  const [runs, wanted] = [countOf(tasks), replicasOf(service.Spec)]
  const count = wanted === null ? `${runs} running` : `${runs} of ${wanted} running`
  const state = heldAs(service.Spec) ?? service.UpdateStatus?.State ?? 'completed'
  // What a stopped update was to bring need not run anywhere.
  const is = isHeld(service.Spec) ? shares(tasks) : shortName(image)
  return `${name} ${is} (${count}${state === 'completed' || state === 'rollback_completed' ? '' : `, ${state}`})`
}

/** What a run has left it in, until it is brought to a release or somebody lets it go on; null: nothing. */
function heldAs(spec: Spec): string | null {
  if (isHeldStopped(spec)) return 'stopped by Backout'
  return isHeld(spec) ? 'its update stopped by Backout' : null
}

function inFlight(site: Site, view: View): { what: string; since: string | null }[] {
  if (!goesOn(site, view)) return []
  const { State: state = '', StartedAt: since } = view.service.UpdateStatus ?? {}
  return [{ what: updateOf(view.service.Spec.Name, state), since: since ?? null }]
}

/** What an update under way is called in observations, and by those who take it over. */
export function updateOf(service: string, state: string): string {
  return `${state === 'updating' ? 'an update' : 'a rollback'} of ${service}`
}

/** Throws `service_unsettled` where a release would pin a state that is on its way to another, or that failed. */
export async function capture(site: Site, observed: Observation, act: CaptureAct): Promise<SwarmPin> {
  const swarm = await lookAtSwarm(site, act.signal)
  const views = await lookAtServices(site, swarm, act.signal)
  if (act.purpose === 'release') {
    refuseStopped(site, views)
    refuseUnsettled(site, swarm, views)
  }
  const services = await Promise.all(
    [...views.values()].filter(v => !isJob(v.service.Spec)).map(view => pinned(site, view, act)),
  )
  return { identity: observed.identity, services }
}

/** It has no tasks, and all of none look well. */
function refuseStopped(site: Site, views: ReadonlyMap<string, View>): void {
  const stopped = [...views.values()].map(v => v.service.Spec).filter(isHeldStopped)
  if (stopped.length === 0) return
  throw new BackoutError({
    code: 'service_stopped',
    what: `${site.component} has services that a run of Backout stopped, which are no state that could be gone back to: ${stopped.map(s => s.Name).join(', ')}`,
    next: `bring them to a release (\`backout run\`), or have them run again: ${stopped.map(starting).join('; ')}`,
    exit: 'blocked',
  })
}

function refuseUnsettled(site: Site, swarm: Swarm, views: ReadonlyMap<string, View>): void {
  const names = namesOf(site, views)
  refuseJobs(site, [...views.values()])
  const wrong = names.flatMap(name => {
    const view = views.get(name)
    if (view === undefined) return [`${name} is not there`]
    if (isHeld(view.service.Spec))
      return [`${name}: a run of Backout stopped its update where it was: ${shares(view.tasks)}`]
    const settled = settledOf(view, swarm, view.image, { update: 0, settle: 0 })
    if (settled.is !== 'settled') return [`${name}: ${settled.why}`]
    // It runs at this moment, as what dies after each start does in between.
    const dying = deathsBefore(view, swarm, site.config.limits.update)
    if (dying !== null) return [`${name}: ${dying}`]
    return view.image.digest === null && view.image.id === null
      ? [`${name}: nobody knows what ${view.image.ref} is`]
      : []
  })
  if (names.length > 0 && wrong.length === 0) return
  const held = names.filter(name => views.get(name) !== undefined && isHeld((views.get(name) as View).service.Spec))
  const wait = 'until `docker service ps` shows every task running what it should, then capture again'
  throw new BackoutError({
    code: 'service_unsettled',
    what: `${site.component} is in no state that could be gone back to`,
    cause: wrong.join('\n') || 'there is no such service',
    next: held.length === 0 ? `wait ${wait}` : `let it go on: \`${held.map(lifting).join('; ')}\`; and wait ${wait}`,
    exit: 'blocked',
  })
}

/** Nothing that could be gone back to: a job runs to its end, and running it again is another matter. */
function refuseJobs(site: Site, views: readonly View[]): void {
  const jobs = views.filter(v => isJob(v.service.Spec) || ranOnce(v)).map(v => v.service.Spec.Name)
  if (jobs.length === 0) return
  const list = jobs.join(', ')
  throw new BackoutError({
    code: 'service_is_job',
    what: `${site.component} has services that run to their end, as jobs do, which are no state that could be gone back to: ${list}`,
    next: site.config.stack === undefined ? `take them out of \`services\`` : `set \`except: [${list}]\``,
    exit: 'blocked',
  })
}

/** Its tasks have ended, and are not begun again: migrations of a stack are written like that. */
function ranOnce({ service: { Spec: spec }, tasks }: View): boolean {
  const { Condition: again = 'any' } = spec.TaskTemplate.RestartPolicy ?? {}
  const states = tasks.filter(({ task }) => isOf(spec, task)).map(({ task }) => task.Status.State)
  if (states.length === 0 || tasks.some(({ task }) => alive(task))) return false
  const ended = again === 'none' ? ['complete', 'failed'] : again === 'on-failure' ? ['complete'] : []
  return states.some(state => ended.includes(state))
}

async function pinned(site: Site, { service, image }: View, act: CaptureAct): Promise<PinnedService> {
  return pinOf(site, releasedSpec(service), image, act)
}

/** Of a stopped update the release is what it was to bring, not what stopped it. */
export function releasedSpec({ Spec: spec }: Pick<View['service'], 'Spec'>): Spec {
  return bare(unstopped(unhalted(spec)))
}

/** The content goes into the vault. */
export async function pinOf(
  site: Site,
  spec: Spec,
  image: Image,
  act: Pick<CaptureAct, 'vault' | 'signal'>,
): Promise<PinnedService> {
  const { Name: name, TaskTemplate: template } = spec
  const container = template.ContainerSpec
  const nets = [...(template.Networks ?? []), ...(spec.Networks ?? [])].map(n => n.Target)
  const content = Buffer.from(JSON.stringify(spec))
  return {
    name,
    mac: site.shape(spec),
    sealed: await act.vault.seal(content, `${site.component}: the specification of ${name}`),
    image,
    replicas: replicasOf(spec),
    networks: await Promise.all([...new Set(nets)].map(id => network(site, id, act.signal))),
    configs: await Promise.all(
      (container.Configs ?? []).map(async ({ ConfigID: id, ConfigName: called }) => {
        const found = await configOf(site, id, act.signal)
        if (found === null) return { id, name: called, mac: '', sealed: null }
        const file = Buffer.from(JSON.stringify(found.Spec))
        const kept = await act.vault.seal(file, `${site.component}: the config ${called} of ${name}`)
        return { id, name: called, mac: contentMac(site, found), sealed: kept }
      }),
    ),
    secrets: (container.Secrets ?? []).map(s => ({
      id: s.SecretID,
      name: s.SecretName,
      file: s.File?.Name ?? s.SecretName,
    })),
    variables: (container.Env ?? []).map(variable),
  }
}

async function network({ engine }: Site, id: string, signal: AbortSignal): Promise<{ id: string; name: string }> {
  const asked = engine.ask<Network>(`the network ${id}`, (docker, o) => docker.getNetwork(id).inspect(o), signal)
  return { id, name: (await orNull(asked))?.Name ?? id }
}

export function configOf({ engine }: Site, id: string, signal: AbortSignal): Promise<Config | null> {
  return orNull(engine.ask<Config>(`the config ${id}`, (docker, o) => docker.getConfig(id).inspect(o), signal))
}

/** Keyed hash of the content of a config. */
export function contentMac({ vault }: Site, { Spec: { Data: data } }: Config): string {
  return vault.mac(Buffer.from(data, 'base64'))
}
