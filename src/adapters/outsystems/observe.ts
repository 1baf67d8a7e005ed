import type { Observation } from '../../core/contract.ts'
import { hashOf } from '../../core/json.ts'
import type { DeploymentAnswer, StatusAnswer } from './answers.ts'
import { isHeld } from './maintenance.ts'
import type { Applications, Detail, Flight } from './pin.ts'
import { running, shown } from './running.ts'
import type { Site } from './site.ts'

const NAMED = 4

export async function observe(site: Site, signal: AbortSignal): Promise<Observation> {
  const { identity, target, deployments } = await site.places(signal)
  const applications = await running(site, signal)
  const flights = (await deployments.alive(signal)).map(flightOf)
  const held = await isHeld(site)
  const detail: Detail = { applications, flights, held }
  return {
    identity,
    state: Object.fromEntries(
      Object.entries(applications).map(([key, { name, version, modified, zone, modules }]) => {
        const versions = Object.fromEntries(Object.entries(modules).map(([k, m]) => [k, m.version]))
        return [key, { name, version, modified, zone, modules: hashOf(versions).slice(0, 16) }]
      }),
    ),
    detail,
    summary: `${target.Name}: ${summaryOf(applications)}${held ? ' (in maintenance mode, by Backout)' : ''}`,
    inFlight: flights.map(({ what, since }) => ({ what, since })),
  }
}

function flightOf({ deployment, status }: { deployment: DeploymentAnswer; status: StatusAnswer }): Flight {
  const { Key: key, Notes, StartedOn, StartedByUsername, ApplicationOperations } = deployment
  const by = StartedByUsername === '' ? '' : ` of ${StartedByUsername}`
  const notes = Notes.trim() === '' ? '' : ` "${Notes.trim().slice(0, 60)}"`
  const operations = ApplicationOperations.map(o => o.ApplicationKey)
  return {
    key,
    what: `the deployment ${key}${by}${notes}`,
    status: status.DeploymentStatus,
    since: StartedOn === '' ? null : StartedOn,
    applications: operations.length === 0 ? null : operations,
  }
}

function summaryOf(applications: Applications): string {
  const all = Object.values(applications).map(shown).toSorted()
  if (all.length === 0) return 'no applications'
  const more = all.length - NAMED
  return all.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '')
}
