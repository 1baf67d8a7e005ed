import { join } from 'node:path'
import { systemClock } from '../../core/clock.ts'
import type { CaptureAct, Observation } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { link, solutionStatus } from './answers.ts'
import { strange } from './errors.ts'
import { type Application, type Applications, detail, type Pin, pin, type SolutionPackage } from './pin.ts'
import { described, notThere } from './running.ts'
import { several } from './several.ts'
import type { Site } from './site.ts'
import { download } from './transfer.ts'

const FILE = 'solution.osp'

/** A departure must be quick: no package and no hashes, for its versions are in LifeTime. */
export async function capture(site: Site, observed: Observation, act: CaptureAct): Promise<Pin> {
  const { identity, target } = await site.places(act.signal)
  const now = detail.parse(observed.detail).applications
  const missing = notThere(site, now)
  // What is gone by now can still be brought back; what is to be gone back to must be there.
  if (missing.length > 0 && act.purpose === 'release') throw noSuchApplication(missing, target.Name, now)
  const applications: Record<string, Application> = { ...now }
  if (act.purpose === 'release') {
    await several(Object.entries(now), async ([key, app]) => {
      applications[key] = await described(site, key, app, act.signal)
    })
  }
  const packed = site.config.package && act.purpose === 'release' && Object.keys(now).length > 0
  const solution = packed ? await keepPackage(site, Object.keys(now), act) : null
  return pin.parse({ identity, environment: { key: target.Key, name: target.Name }, applications, solution })
}

async function keepPackage(site: Site, keys: readonly string[], act: CaptureAct): Promise<SolutionPackage> {
  const { signal } = act
  const { target } = await site.places(signal)
  const key = await createSolution(site, target.Key, keys, act)
  await completed(site, target.Key, key, act)
  const path = `/environments/${target.Key}/solution/${key}`
  const url = await site.lifetime.one(link, path, undefined, signal)
  const draft = await act.backups.begin({ component: site.component, reason: 'capture', release: act.release })
  try {
    const file = join(draft.dir, FILE)
    await download(site.lifetime, url, file, (bytes, total) => act.progress(soFar('downloaded', bytes, total)), signal)
    const backup = await draft.seal({ kind: 'outsystems-solution', environment: target.Name, applications: [...keys] })
    const kept = backup.files.find(f => f.path === FILE)
    if (kept === undefined) throw new Error(`the backup ${backup.id} does not hold ${FILE}`)
    return { backup: backup.id, file: FILE, bytes: kept.bytes, sha256: kept.sha256 }
  } catch (error) {
    await draft.discard()
    throw error
  }
}

async function createSolution(site: Site, environment: string, keys: readonly string[], act: CaptureAct) {
  const body = {
    SolutionName: `Backout_${act.release.replaceAll(/[^A-Za-z0-9_]/g, '_')}`.slice(0, 50),
    ApplicationKeys: keys,
    IncludeReferences: site.config.includeReferences,
  }
  const call = { method: 'POST', path: `/environments/${environment}/solution`, body } as const
  try {
    const { body: said } = await site.lifetime.send(call, act.signal)
    const key = said.trim().replaceAll('"', '')
    if (/^[A-Za-z0-9-]{8,64}$/.test(key)) return key
    throw strange(call, `it is no key: ${said.slice(0, 100)}`)
  } catch (error) {
    if (act.signal.aborted || !(error instanceof BackoutError) || error.code !== 'lifetime_gone') throw error
    throw noPackage(site, messageOf(error))
  }
}

/** Waits until the package is put together. */
async function completed(site: Site, environment: string, key: string, act: CaptureAct): Promise<void> {
  const { package: within, poll } = site.config.limits
  const until = performance.now() + within
  for (;;) {
    const path = `/environments/${environment}/solutionstatus/${key}`
    const { Status, StatusReason } = await site.lifetime.one(solutionStatus, path, undefined, act.signal)
    if (Status === 'Completed') return
    if (Status === 'Aborted') throw noPackage(site, StatusReason || 'LifeTime aborted it and gives no reason')
    if (performance.now() > until) throw noPackage(site, `it is still at "${Status}" after ${within} ms`)
    act.progress({ text: `solution package: ${Status}` })
    await systemClock.sleep(poll, act.signal)
  }
}

function noPackage(site: Site, cause: string): BackoutError {
  return new BackoutError({
    code: 'no_package',
    what: `LifeTime did not put together the solution package of ${site.config.environment}`,
    cause,
    next: 'correct it there (packages need LifeTime 11.22), or set `package: false` and go without the last way back',
    exit: 'failed',
  })
}

export function soFar(did: string, bytes: number, total: number | null) {
  const mib = (n: number) => `${(n / 1024 / 1024).toFixed(1)} MiB`
  const of = total === null ? '' : ` of ${mib(total)}`
  return { text: `${did} ${mib(bytes)}${of}`, done: bytes, ...(total === null ? {} : { total }) }
}

function noSuchApplication(missing: readonly string[], environment: string, now: Applications): BackoutError {
  const names = Object.values(now).map(a => a.name)
  return new BackoutError({
    code: 'no_such_application',
    what: `${missing.join(', ')} cannot be found in ${environment}`,
    cause: `of those that the settings name, the service account sees ${names.toSorted().join(', ') || 'none'}`,
    next: 'correct `applications`, or let the service account see them',
    exit: 'usage',
  })
}
