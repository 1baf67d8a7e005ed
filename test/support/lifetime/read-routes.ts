import { type Answer, exception, fits, type Request } from './http.ts'
import type { ApplicationModel, EnvironmentModel, RunningModel, VersionModel } from './model.ts'
import type { LifeTime } from './server.ts'

/** What is only read: environments, applications, versions, modules, zones. */
export function readRoutes(lifetime: LifeTime, request: Request): Answer | null {
  const { method, path, query } = request
  if (method !== 'GET') return null
  const flag = (name: string) => query.get(name)?.toLowerCase() === 'true'
  const { environments, applications } = lifetime.infra
  if (fits('/environments/', path)) return listOf(environments.map(environmentJson))
  const environment = (key: string) => environments.find(e => e.key === key)
  let at = fits('/environments/:/', path)
  if (at !== null) return one(environment(at[0] ?? ''), environmentJson, 'environment', at[0])
  at = fits('/environments/:/applications/', path)
  if (at !== null) {
    const found = environment(at[0] ?? '')
    if (found === undefined) return gone('environment', at[0])
    if (flag('IncludeModules') && !flag('IncludeEnvStatus')) return modulesWithoutStatus()
    const status = flag('IncludeEnvStatus')
    return listOf(
      [...found.running.values()].map(running => ({
        ...applicationJson(running.base.application),
        AppStatusInEnvs: status ? [statusJson(found, running, flag('IncludeModules'))] : [],
      })),
    )
  }
  at = fits('/environments/:/deploymentzones/', path)
  if (at !== null) {
    const found = environment(at[0] ?? '')
    if (found === undefined) return gone('environment', at[0])
    if (!lifetime.manner.zones) return exception(403, 'Feature not Licensed')
    const zones = found.zones.map(({ key, name }, i) => ({ Key: key, Name: name, IsDefault: i === 0 }))
    return { status: 200, json: zones }
  }
  return versionRoutes(applications, path, query) ?? moduleRoutes(lifetime, path, query)
}

function versionRoutes(applications: ApplicationModel[], path: string, query: URLSearchParams): Answer | null {
  const application = (key: string | undefined) => applications.find(a => a.key === key)
  let at = fits('/applications/:/versions/:/', path)
  if (at !== null) {
    const found = application(at[0])?.versions.find(v => v.key === at?.[1])
    if (found === undefined) return gone('application', at[0])
    const modules = query.get('IncludeModules')
    if (modules === null) return exception(400, 'IncludeModules is required.')
    return { status: 200, json: versionJson(found, modules.toLowerCase() === 'true') }
  }
  at = fits('/applications/:/configurations/', path)
  if (at === null) return null
  const found = application(at[0])
  if (found === undefined) return gone('application', at[0])
  const configurations = [...found.blocked].map(environmentKey => ({ environmentKey, isBlocked: true }))
  return { status: 200, json: { configurations } }
}

function moduleRoutes(lifetime: LifeTime, path: string, query: URLSearchParams): Answer | null {
  const { applications, environments } = lifetime.infra
  if (fits('/modules/', path)) {
    const names = new Map(applications.flatMap(a => a.versions.flatMap(v => v.modules)).map(m => [m.module, m.name]))
    const withStatus = query.get('IncludeEnvStatus') === 'true'
    return listOf(
      [...names].map(([Key, Name]) => ({
        Key,
        Name,
        Description: '',
        Kind: 'eSpace',
        ModuleStatusInEnv: withStatus ? environments.flatMap(e => moduleStatuses(e, Key)) : [],
      })),
    )
  }
  const at = fits('/modules/:/versions/:/', path)
  if (at === null) return null
  const running = environments.flatMap(e => [...e.running.values()].flatMap(r => r.modules))
  const all = [...applications.flatMap(a => a.versions.flatMap(v => v.modules)), ...running]
  const found = all.find(m => m.module === at[0] && m.key === at[1])
  return found === undefined ? gone('module', at[0]) : { status: 200, json: moduleVersionJson(found) }
}

