import type { CaptureAct, Observation } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import type { Json } from '../../core/json.ts'
import { diesAgain, startedAnew } from './dying.ts'
import { doing } from './halt.ts'
import { composeFiles, type Host } from './host.ts'
import { withoutJobs } from './jobs.ts'
import { type Container, imageOf, look, type View } from './look.ts'
import type { ComposePin, PinnedService } from './pin.ts'
import { staleOf } from './stale.ts'

export async function observe(host: Host, signal: AbortSignal): Promise<Observation> {
  const view = await look(host, signal)
  const { containers } = withoutJobs(host, view)
  return {
    identity: identityOf(host, view),
    state: {
      files: Object.fromEntries(view.files.map(f => [f.path, host.vault.mac(f.content)])),
      services: Object.fromEntries([...byService(containers)].map(([name, list]) => [name, stateOf(list)])),
    },
    detail: {
      containers: view.containers.map(c => ({
        service: c.service,
        status: c.state.Status,
        health: c.state.Health?.Status ?? null,
      })),
    },
    summary: summaryOf(view),
    inFlight: view.busy.map(b => ({ what: doing(b), since: null })),
  }
}

/** The engine and the project: stable over releases. */
export function identityOf({ project }: Host, { engine }: View): string {
  return `compose:${engine}/${project}`
}

export function byService(containers: readonly Container[]): Map<string, Container[]> {
  const out = new Map<string, Container[]>()
  for (const c of [...containers].sort((a, b) => (a.service < b.service ? -1 : 1)))
    out.set(c.service, [...(out.get(c.service) ?? []), c])
  return out
}

function stateOf(list: readonly Container[]): Json {
  return {
    images: [...new Set(list.map(c => c.image))].sort(),
    hashes: [...new Set(list.map(c => c.hash))].sort(),
    // What is about to be started anew runs at one moment, and not at the next.
    up: list.filter(c => runs(c) || c.state.Status === 'restarting').length,
  }
}

export function runs({ state }: Container): boolean {
  return state.Status === 'running'
}

function summaryOf({ containers }: View): string {
  const parts = [...byService(containers)].map(([name, list]) => {
    const [refs, up] = [[...new Set(list.map(c => c.ref))].join(' and '), list.filter(runs).length]
    return `${name} ${refs} (${up} of ${list.length} running)`
  })
  return parts.join(', ') || 'no container'
}

/** A job that is at work is no state to go back to. Throws `project_unsettled` where a release would pin what does not run, or what its files do not say. */
export async function capture(host: Host, observed: Observation, act: CaptureAct): Promise<ComposePin> {
  const view = withoutJobs(host, await look(host, act.signal))
  const files = composeFiles(
    host,
    view.files.map(f => f.path),
  )
  const hashes = await hashed(host, view, files, act)
  if (act.purpose === 'release') refuseUnsettled(host, view, files)
  return {
    identity: observed.identity,
    hashes,
    files: await Promise.all(
      view.files.map(async ({ path, content, mode, owner }) => ({
        path,
        variables: host.config.also.includes(path),
        mac: host.vault.mac(content),
        sealed: await act.vault.seal(content, `${host.component}: ${path}`),
        mode,
        owner,
      })),
    ),
    services: await Promise.all(
      [...byService(view.containers)].flatMap(([name, list]) => {
        const up = list.filter(runs)
        return up.length === 0 ? [] : [pinned(host, name, up, act)]
      }),
    ),
  }
}

async function hashed(host: Host, view: View, files: readonly string[], act: CaptureAct): Promise<boolean> {
  if (files.length === 0) return false
  try {
    return (await staleOf(host, files, view.containers.filter(runs), act.signal)).length === 0
  } catch (error) {
    act.signal.throwIfAborted()
    if (act.purpose === 'departure') return false
    throw unsettled(host, messageOf(error))
  }
}

function refuseUnsettled(host: Host, { containers, now }: View, files: readonly string[]): void {
  const wrong = [...byService(containers)].flatMap(([name, list]) => {
    const up = list.filter(runs)
    // Neither runs, and neither has ended: left out of the pin, it would be taken for a service that the release did not have.
    const between = list.find(c => c.state.Status === 'restarting' || c.state.Status === 'paused')
    if (between?.state.Status === 'restarting')
      return [`${name} dies again and again (exit code ${between.state.ExitCode})`]
    if (between !== undefined) return [`${name} is paused`]
    if (up.some(c => c.state.Health != null && c.state.Health.Status !== 'healthy')) return [`${name} is not healthy`]
    const dying = up.find(c => diesAgain(c, now, host.config.limits.up))
    if (dying !== undefined) return [startedAnew(dying)]
    const images = new Set(up.map(c => c.image))
    return images.size > 1 ? [`containers of ${name} run ${images.size} different images`] : []
  })
  if (files.length === 0) wrong.push('there is no Compose file')
  if (!containers.some(runs)) wrong.push('no container runs')
  if (wrong.length > 0) throw unsettled(host, wrong.join('\n'))
}

function unsettled(host: Host, cause: string): BackoutError {
  return new BackoutError({
    code: 'project_unsettled',
    what: `${host.component} is in no state that could be gone back to`,
    cause,
    next: 'bring the project up and wait until its containers are healthy, then capture again',
    exit: 'blocked',
  })
}

async function pinned(host: Host, name: string, up: readonly Container[], act: CaptureAct): Promise<PinnedService> {
  const [first] = up
  const { image: id = '', ref = '' } = first ?? {}
  const local = await imageOf(host, id, act.signal)
  return { name, ref, id, digests: [...(local?.digests ?? [])], count: up.length }
}
