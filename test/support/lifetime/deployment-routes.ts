import { z } from 'zod'
import { Deployment, type Operation } from './deployments.ts'
import { type Answer, exception, fits, type Request } from './http.ts'
import { conflictsOf, type EnvironmentModel, outdatedBy, type VersionModel } from './model.ts'
import { gone } from './read-routes.ts'
import type { LifeTime } from './server.ts'

const body = z.object({
  Notes: z.string(),
  SourceEnvironmentKey: z.string(),
  TargetEnvironmentKey: z.string(),
  ApplicationOperations: z.array(z.object({ ApplicationVersionKey: z.string(), DeploymentZoneKey: z.string() })),
})

const NEVER = '1900-01-01T00:00:00'

/** Deployments: listed, created, checked, started, continued, aborted, deleted; and the maintenance mode. */
export function deploymentRoutes(lifetime: LifeTime, request: Request): Answer | null {
  const { method, path } = request
  if (fits('/deployments/', path)) return method === 'POST' ? create(lifetime, request) : list(lifetime, request)
  let at = fits('/deployments/:/status/', path)
  if (at !== null && method === 'GET') {
    return known(lifetime, at[0], d => ({ status: 200, json: statusJson(d) }))
  }
  at = fits('/deployments/:/', path)
  if (at !== null && method === 'GET') return known(lifetime, at[0], details)
  if (at !== null && method === 'DELETE') return known(lifetime, at[0], d => remove(lifetime, d))
  at = fits('/deployments/:/:/', path)
  if (at !== null && method === 'POST') return known(lifetime, at[0], d => command(lifetime, d, at?.[1] ?? ''))
  at = fits('/environments/:/maintenancemode', path)
  return at !== null && method === 'PUT' ? maintenance(lifetime, request, at[0] ?? '') : null
}

function known(lifetime: LifeTime, key: string | undefined, does: (d: Deployment) => Answer): Answer {
  const found = lifetime.deployments.find(d => d.key === key)
  return found === undefined ? exception(404, `Deployment with key ${key} not found.`) : does(found)
}

function list(lifetime: LifeTime, { query }: Request): Answer {
  const from = Date.parse(query.get('MinDate') ?? new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 10))
  if (Number.isNaN(from)) return exception(400, 'Invalid request for list of deployments.')
  const target = query.get('TargetEnvironmentKey') ?? ''
  const found = lifetime.deployments
    .filter(d => d.createdOn.getTime() >= from && (target === '' || d.target.key === target))
    .toSorted((a, b) => b.createdOn.getTime() - a.createdOn.getTime())
  return found.length === 0 ? { status: 204, text: '' } : { status: 200, json: found.map(deploymentJson) }
}

function create(lifetime: LifeTime, request: Request): Answer {
  if (!jsonType(request)) return exception(400, 'The body must be JSON.')
  const asked = body.safeParse(parsed(request.body))
  if (!asked.success) return exception(400, `Invalid request: ${z.prettifyError(asked.error)}`)
  const { environments, applications } = lifetime.infra
  const { Notes: notes, SourceEnvironmentKey, TargetEnvironmentKey, ApplicationOperations } = asked.data
  const target = environments.find(e => e.key === TargetEnvironmentKey)
  const source = environments.find(e => e.key === SourceEnvironmentKey)
  if (target === undefined || source === undefined) return exception(404, 'Source or target environment not found.')
  if (source === target) return exception(400, 'The source and the target environment must be different.')
  const operations: Operation[] = []
  for (const { ApplicationVersionKey: key, DeploymentZoneKey: zone } of ApplicationOperations) {
    const version = applications.flatMap(a => a.versions).find(v => v.key === key)
    if (version === undefined) return exception(400, `Application version ${key} does not exist.`)
    if (version.application.blocked.has(target.key)) return exception(400, `${version.application.name} is blocked.`)
    if (zone !== '' && !target.zones.some(z => z.key === zone)) return exception(400, `No deployment zone ${zone}.`)
    operations.push({ version, zone })
  }
  const made = new Deployment({ source: source.key, target, notes, operations, binary: false })
  lifetime.deployments.unshift(made)
  return { status: lifetime.manner.created, text: made.key }
}

function details(d: Deployment): Answer {
  if (d.status !== 'saved') {
    const why = "Invalid status change: trying to change Staging from 'Finished' to 'Calculating apps to redeploy'."
    return exception(500, `There was an error calculating outdated apps for deployment with key '${d.key}': ${why}`)
  }
  const versions = d.operations.map(o => o.version)
  // A binary is not analysed.
  const conflicts = d.binary ? [] : conflictsOf(d.target, versions)
  const redeploy = d.binary ? [] : outdatedBy(d.target, versions)
  return {
    status: 200,
    json: {
      Deployment: deploymentJson(d),
      ApplicationsToDeploy: d.binary ? versions.map(v => inBinary(d.target, v)) : [],
      ApplicationsToRedeploy: redeploy.map(a => a.key),
      ApplicationConflicts: conflicts.map(c => ({
        Message: c.message,
        ProducerApplicationOperation: c.producer === null ? {} : operationJson({ version: c.producer, zone: '' }),
        ConsumerApplicationOperation: operationJson({ version: c.consumer, zone: '' }),
        ModuleConflict: {
          ProducerModuleKey: c.producer?.modules[0]?.module ?? '',
          ConsumerModuleKey: c.consumer.modules[0]?.module ?? '',
          TotalRequiredElements: 1,
          ConflictType: c.producer === null ? 'Producer Module Missing' : 'Producer Element Missing',
        },
      })),
      ModulesToDelete: versions.flatMap(v => deleted(d.target, v)),
    },
  }
}

