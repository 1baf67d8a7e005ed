import { randomUUID } from 'node:crypto'
import { type Course, Deployment } from './deployments.ts'
import { deploymentRoutes } from './deployment-routes.ts'
import { type Answer, exception, type Fault, listen, type Request } from './http.ts'
import { type EnvironmentModel, type Infrastructure, install, keyOf, tag, type VersionSpec } from './model.ts'
import { readRoutes } from './read-routes.ts'
import { solutionRoutes } from './solution-routes.ts'

/** How this LifeTime differs from another one, where the published contract leaves it open. */
export interface Manner {
  /** Of a created deployment: the Swagger file says 200, OutSystems' own client expects 201. */
  created: 200 | 201
  /** Key of the link to a package: the Swagger file says `Url`, the examples say `url`. Also whether it comes in a list. */
  link: 'url' | 'Url'
  listed: boolean
  /** The key of a deployment made of a binary: as text in the examples, as JSON in the Swagger file. */
  binaryKey: 'text' | 'json'
  /** Several deployments into one environment at a time: from LifeTime 11.24 on. */
  parallel: boolean
  /** Deployment zones are a licensed feature: without it they are answered with 403. */
  zones: boolean
  /** From where packages are downloaded, where that is another machine. */
  downloads: string | null
  /** Bytes that a package is filled up with. */
  padding: number
}

/** A solution that is being put together. */
export interface Solution {
  readonly key: string
  readonly environment: EnvironmentModel
  readonly package: Buffer
  /** Left to be told, the last one for ever. */
  readonly steps: string[]
  reason: string
}

/** A LifeTime management console for tests: the published contract of its API v2, kept strictly. */
export class LifeTime implements AsyncDisposable {
  static readonly token = 'eyJhbGciOi.service-account.t0ken'
  readonly infra: Infrastructure = { environments: [], applications: [] }
  readonly deployments: Deployment[] = []
  readonly solutions = new Map<string, Solution>()
  readonly downloads = new Map<string, Buffer>()
  readonly manner: Manner = {
    created: 200,
    link: 'url',
    listed: false,
    binaryKey: 'text',
    parallel: true,
    zones: true,
    downloads: null,
    padding: 0,
  }
  /** How the deployments that are started next go, in turn; the ones after them go well. */
  readonly courses: Course[] = []
  /** What the next solutions come to. */
  solutionSteps: readonly string[] = ['Gathering Dependencies', 'Getting Binaries', 'Generating Solution', 'Completed']
  #server: Awaited<ReturnType<typeof listen>> | null = null

  get url(): string {
    return this.#listening.url
  }
  get faults(): Fault[] {
    return this.#listening.faults
  }
  get requests(): string[] {
    return this.#listening.requests
  }
  get #listening(): Awaited<ReturnType<typeof listen>> {
    if (this.#server === null) throw new Error('it is not open')
    return this.#server
  }

  static async open(): Promise<LifeTime> {
    const lifetime = new LifeTime()
    lifetime.#server = await listen(request => lifetime.#handle(request))
    return lifetime
  }

  environment(name: string): EnvironmentModel {
    const known = this.infra.environments.find(e => e.name === name)
    if (known !== undefined) return known
    const order = this.infra.environments.length
    const more = {
      running: new Map(),
      columns: new Set<string>(),
      zones: [],
      maintenance: false,
      offline: false,
      binaries: true,
    }
    const made = { key: keyOf(`environment ${name}`), name, order, ...more }
    this.infra.environments.push(made)
    return made
  }

  /** Tags a version, and has it running in these environments at once. */
  release(spec: VersionSpec, ...environments: string[]): void {
    const { application, label } = spec
    const known = this.infra.applications.find(a => a.name === application)?.versions.find(v => v.label === label)
    const version = known ?? tag(this.infra, spec)
    for (const name of environments) install(this.environment(name), version)
  }

  /** The version that runs there, with a plus where it was modified; null where there is none. */
  running(environment: string, application: string): string | null {
    this.settle()
    const found = [...this.environment(environment).running.values()].find(r => r.base.application.name === application)
    return found === undefined ? null : `${found.base.label}${found.modified ? '+' : ''}`
  }

  /** A deployment that somebody else made and started, not through Backout. */
  started(source: string, target: string, versions: readonly VersionSpec[], course: Course, notes = ''): Deployment {
    const operations = versions.map(spec => {
      const known = this.infra.applications.find(a => a.name === spec.application)
      const version = known?.versions.find(v => v.label === spec.label) ?? tag(this.infra, spec)
      return { version, zone: '' }
    })
    const from = this.environment(source).key
    const made = new Deployment({ source: from, target: this.environment(target), notes, operations, binary: false })
    this.deployments.unshift(made)
    made.start(course)
    return made
  }

  /** Lets every deployment go on to where the time has brought it. */
  settle(): void {
    for (const deployment of this.deployments) void deployment.status
  }

  linkFor(content: Buffer): string {
    const id = randomUUID()
    this.downloads.set(id, content)
    return `${this.manner.downloads ?? this.#listening.origin}/lifetimeapi/rest/v2/downloads/${id}`
  }

  #handle(request: Request): Answer {
    if (request.headers.authorization !== `Bearer ${LifeTime.token}`) {
      return exception(401, 'Invalid authentication token.')
    }
    this.settle()
    for (const routes of [readRoutes, deploymentRoutes, solutionRoutes]) {
      const answer = routes(this, request)
      if (answer !== null) return answer
    }
    return exception(404, `The requested resource does not exist: ${request.method} ${request.path}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
  }
}
