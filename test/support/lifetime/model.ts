import { createHash } from 'node:crypto'

/** What a LifeTime looks after, as far as the published API shows it. Keys are made from names, so that tests can say them. */
export interface Infrastructure {
  readonly environments: EnvironmentModel[]
  readonly applications: ApplicationModel[]
}

export interface EnvironmentModel {
  readonly key: string
  readonly name: string
  readonly order: number
  readonly running: Map<string, RunningModel>
  readonly zones: { key: string; name: string }[]
  /** Tables and columns of its database. The platform adds to them and never takes away. */
  readonly columns: Set<string>
  maintenance: boolean
  offline: boolean
  /** The setting that allows binaries to be deployed. */
  binaries: boolean
}

/** An application as it runs in one environment. */
export interface RunningModel {
  base: VersionModel
  /** Changed since it was tagged: its modules are these, not those of the version. */
  modified: boolean
  modules: ModuleVersionModel[]
  zone: string
}

export interface ApplicationModel {
  readonly key: string
  readonly name: string
  readonly kind: 'WebResponsive' | 'Mobile'
  readonly system: boolean
  readonly versions: VersionModel[]
  /** Environments it may not be deployed to. */
  readonly blocked: Set<string>
}

export interface VersionModel {
  readonly key: string
  readonly application: ApplicationModel
  readonly label: string
  readonly modules: ModuleVersionModel[]
  readonly columns: readonly string[]
  /** Which versions of other applications it can live with, by name; any, where it names none. */
  readonly needs: Readonly<Record<string, readonly string[]>>
}

export interface ModuleVersionModel {
  readonly key: string
  readonly module: string
  readonly name: string
  readonly hash: string
}

/** A key as LifeTime writes them, the same for the same name. */
export function keyOf(name: string): string {
  const hex = createHash('sha256').update(name).digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-')
}

export interface VersionSpec {
  readonly application: string
  readonly label: string
  readonly modules?: readonly string[]
  readonly columns?: readonly string[]
  readonly needs?: Readonly<Record<string, readonly string[]>>
  readonly kind?: ApplicationModel['kind']
  readonly system?: boolean
}

/** Adds a tagged version, and the application with its first one. */
export function tag(infra: Infrastructure, spec: VersionSpec): VersionModel {
  let application = infra.applications.find(a => a.name === spec.application)
  if (application === undefined) {
    const { kind = 'WebResponsive', system = false } = spec
    const key = keyOf(`application ${spec.application}`)
    application = { key, name: spec.application, kind, system, versions: [], blocked: new Set() }
    infra.applications.push(application)
  }
  const names = spec.modules ?? [spec.application, `${spec.application}_CS`]
  const version: VersionModel = {
    key: keyOf(`${spec.application} ${spec.label}`),
    application,
    label: spec.label,
    modules: names.map(name => moduleVersion(name, spec.label)),
    columns: spec.columns ?? [],
    needs: spec.needs ?? {},
  }
  application.versions.unshift(version)
  return version
}

export function moduleVersion(name: string, label: string, salt = ''): ModuleVersionModel {
  return {
    key: keyOf(`module version ${name} ${label}${salt}`),
    module: keyOf(`module ${name}`),
    name,
    hash: createHash('md5').update(`${name} ${label}`).digest('base64').slice(0, 22),
  }
}

/** Puts a version there at once, as a finished deployment leaves it. */
export function install(environment: EnvironmentModel, version: VersionModel, zone = ''): void {
  const { modules } = version
  const before = environment.running.get(version.application.key)
  const at = zone === '' ? (before?.zone ?? '') : zone
  environment.running.set(version.application.key, { base: version, modified: false, modules, zone: at })
  for (const column of version.columns) environment.columns.add(column)
}

export interface Conflict {
  readonly message: string
  readonly consumer: VersionModel
  readonly producer: VersionModel | null
}

/** What would not fit once these versions are there. */
export function conflictsOf(environment: EnvironmentModel, versions: readonly VersionModel[]): Conflict[] {
  const after = afterwards(environment, versions)
  return [...after.values()].flatMap(consumer =>
    Object.entries(consumer.needs).flatMap(([name, labels]): Conflict[] => {
      const producer = [...after.values()].find(v => v.application.name === name) ?? null
      if (producer !== null && labels.includes(producer.label)) return []
      const has = producer === null ? 'is missing' : `has the version ${producer.label}`
      const message = `${consumer.application.name} ${consumer.label} needs ${name} ${labels.join(' or ')}, which ${has}.`
      return [{ message, consumer, producer }]
    }),
  )
}

/** Consumers outside of the plan that would be outdated. */
export function outdatedBy(environment: EnvironmentModel, versions: readonly VersionModel[]): ApplicationModel[] {
  const planned = new Set(versions.map(v => v.application.name))
  return [...environment.running.values()]
    .map(r => r.base)
    .filter(v => !planned.has(v.application.name) && Object.keys(v.needs).some(name => planned.has(name)))
    .map(v => v.application)
}

function afterwards(environment: EnvironmentModel, versions: readonly VersionModel[]): Map<string, VersionModel> {
  const now = [...environment.running.values()].map(r => r.base)
  return new Map([...now, ...versions].map(v => [v.application.key, v]))
}
