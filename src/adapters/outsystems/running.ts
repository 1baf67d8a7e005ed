import { BackoutError } from '../../core/errors.ts'
import { byText } from '../../core/order.ts'
import {
  type ApplicationAnswer,
  type ApplicationVersion,
  application,
  applicationVersion,
  moduleAnswer,
  moduleVersionAnswer,
} from './answers.ts'
import type { Application, Applications, ModuleVersion } from './pin.ts'
import type { Site } from './site.ts'

/** The applications that are cared for, with the versions of their modules, as the environment runs them. */
export async function running(site: Site, signal: AbortSignal): Promise<Applications> {
  const { target } = await site.places(signal)
  const query = { IncludeModules: 'true', IncludeEnvStatus: 'true' }
  const all = await site.lifetime.list(application, `/environments/${target.Key}/applications/`, query, signal)
  const modules = await modulesIn(site, target.Key, signal)
  const cared = caredFor(site, all)
  return Object.fromEntries(cared.map(answer => [answer.Key, asRunning(answer, target.Key, modules)]))
}

function caredFor(site: Site, all: readonly ApplicationAnswer[]): ApplicationAnswer[] {
  const { applications } = site.config
  return all.filter(a => (applications === undefined ? !a.IsSystem : applications.includes(a.Name)))
}

/** Those that the settings name and that are not there: gone, or never written right. */
export function notThere(site: Site, now: Applications): string[] {
  const there = new Set(Object.values(now).map(a => a.name))
  return (site.config.applications ?? []).filter(name => !there.has(name))
}

type Modules = ReadonlyMap<string, { readonly key: string; readonly name: string }>

/** Modules by the version that this environment runs: an application's status names versions only. */
async function modulesIn(site: Site, environment: string, signal: AbortSignal): Promise<Modules> {
  const all = await site.lifetime.list(moduleAnswer, '/modules/', { IncludeEnvStatus: 'true' }, signal)
  return new Map(
    all.flatMap(({ key, name, in: statuses }) =>
      statuses.filter(s => s.EnvironmentKey === environment).map(s => [s.ModuleVersionKey, { key, name }] as const),
    ),
  )
}

function asRunning(answer: ApplicationAnswer, environment: string, modules: Modules): Application {
  const at = answer.AppStatusInEnvs.find(s => s.EnvironmentKey === environment)
  if (at === undefined) {
    throw new BackoutError({
      code: 'lifetime_answer',
      what: `LifeTime does not say which version of ${answer.Name} runs in the environment`,
      next: 'synchronize the environment in LifeTime, then try again',
      exit: 'failed',
    })
  }
  const own = at.ModuleStatusInEnvs.map(({ ModuleVersionKey: version }): [string, ModuleVersion] => {
    // Where the list of modules does not know it, the version is told apart from others by its own key.
    const { key, name } = modules.get(version) ?? { key: version, name: version }
    return [key, { name, version, hash: null }]
  })
  return {
    name: answer.Name,
    kind: answer.Kind,
    version: at.BaseApplicationVersionKey,
    label: at.BaseApplicationVersionLabel ?? null,
    modified: at.IsModified,
    zone: at.DeploymentZoneKey,
    modules: Object.fromEntries(own.toSorted(([a], [b]) => byText(a, b))),
  }
}

/** A tagged version with its modules; null where it was deleted. */
export function versionOf(site: Site, app: string, version: string, signal: AbortSignal) {
  const path = `/applications/${app}/versions/${version}/`
  return site.lifetime.perhaps(applicationVersion, path, { IncludeModules: 'true' }, signal, [404])
}

/** What a module version does, as a hash; null where LifeTime no longer knows it. */
export async function hashOfModule(site: Site, module: string, version: string, signal: AbortSignal) {
  const path = `/modules/${module}/versions/${version}/`
  const found = await site.lifetime.perhaps(moduleVersionAnswer, path, undefined, signal, [404])
  return found?.GeneralHash ?? null
}

/** With the label and the hashes that an environment does not tell of itself, so that it can be compared later. */
export async function described(site: Site, key: string, app: Application, signal: AbortSignal): Promise<Application> {
  const version = await versionOf(site, key, app.version, signal)
  const modules: Record<string, ModuleVersion> = {}
  for (const [module, at] of Object.entries(app.modules)) {
    const tagged = taggedHash(version, at.version)
    modules[module] = { ...at, hash: tagged ?? (await hashOfModule(site, module, at.version, signal)) }
  }
  return { ...app, label: app.label ?? version?.Version ?? null, modules }
}

function taggedHash(version: ApplicationVersion | null, key: string): string | null {
  return version?.ModuleVersions.find(m => m.Key === key)?.GeneralHash ?? null
}

/** For people: "Shop 1.3+". */
export function shown({ name, label, version, modified }: Application): string {
  return `${name} ${label ?? version.slice(0, 8)}${modified ? '+' : ''}`
}
