import { type Resource } from './resources.ts'
import { ApiError, conflict, qualified } from './status.ts'
import { type Obj } from './types.ts'

/** What is asked for, in the words of Kubernetes' authorization. */
export interface Access {
  readonly verb: string
  readonly group: string
  readonly resource: string
  readonly subresource?: string
  readonly namespace?: string
  readonly name?: string
}

/** Of a Role; without a namespace, of a ClusterRole. */
export interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly namespace?: string
}

/** A right that is taken away. What is left out stands for everything. */
export type Denial = Partial<Access>

type Named = Pick<Resource, 'group' | 'plural'>

interface WriteConflict {
  readonly plural: string
  readonly name: string
  times: number
}

/** What another writer does; a client has its answer once that is done. */
type Meddler = (object: Obj) => unknown

/** The bad luck that a test asks for. Everything here happens to real clusters too. */
export class Trouble {
  #denied: Denial[] = []
  #conflicts: WriteConflict[] = []
  #meddlers: { plural: string; name: string; meddle: Meddler }[] = []
  #failures: { match: (access: Access) => boolean; error: ApiError; times: number }[] = []
  #lost: { match: (access: Access) => boolean; times: number }[] = []
  /** Every token, however new. */
  tokenExpired = false
  /** Let in besides the cluster's own one, until they are taken out of here, and what each may do; null: everything. */
  readonly tokens = new Map<string, readonly Rule[] | null>()

  letsIn(authorization: string | undefined, own: string): boolean {
    const token = bearer(authorization)
    return !this.tokenExpired && (token === own || this.tokens.has(token))
  }

  /** 403, and a SelfSubjectAccessReview that says so. */
  deny(...denials: Denial[]): void {
    this.#denied.push(...denials)
  }

  allowAll(): void {
    this.#denied = []
  }

  denies(access: Access, authorization?: string): boolean {
    const rules = this.tokens.get(bearer(authorization)) ?? null
    if (rules !== null && !rules.some(rule => allows(rule, access))) return true
    return this.#denied.some(denial =>
      Object.entries(denial).every(([key, value]) => access[key as keyof Access] === value || value === '*'),
    )
  }

  /** 409 Conflict to the next writes of an object, as if another writer were quicker each time. */
  conflictOn(plural: string, name: string, times = 1): void {
    this.#conflicts.push({ plural, name, times })
  }

  /** Runs right after the next read of an object: another writer between a client's read and its write. */
  afterRead(plural: string, name: string, meddle: Meddler): void {
    this.#meddlers.push({ plural, name, meddle })
  }

  /** Answers the next matching requests with an error: 403, 429, 500, 503, 504. Nothing is done. */
  fail(match: (access: Access) => boolean, code = 503, times = 1, message?: string): void {
    this.#failures.push({ match, error: failure(code, message), times })
  }

  /** Does what the next matching requests ask and cuts the connection instead of answering. */
  loseReply(match: (access: Access) => boolean, times = 1): void {
    this.#lost.push({ match, times })
  }

  beforeWrite(resource: Named, name: string): void {
    if (take(this.#conflicts, entry => entry.plural === resource.plural && entry.name === name))
      throw conflict(resource, name)
  }

  async onRead(resource: Named, name: string, object: () => Obj): Promise<void> {
    const at = this.#meddlers.findIndex(one => one.plural === resource.plural && one.name === name)
    if (at < 0) return
    const [meddler] = this.#meddlers.splice(at, 1)
    await meddler?.meddle(object())
  }

  onRequest(access: Access): void {
    const failing = take(this.#failures, entry => entry.match(access))
    if (failing !== undefined) throw failing.error
  }

  losesReply(access: Access): boolean {
    return take(this.#lost, entry => entry.match(access)) !== undefined
  }
}

const bearer = (authorization = ''): string => authorization.replace(/^Bearer /, '')

/** As the RBAC authorizer does it (rbac/v1 evaluation helpers). */
function allows(rule: Rule, { group, resource, subresource, verb, namespace, name }: Access): boolean {
  const full = subresource === undefined ? resource : `${resource}/${subresource}`
  const named = rule.resourceNames === undefined || rule.resourceNames.includes(name ?? '')
  const placed = rule.namespace === undefined || rule.namespace === namespace
  return rule.apiGroups.includes(group) && rule.resources.includes(full) && rule.verbs.includes(verb) && named && placed
}

/** The first entry that fits and has times left, one time less. */
function take<T extends { times: number }>(entries: T[], fits: (entry: T) => boolean): T | undefined {
  const found = entries.find(entry => entry.times > 0 && fits(entry))
  if (found !== undefined) found.times -= 1
  return found
}

const FAILURES: Record<number, readonly [string, string]> = {
  403: ['Forbidden', 'forbidden: not yet known'],
  429: ['TooManyRequests', 'too many requests'],
  500: ['InternalError', 'Internal error occurred: etcdserver: leader changed'],
  503: ['ServiceUnavailable', 'the server is currently unable to handle the request'],
  504: [
    'Timeout',
    'the server was unable to return a response in the time allotted, but may still be processing the request',
  ],
}

function failure(code: number, words?: string): ApiError {
  const [reason, message] = FAILURES[code] ?? ['InternalError', 'Internal error occurred']
  return new ApiError(code, reason, words ?? message, code === 429 ? { retryAfterSeconds: 1 } : {})
}

/** As the RBAC authorizer words it. */
export function refusal(user: string, access: Access): string {
  const resource = access.subresource === undefined ? access.resource : `${access.resource}/${access.subresource}`
  const where = access.namespace === undefined ? 'at the cluster scope' : `in the namespace "${access.namespace}"`
  return `User "${user}" cannot ${access.verb} resource "${resource}" in API group "${access.group}" ${where}`
}

export function forbiddenBy(user: string, resource: Resource, access: Access): ApiError {
  const name = access.name ?? ''
  return new ApiError(
    403,
    'Forbidden',
    `${qualified(resource)}${name === '' ? '' : ` "${name}"`} is forbidden: ${refusal(user, access)}`,
    {
      ...(name === '' ? {} : { name }),
      ...(resource.group === '' ? {} : { group: resource.group }),
      kind: resource.plural,
    },
  )
}
