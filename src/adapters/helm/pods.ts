import type { StepAct, Unwell, Verdict } from '../../core/contract.ts'
import { sameJson } from '../../core/json.ts'
import { type Workload, workloadPath } from '../../kubernetes/api/objects.ts'
import { rolled } from '../../kubernetes/apply/roll.ts'
import { untilRolledOut } from '../../kubernetes/apply/wait.ts'
import { change } from '../../kubernetes/apply/write.ts'
import { lookAt } from '../../kubernetes/look.ts'
import { eachOf, type Site } from '../../kubernetes/site.ts'
import { rolloutOf } from '../../kubernetes/status.ts'
import type { RollArgs } from '../../kubernetes/steps.ts'
import { RESTARTED, refsOf, restartMark } from '../../kubernetes/template.ts'
import { unwellOf } from '../../kubernetes/unwell.ts'
import { type Live, liveOf, type Place } from './look.ts'
import type { Member } from './manifest.ts'
import { stepId } from './steps.ts'

/** What stood as the mark of a restart on each object when that was planned. */
export type Restarts = Readonly<Record<string, string | null>>

const AT_ONCE = 20

const elsewhere = new WeakMap<Site, Map<string, Site>>()

/** A release may have objects in other namespaces than its own. */
function siteOf({ site }: Place, { namespace }: Member): Site {
  if (namespace === site.namespace) return site
  const known = elsewhere.get(site) ?? new Map<string, Site>()
  elsewhere.set(site, known)
  const found = known.get(namespace) ?? { ...site, namespace }
  known.set(namespace, found)
  return found
}

/** Objects that are on the release, and whose pods do not stay up: Helm looks at them once. */
export async function unwellIn(place: Place, live: readonly Live[], signal: AbortSignal): Promise<Unwell[]> {
  const ills = await eachOf(live, AT_ONCE, async one => {
    const site = siteOf(place, one)
    return unwellOf(site, await lookAt(site, one, signal), null)
  })
  return ills.flatMap(ill => (ill === null ? [] : [{ step: stepId(place.ctx, 'rollback'), ...ill }]))
}

/** An object that Helm has put back, as the steps of `kubernetes` follow one: by its pods. */
function argsFor({ id, refs, object }: Live, restarts: Restarts | null): RollArgs {
  const onDelete = object !== null && rolloutOf(object).onDelete
  return {
    do: 'roll',
    rung: 'image',
    object: id,
    release: '',
    expect: null,
    template: '',
    write: refs,
    proof: {},
    revision: null,
    sealed: { id: '', mac: '' },
    replicas: null,
    scaled: false,
    restart: restarts !== null,
    after: restarts?.[id] ?? null,
    replace: onDelete ? 'all' : 'none',
    partition: null,
    promote: false,
  }
}

/** Has pods made anew whose templates say nothing new. */
export async function restart(place: Place, wanted: readonly Member[], restarts: Restarts, act: StepAct) {
  for (const member of wanted) {
    const { id, kind, name } = member
    const site = siteOf(place, member)
    const decide = ({ spec }: Workload) => {
      const annotations = spec.template.metadata?.annotations ?? {}
      const mark = restartMark(act.idem, restarts[id] ?? null)
      if (annotations[RESTARTED] === mark) return null
      const metadata = { ...spec.template.metadata, annotations: { ...annotations, [RESTARTED]: mark } }
      return [{ op: 'add' as const, path: '/spec/template/metadata', value: metadata }]
    }
    await change<Workload>(site, { path: workloadPath(site.namespace, kind, name), name: id, decide }, act)
  }
}

/**
 * Lets a Deployment go on that is paused: Helm leaves it so, and waits in vain. Not before it asks for what Helm was to put
 * there, or it would go on with what is left.
 */
export async function letGoOn(place: Place, wanted: readonly Member[], act: StepAct): Promise<void> {
  for (const live of await liveOf(place, wanted, act.signal)) {
    if (!isPaused(live)) continue
    const { id, kind, name, refs } = live
    const site = siteOf(place, live)
    const decide = ({ spec }: Workload) =>
      spec.paused === true && sameJson(refsOf(spec.template), refs)
        ? [{ op: 'remove' as const, path: '/spec/paused' }]
        : null
    await change<Workload>(site, { path: workloadPath(site.namespace, kind, name), name: id, decide }, act)
  }
}

export function isPaused({ object }: Live): boolean {
  return object?.kind === 'Deployment' && object.spec.paused === true
}

/** Helm is through before pods have shown that they stay up. Throws why they do not. */
export async function untilServed(
  place: Place,
  wanted: readonly Member[],
  restarts: Restarts | null,
  act: StepAct,
): Promise<void> {
  const over = new AbortController()
  const own = { ...act, signal: AbortSignal.any([act.signal, over.signal]) }
  await letGoOn(place, wanted, act)
  try {
    await eachOf(await liveOf(place, wanted, act.signal), AT_ONCE, async live => {
      const { object, id, kind, name } = live
      // What Helm leaves away is not waited for: the question what became of the step tells it.
      if (object === null) return
      const seen = { id, kind, name, object, revisions: [], pods: [] }
      await untilRolledOut(siteOf(place, live), seen, argsFor(live, restarts), own)
    })
  } finally {
    over.abort(null)
  }
}

/** Whether all pods are of what a revision says, and stay up. */
export async function areServed(
  place: Place,
  wanted: readonly Member[],
  { revision, restarts }: { revision: number; restarts: Restarts | null },
  act: StepAct,
): Promise<Verdict> {
  const verdicts = await eachOf(await liveOf(place, wanted, act.signal), AT_ONCE, async (live): Promise<Verdict> => {
    const { id, object, refs } = live
    if (object === null) return { is: 'not-done', why: `${id} is not there` }
    if (!sameJson(refsOf(object.spec.template), refs))
      return { is: 'not-done', why: `${id} is not as revision ${revision} says` }
    const { is, why } = await rolled(siteOf(place, live), argsFor(live, restarts), act)
    return { is, why: `${id}: ${why}` }
  })
  const worst = ['not-done', 'unknown', 'running'].map(is => verdicts.find(one => one.is === is))
  const not = worst.find(one => one !== undefined)
  return not ?? { is: 'done', why: `revision ${revision} is deployed, and all its pods are of it` }
}
