import { BackoutError } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'

/** What the API server says where it does not do what it was asked. */
export interface Refusal {
  readonly status: number
  readonly reason: string
  readonly message: string
  /** Seconds after which to ask again. */
  readonly retryAfter: number | null
}

export interface Call {
  readonly method: string
  readonly path: string
}

/** Somebody else wrote the object since it was read. Read again, and decide again. */
export class Conflict extends Error {
  override readonly name = 'Conflict'
}

export function refusalOf(status: number, body: string, retryAfter: string | undefined): Refusal {
  const said = parsed(body)
  const causes = said.details?.causes?.map(c => [c.field, c.message].filter(Boolean).join(': ')).filter(Boolean) ?? []
  const message = said.message ?? body.slice(0, 500)
  return {
    status,
    reason: said.reason ?? '',
    message: redact([message, ...causes.filter(cause => !message.includes(cause))].join('; ')),
    retryAfter: retryAfter !== undefined && /^\d+$/.test(retryAfter) ? Number(retryAfter) : null,
  }
}

interface Status {
  readonly reason?: string
  readonly message?: string
  readonly details?: { readonly causes?: readonly { field?: string; message?: string }[] }
}

function parsed(body: string): Status {
  try {
    const value: unknown = JSON.parse(body)
    return value !== null && typeof value === 'object' ? value : {}
  } catch {
    return {}
  }
}

export function errorOf({ method, path }: Call, refusal: Refusal, context: string): BackoutError {
  const asked = `${method} ${path.split('?')[0]}`
  const cause = refusal.message || `status ${refusal.status}`
  if (refusal.status === 401) {
    const next = `log in again: \`kubectl --context ${context} get pods\` must work`
    return new BackoutError({
      code: 'kubernetes_unauthorized',
      what: `The API server does not know who asks (${asked})`,
      cause,
      next,
      exit: 'blocked',
    })
  }
  if (refusal.status === 403) return forbidden(method, asked, cause)
  return new BackoutError({
    code: refusal.status === 429 ? 'kubernetes_busy' : 'kubernetes_refused',
    what: `The API server refused ${asked}`,
    cause,
    next: 'repair what it names, then plan again',
    exit: 'failed',
  })
}

/** Of a read it is always the user; of a write it may be a quota, or a policy of the cluster that looks at what is written. */
function forbidden(method: string, asked: string, cause: string): BackoutError {
  const reads = ['GET', 'WATCH'].includes(method)
  const [code, next] =
    reads || /\bcannot \w+ (resource|path) /.test(cause)
      ? [
          'kubernetes_forbidden',
          'give the user of the context this right by a Role; `backout doctor` lists all that are needed',
        ]
      : /exceeded quota|failed quota|(maximum|minimum) \S+ usage per/.test(cause)
        ? ['quota_exceeded', 'raise the quota, or free what it counts']
        : ['admission_denied', 'see that the policy allows what it names here, or take the next rung']
  return new BackoutError({ code, what: `The API server does not allow ${asked}`, cause, next, exit: 'blocked' })
}

/** A server that has just started: nothing was done, and it will be in a moment. */
export function isWarmingUp(refusal: Refusal | null): boolean {
  return refusal?.status === 403 && refusal.message.endsWith('not yet ready to handle request')
}

export function unreachable(server: string, cause: string, from?: unknown): BackoutError {
  return new BackoutError({
    code: 'kubernetes_unreachable',
    what: `The API server ${server} does not answer`,
    cause: redact(cause),
    next: 'see that `kubectl get --raw /readyz` works from here',
    exit: 'failed',
    from,
  })
}
