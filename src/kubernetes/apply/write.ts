import type { StepAct } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import type { PatchOp } from '../api/client.ts'
import { Conflict } from '../api/errors.ts'
import type { KubeObject } from '../api/objects.ts'
import type { Site } from '../site.ts'

/** How often another writer may come in between before that is somebody's decision. */
const TRIES = 8

interface Change<T extends KubeObject> {
  readonly path: string
  /** Where it is written, if not there: a subresource. */
  readonly at?: string
  /** "deployment/shop", for messages. */
  readonly name: string
  /**
   * What to write, decided anew from what is there after each conflict; null: it is there already. Throws where what is there
   * is not what the plan saw.
   */
  readonly decide: (now: T) => readonly PatchOp[] | null | Promise<readonly PatchOp[] | null>
}

/** Reads, decides, writes only what was read: another writer in between leads to reading and deciding again. */
export async function change<T extends KubeObject>(
  site: Site,
  { path, at, name, decide }: Change<T>,
  act: StepAct,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const now = await site.client.get<T>(path, act.signal)
    if (now === null) throw gone(name, site.namespace)
    const ops = await decide(now)
    if (ops === null) return now
    act.signal.throwIfAborted()
    act.guard()
    try {
      return await site.client.patch<T>(at ?? path, now, ops, act.signal)
    } catch (error) {
      if (!(error instanceof Conflict)) throw error
      if (attempt >= TRIES) throw contested(name, error)
      act.progress({ text: `${name} was written by somebody else meanwhile; reading it again` })
    }
  }
}

export function gone(name: string, namespace: string): BackoutError {
  return new BackoutError({
    code: 'object_gone',
    what: `${name} is not in ${namespace} any more`,
    next: `${PLAN_ANEW}: it can be applied as it was captured`,
    exit: 'moved',
  })
}

function contested(name: string, cause: Error): BackoutError {
  return new BackoutError({
    code: 'object_contested',
    what: `${name} was written by somebody else ${TRIES} times in a row while it was to be changed`,
    cause: cause.message,
    next: 'find out what keeps writing it (`kubectl get -o yaml --show-managed-fields`), stop it, then resume',
    exit: 'moved',
  })
}

/** Somebody changed what the plan was made for. */
export function moved(name: string, by: string | null): BackoutError {
  return new BackoutError({
    code: 'object_moved',
    what: `${name} is not what the plan saw${by === null ? '' : `: ${by} changed it since`}; it was left alone`,
    next: `find out who deploys there, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}

/** Of an autoscaler too: nothing else of it writes how many pods there are to be. */
const CONTROLLERS = 'kube-controller-manager'

/** Who wrote an object last, as far as the API server knows, besides controllers and Backout. */
export function lastWriter(object: KubeObject): string | null {
  // Its status is what controllers say of it, and the number of its pods is another matter.
  return newest(entriesOf(object).filter(e => e.subresource === undefined && e.manager !== CONTROLLERS))
}

/** Who said last how many pods it is to have: whoever has that field, for it goes over to who changes it. */
export function lastScaler(object: KubeObject): string | null {
  const by = newest(entriesOf(object).filter(e => e.fieldsV1?.['f:spec']?.['f:replicas'] !== undefined))
  return by === CONTROLLERS ? 'an autoscaler' : by
}

interface Managed {
  readonly manager?: string
  readonly time?: string
  readonly subresource?: string
  readonly fieldsV1?: { readonly 'f:spec'?: { readonly 'f:replicas'?: unknown } }
}

function entriesOf({ metadata }: KubeObject): Managed[] {
  return (metadata['managedFields'] ?? []) as Managed[]
}

function newest(entries: readonly Managed[]): string | null {
  const [last] = entries
    .filter(e => e.manager !== 'backout')
    .toSorted((a, b) => ((a.time ?? '') < (b.time ?? '') ? 1 : -1))
  return last?.manager ?? null
}
