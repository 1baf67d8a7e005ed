import type { Finding, Readiness } from '../../core/contract.ts'
import { reveal } from '../../core/secret.ts'
import { parsed } from '../../exec/pointer.ts'
import { findingOf } from './ahead.ts'
import { HELD_NEXT, isHeld } from './maintenance.ts'
import { notThere, running } from './running.ts'
import type { Site } from './site.ts'

const DAY_MS = 86_400_000
const SOON_DAYS = 14

/** What going back needs, as far as it can be asked without changing anything. */
export async function ready(site: Site, signal: AbortSignal): Promise<Readiness> {
  const { target, source, deployments } = await site.places(signal)
  const finding = findingOf(site.component)
  const findings: Finding[] = []
  const now = await running(site, signal)
  const applications = Object.values(now)
  const missing = notThere(site, now)
  if (missing.length > 0) {
    const what = `${missing.join(', ')} cannot be found in ${target.Name}`
    findings.push(finding('blocker', 'no_such_application', what, 'correct `applications`, or bring them back'))
  }
  await deployments.list(signal)
  const well = [`LifeTime shows ${applications.length} applications in ${target.Name}, and its deployments`]
  if (source === null) {
    const what = `There is no environment to deploy to ${target.Name} from: only the solution package takes it back`
    findings.push(finding('warning', 'no_source', what, 'name another environment in `source`'))
  } else {
    well.push(`earlier versions are deployed from ${source.Name}`)
  }
  const modified = applications.filter(a => a.modified).map(a => a.name)
  if (modified.length > 0) {
    const what = `${modified.join(', ')} were changed in ${target.Name} since they were tagged: only the solution package brings that back`
    findings.push(finding('warning', 'not_tagged', what, 'tag them there before each release'))
  }
  const left = daysLeft(reveal(site.config.token), Date.now())
  if (left !== null && left < SOON_DAYS) {
    const what = `The token of the service account expires in ${left} days`
    findings.push(finding('warning', 'token_expires', what, 'renew it in LifeTime before a rollback needs it'))
  }
  if (!site.config.package) {
    const what = 'No solution package is kept with captures: there is no last way back'
    findings.push(finding('note', 'no_package', what, 'set `package: true`'))
  }
  if (await isHeld(site)) {
    const what = `${target.Name} is in maintenance mode, by a run of Backout that goes on or ended early`
    findings.push(finding('warning', 'maintenance_held', what, HELD_NEXT))
  }
  return { well, findings }
}

/** A token of LifeTime is a JSON web token. Null: it does not say until when it holds. */
export function daysLeft(token: string, now: number): number | null {
  const body = parsed(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
  const expires = (body as { exp?: unknown } | null | undefined)?.exp
  return typeof expires === 'number' ? Math.max(0, Math.floor((expires * 1000 - now) / DAY_MS)) : null
}