/** Modules that run there and are not in the version that comes. */
function deleted(target: EnvironmentModel, version: VersionModel): object[] {
  const now = target.running.get(version.application.key)?.modules ?? []
  const kept = new Set(version.modules.map(m => m.module))
  return now.filter(m => !kept.has(m.module)).map(m => ({ Key: m.module, Name: m.name, Description: '' }))
}

function remove(lifetime: LifeTime, d: Deployment): Answer {
  if (d.status !== 'saved') return exception(400, `Deployment with key ${d.key} cannot be deleted`)
  lifetime.deployments.splice(lifetime.deployments.indexOf(d), 1)
  return { status: 204, text: '' }
}

function command(lifetime: LifeTime, d: Deployment, name: string): Answer {
  if (!['start', 'continue', 'abort'].includes(name)) return exception(404, `Command ${name} not found.`)
  const refused = (why: string) => exception(400, `Command ${name} can't be executed for deployment ${d.key}. ${why}`)
  if (name !== 'abort' && d.target.maintenance) return refused(`${d.target.name} is in maintenance mode.`)
  if (name !== 'abort' && d.target.offline) return refused(`${d.target.name} is offline.`)
  if (name === 'abort') {
    if (!d.abortable) return refused('It is being deployed, or has ended.')
    d.abort()
  } else if (name === 'continue') {
    if (d.status !== 'needs_user_intervention') return refused('It does not wait for anybody.')
    d.resume()
  } else {
    if (d.status !== 'saved') return refused('It was started already.')
    if (d.operations.length === 0) return refused('It has no applications.')
    const conflicts = d.binary
      ? []
      : conflictsOf(
          d.target,
          d.operations.map(o => o.version),
        )
    if (conflicts.length > 0) return refused(conflicts.map(c => c.message).join(' '))
    const other = lifetime.deployments.find(o => o !== d && o.target === d.target && o.alive)
    if (other !== undefined && !lifetime.manner.parallel) {
      return exception(409, `Deployment ${other.key} is running in ${d.target.name}.`)
    }
    d.start(lifetime.courses.shift() ?? {})
  }
  d.commands.push(name)
  return { status: 202, text: '' }
}

const mode = z.object({ IsMaintenanceModeEnabled: z.boolean(), Reason: z.string().optional() })

function maintenance(lifetime: LifeTime, request: Request, key: string): Answer {
  const environment = lifetime.infra.environments.find(e => e.key === key)
  if (environment === undefined) return gone('environment', key)
  const asked = mode.safeParse(parsed(request.body))
  if (!asked.success) return exception(400, 'Failed to update the maintenance mode status due to a bad request.')
  environment.maintenance = asked.data.IsMaintenanceModeEnabled
  return { status: 200, text: '' }
}

function statusJson(d: Deployment): object {
  return { DeploymentStatus: d.status, Info: d.info, DeploymentLog: d.log }
}

function deploymentJson(d: Deployment): object {
  const time = (at: Date | null) => at?.toISOString() ?? NEVER
  const by = (what: string, at: Date | null) => ({
    [`${what}On`]: time(at),
    [`${what}By`]: at === null ? '' : 'LT API Account',
    [`${what}ByUsername`]: at === null ? '' : 'lt_api_account',
  })
  return {
    Key: d.key,
    SourceEnvironmentKey: d.source,
    TargetEnvironmentKey: d.target.key,
    Notes: d.notes,
    ...by('Created', d.createdOn),
    ...by('Saved', d.createdOn),
    ...by('Started', d.startedOn),
    ...by('Aborted', d.abortedOn),
    ApplicationOperations: d.binary ? [] : d.operations.map(operationJson),
  }
}

function operationJson({ version, zone }: Operation): object {
  const keys = { ApplicationKey: version.application.key, ApplicationVersionKey: version.key }
  return { ...keys, DeploymentOperation: `Deploy ${version.label}`, DeploymentZoneKey: zone }
}

function inBinary(target: EnvironmentModel, { application }: VersionModel): object {
  const IsNew = !target.running.has(application.key)
  return { ApplicationKey: application.key, ApplicationName: application.name, IsNew }
}

export function jsonType({ headers }: Request): boolean {
  return headers['content-type']?.startsWith('application/json') === true
}

export function parsed(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch {
    return undefined
  }
}