function moduleStatuses(environment: EnvironmentModel, module: string): object[] {
  return [...environment.running.values()].flatMap(running =>
    running.modules
      .filter(m => m.module === module)
      .map(m => moduleStatus(environment, running.base.application, m.key)),
  )
}

function moduleStatus(environment: EnvironmentModel, application: ApplicationModel, version: string): object {
  return {
    ApplicationKey: application.key,
    EnvironmentKey: environment.key,
    ModuleVersionKey: version,
    ConsistencyStatus: '',
    ConsistencyStatusMessages: '',
  }
}

function environmentJson({ key, name, order, offline }: EnvironmentModel): object {
  return {
    Key: key,
    Name: name,
    OSVersion: '11.32.0.45067',
    Order: order,
    HostName: `${name.toLowerCase()}.example`,
    UseHTTPS: true,
    EnvironmentType: name === 'Production' ? 'Production' : 'Development',
    NumberOfFrontEnds: 1,
    ApplicationServerType: '.NET',
    ApplicationServer: 'IIS',
    DatabaseProvider: 'SQLServer',
    IsCloudEnvironment: false,
    IsOffline: offline,
  }
}

function applicationJson({ key, name, kind, system }: ApplicationModel): object {
  const icon = { IconHash: `IconHash${key}`, IconURL: `/LifeTimeSDK/ApplicationIcon.aspx?ApplicationKey=${key}` }
  const about = { Key: key, Name: name, Kind: kind, Team: '', Description: '', URLPath: `/${name}` }
  return { ...about, ...icon, IsSystem: system, AppStatusInEnvs: [] }
}

function statusJson(environment: EnvironmentModel, running: RunningModel, withModules: boolean): object {
  const { base, modified, modules, zone } = running
  const why = modified ? `At least one module was modified since the version ${base.label}` : ''
  return {
    EnvironmentKey: environment.key,
    BaseApplicationVersionKey: base.key,
    BaseApplicationVersionLabel: base.label,
    IsModified: modified,
    IsModifiedReason: modified ? 'Module_Modified' : '',
    IsModifiedMessage: why,
    ConsistencyStatus: '',
    ConsistencyStatusMessages: '',
    MobileAppsStatus: [],
    ModuleStatusInEnvs: withModules ? modules.map(m => moduleStatus(environment, base.application, m.key)) : [],
    DeploymentZoneKey: zone,
  }
}

function versionJson(version: VersionModel, withModules: boolean): object {
  const { key, application, label, modules } = version
  const about = { Key: key, ApplicationKey: application.key, Version: label, ChangeLog: '' }
  const mobile = { MobileVersions: [], PrimaryColor: '', NativeHash: '' }
  const ModuleVersions = withModules ? modules.map(moduleVersionJson) : []
  return { ...about, CreatedOn: '2026-01-01T10:00:00Z', InUse: true, ...mobile, ModuleVersions }
}

function moduleVersionJson({ key, module, hash }: VersionModel['modules'][number]): object {
  const by = { CreatedBy: 'Administrator', CreatedByUsername: 'admin' }
  const when = { CreatedOn: '2026-01-01T10:00:00Z' }
  return { Key: key, ModuleKey: module, ...when, ...by, GeneralHash: hash, DirectUpgradeFromHash: '' }
}

function modulesWithoutStatus(): Answer {
  return exception(400, 'Request asked for Modules but not for Status.')
}

function listOf(items: object[]): Answer {
  return items.length === 0 ? { status: 204, text: '' } : { status: 200, json: items }
}

function one<T>(found: T | undefined, json: (item: T) => object, what: string, key: string | undefined): Answer {
  return found === undefined ? gone(what, key) : { status: 200, json: json(found) }
}

export function gone(what: string, key: string | undefined): Answer {
  return exception(404, `Failed to retrieve the ${what} with key ${key}.`)
}
