import { randomBytes, randomUUID } from 'node:crypto'
import { z } from 'zod'
import { Deployment } from './deployments.ts'
import { jsonType, parsed } from './deployment-routes.ts'
import { type Answer, exception, fits, type Request } from './http.ts'
import type { VersionModel } from './model.ts'
import { gone } from './read-routes.ts'
import type { LifeTime, Solution } from './server.ts'

const body = z.object({
  SolutionName: z.string().optional(),
  ApplicationKeys: z.array(z.string()).min(1),
  IncludeReferences: z.union([z.boolean(), z.string()]).optional(),
})

/** A package of this server: a line of JSON with the versions in it, then padding. */
const content = z.object({ osp: z.literal(1), versions: z.array(z.string()) })

/** Solutions: put together, asked for, downloaded; and binaries deployed. */
export function solutionRoutes(lifetime: LifeTime, request: Request): Answer | null {
  const { method, path } = request
  let at = fits('/environments/:/solution', path)
  if (at !== null && method === 'POST') return create(lifetime, request, at[0] ?? '')
  at = fits('/environments/:/solutionstatus/:', path)
  if (at !== null && method === 'GET') return solution(lifetime, at, s => statusOf(lifetime, s))
  at = fits('/environments/:/solution/:', path)
  if (at !== null && method === 'GET') return solution(lifetime, at, s => link(lifetime, s))
  at = fits('/downloads/:', path)
  if (at !== null && method === 'GET') {
    const bytes = lifetime.downloads.get(at[0] ?? '')
    return bytes === undefined ? exception(404, 'The download link has expired.') : { status: 200, bytes }
  }
  at = fits('/environments/:/deployment/', path)
  return at !== null && method === 'POST' ? deploy(lifetime, request, at[0] ?? '') : null
}

function create(lifetime: LifeTime, request: Request, key: string): Answer {
  const environment = lifetime.infra.environments.find(e => e.key === key)
  if (environment === undefined) return gone('environment', key)
  const asked = jsonType(request) ? body.safeParse(parsed(request.body)) : null
  if (asked === null || !asked.success) return exception(400, 'Invalid request due to invalid input parameters.')
  const versions: string[] = []
  for (const application of asked.data.ApplicationKeys) {
    const running = environment.running.get(application)
    if (running === undefined) return exception(400, `Application ${application} is not in ${environment.name}.`)
    versions.push(running.base.key)
  }
  const head = Buffer.from(`${JSON.stringify({ osp: 1, versions })}\n`)
  const whole = Buffer.concat([head, randomBytes(lifetime.manner.padding)])
  const made: Solution = {
    key: randomUUID(),
    environment,
    package: whole,
    steps: [...lifetime.solutionSteps],
    reason: '',
  }
  lifetime.solutions.set(made.key, made)
  return { status: 200, text: made.key }
}

function solution(lifetime: LifeTime, at: string[], does: (s: Solution) => Answer): Answer {
  const found = lifetime.solutions.get(at[1] ?? '')
  return found === undefined || found.environment.key !== at[0] ? gone('solution', at[1]) : does(found)
}

function statusOf(lifetime: LifeTime, solution: Solution): Answer {
  const [Status = 'Completed'] = solution.steps
  if (solution.steps.length > 1) solution.steps.shift()
  const json = { Status, StatusReason: Status === 'Aborted' ? 'A module could not be read.' : '' }
  return { status: 200, json: lifetime.manner.listed ? [json] : json }
}

function link(lifetime: LifeTime, solution: Solution): Answer {
  if (solution.steps[0] !== 'Completed') return exception(400, 'The solution is not completed.')
  const url = lifetime.linkFor(solution.package)
  const at = new Date(Date.now() + 3_600_000).toISOString()
  const json = lifetime.manner.link === 'url' ? { url, expires: at } : { Url: url, ExpiresAt: at }
  return { status: 200, json: lifetime.manner.listed ? [json] : json }
}

function deploy(lifetime: LifeTime, request: Request, key: string): Answer {
  const target = lifetime.infra.environments.find(e => e.key === key)
  if (target === undefined) return exception(404, 'Target environment not found.')
  if (request.headers['content-type'] !== 'application/octet-stream') return exception(400, 'Invalid request.')
  if (!target.binaries) return exception(403, `Deploying binaries to ${target.name} is not allowed.`)
  const read = content.safeParse(parsed(request.body.subarray(0, request.body.indexOf('\n'))))
  if (!read.success) return exception(400, 'Invalid request: the file is no OutSystems package.')
  const known = lifetime.infra.applications.flatMap(a => a.versions)
  const versions = read.data.versions.flatMap((k): VersionModel[] => known.filter(v => v.key === k))
  const operations = versions.map(version => ({ version, zone: '' }))
  const made = new Deployment({ source: '', target, notes: '', operations, binary: true })
  lifetime.deployments.unshift(made)
  if (lifetime.manner.binaryKey === 'text') return { status: 201, text: made.key }
  return { status: 201, json: { DeploymentKey: made.key } }
}
