import { systemClock } from '../../core/clock.ts'
import type { StepAct } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { redact } from '../../core/secret.ts'
import { corePath, type Pod, selectorText, type Workload, workloadPath } from '../api/objects.ts'
import { until } from '../api/watch.ts'
import { lookAt, type Seen } from '../look.ts'
import { promotable } from '../rollout.ts'
import type { Site } from '../site.ts'
import {
  alive,
  ended,
  isLive,
  ready,
  refusalOf,
  rolloutOf,
  stallOf,
  type Trouble,
  toldOf,
  troubleOf,
  waitsForNode,
} from '../status.ts'
import type { RollArgs } from '../steps.ts'
import { amiss, otherCount } from './desired.ts'
import { holdsBack, isThrough, partitionOf } from './partition.ts'
import { provenBy } from './proof.ts'
import { Replacing } from './replace.ts'
import { promote } from './rollout.ts'
import { mustSettle, noteSettled, restartsOf, startsOf, textOf } from './settle.ts'
import { gone, lastScaler, lastWriter } from './write.ts'

/** Follows a rollout until what runs is what was pinned. Throws why it does not get there. */
export async function untilRolledOut(site: Site, seen: Seen, args: RollArgs, act: StepAct): Promise<void> {
  const { object } = seen
  if (object === null) throw gone(seen.id, site.namespace)
  const field = `?fieldSelector=${encodeURIComponent(`metadata.name=${seen.name}`)}`
  const label = `?labelSelector=${encodeURIComponent(selectorText(object.spec.selector))}`
  const paths = [`${workloadPath(site.namespace, seen.kind)}${field}`, `${corePath(site.namespace, 'pods')}${label}`]
  const replacing = new Replacing(site, args, act)
  const before = stallOf(object)
  const patience = new Patience(site, args, act, replacing)
  const following = { client: site.client, signal: act.signal, awayMs: site.config.limits.away }
  await until(following, paths, async ([live], pods) => {
    const now = live as Workload | undefined
    if (now === undefined) throw gone(seen.id, site.namespace)
    return (await arrived(
      site,
      { ...seen, object: { ...now, kind: seen.kind } },
      args,
      act,
      { patience, replacing, before },
      pods as Pod[],
    ))
      ? true
      : null
  })
}

async function arrived(
  site: Site,
  seen: Seen & { object: Workload },
  args: RollArgs,
  act: StepAct,
  { patience, replacing, before }: { patience: Patience; replacing: Replacing; before: string | null },
  near: readonly Pod[],
): Promise<boolean> {
  const { object } = seen
  const why = amiss(object, args, act)
  if (why !== null) throw changedSince(seen.id, why, object, args)
  if (args.promote && promotable(object)) await promote(site, seen.id, act)
  const rollout = rolloutOf(object)
  const pods = near.filter(alive)
  const there = rollout.complete || (rollout.replaced && rollout.wanted === 0)
  if (there && isThrough(object, args)) {
    // The object's word is not enough: its pods are asked what they run.
    const proof = provenBy(await lookAt(site, seen, act.signal), args)
    if (proof.is === 'wrong') throw imageMoved(seen.id, proof.why)
    if (proof.is === 'proven') return patience.settled(object, proof.fresh)
    act.progress({ text: proof.why })
    return false
  }
  patience.unsettle()
  const troubles = pods.map(troubleOf).filter(trouble => trouble !== null)
  const { updated, wanted, available } = rollout
  const worst = troubles[0] === undefined ? refusalOf(object) : toldOf(troubles[0])
  const said = worst === null ? '' : `; ${redact(worst)}`
  act.progress({
    text: `${updated} of ${wanted} pods replaced, ${available} available${said}`,
    done: Math.min(updated, available),
    total: wanted,
  })
  await replacing.next(seen)
  const stale = before !== null && stallOf(object) === before
  if (rollout.failed !== null && !stale) throw await stuck(site, { ...seen, pods }, rollout.failed, troubles, act)
  await patience.with({ ...seen, pods }, troubles)
  await patience.withRefusal({ ...seen, pods }, near.length > pods.length)
  return false
}

/** Pods of the release that keep failing are given up on before a controller's deadline, which is ten minutes. */
class Patience {
  readonly #site: Site
  readonly #args: RollArgs
  readonly #act: StepAct
  readonly #replacing: Replacing
  readonly #began = systemClock.mono()
  #since: number | null = null
  /** Which pods run, started how often, since when. */
  #settling: { starts: string; since: number } | null = null
  /** How far it was when a pod was refused, since when. */
  #refused: { far: string; since: number } | null = null

  constructor(site: Site, args: RollArgs, act: StepAct, replacing: Replacing) {
    this.#site = site
    this.#args = args
    this.#act = act
    this.#replacing = replacing
  }

  /** True once pods whose readiness says nothing have stayed up for a while. */
  settled(object: Workload, fresh: readonly Pod[]): boolean {
    const { settle } = this.#site.config.limits
    if (!mustSettle(object, fresh, settle)) return this.#up(fresh)
    const starts = textOf(fresh)
    if (this.#settling?.starts !== starts) this.#settling = { starts, since: systemClock.mono() }
    this.#act.progress({ text: `${fresh.length} pods run; seeing whether they stay up` })
    if (systemClock.mono() - this.#settling.since < settle) return false
    return this.#up(fresh)
  }

  #up(fresh: readonly Pod[]): true {
    noteSettled(this.#site, this.#args.object, fresh)
    return true
  }

  unsettle(): void {
    this.#settling = null
  }

  async with(seen: Seen & { object: Workload }, troubles: readonly Trouble[]): Promise<void> {
    await this.#inTime(seen, troubles)
    // One that dies again and again runs for a moment in between: that is no recovery.
    if (troubles.length === 0 && !seen.pods.some(pod => alive(pod) && restartsOf(pod) > 0)) this.#since = null
    if (troubles.length === 0) return
    this.#since ??= systemClock.mono()
    const limitMs = this.#site.config.limits.stuck
    if (systemClock.mono() - this.#since < limitMs) return
    const own = await lookAt(this.#site, seen, this.#act.signal)
    const { fresh } = provenBy(own, this.#args)
    // A node for one that finds no place may be on its way: that has until the whole time is over.
    const troubled = fresh.map(troubleOf).filter(trouble => trouble !== null)
    const failing = troubled.filter(trouble => !waitsForNode(trouble))
    // Only pods of the bad release fail: those are on their way out.
    if (failing.length === 0 && !blockedByOthers(own, fresh)) {
      this.#since = null
      return
    }
    const why =
      failing.length > 0
        ? `its pods keep failing for ${limitMs / 1000} s`
        : `pods of the release that is left are not ready, and are not replaced before they are`
    throw await stuck(this.#site, own, why, failing.length > 0 ? failing : troubles, this.#act)
  }

  /** Pods that the server refuses are no pods that fail. What goes may make room for them, and so may what gets ready. */
  async withRefusal(seen: Seen & { object: Workload }, leaving: boolean): Promise<void> {
    const { updated, available } = rolloutOf(seen.object)
    const far = `${updated} ${available} ${seen.object.status?.replicas}`
    if (refusalOf(seen.object) === null || leaving) this.#refused = null
    else if (this.#refused?.far !== far) this.#refused = { far, since: systemClock.mono() }
    const limitMs = this.#site.config.limits.stuck
    if (this.#refused === null || systemClock.mono() - this.#refused.since < limitMs) return
    throw await stuck(this.#site, seen, `no further pod of it can be made for ${limitMs / 1000} s`, [], this.#act)
  }

  /** StatefulSets and DaemonSets have no deadline of their own. */
  async #inTime(seen: Seen & { object: Workload }, troubles: readonly Trouble[]): Promise<void> {
    const limitMs = this.#site.config.limits.rollout
    if (systemClock.mono() - this.#began < limitMs) return
    const silent = seen.pods.filter(pod => isLive(pod) && !ready(pod)).map(({ metadata: { name } }) => name)
    const partition = holdsBack(seen.object)
      ? `its partition ${partitionOf(seen.object)} keeps pods on another revision`
      : null
    const held = this.#replacing.refused ?? partition ?? `not ready: ${silent.join(', ') || 'none'}`
    const why = `not all of its pods were there within ${limitMs / 1000} s (${held})`
    throw await stuck(this.#site, seen, why, troubles, this.#act)
  }
}

/** A StatefulSet waits for each pod in turn: one of another revision that never gets ready holds it for ever. */
function blockedByOthers({ kind, pods }: Seen, fresh: readonly Pod[]): boolean {
  return kind === 'StatefulSet' && pods.some(pod => alive(pod) && !ready(pod) && !fresh.includes(pod))
}

async function stuck(
  site: Site,
  { id, object, pods }: Seen,
  why: string,
  troubles: readonly Trouble[],
  act: StepAct,
): Promise<BackoutError> {
  const [worst] = troubles
  const refusal = object === null ? null : refusalOf(object)
  const about = worst !== undefined ? [toldOf(worst)] : refusal === null ? [] : [refusal]
  const log = worst?.crashed == null ? [] : await lastWords(site, worst.pod, worst.crashed, act.signal)
  const error = new BackoutError({
    code: 'rollout_stuck',
    what: `The rollout of ${id} does not get further: ${why}`,
    cause: redact([...about, ...log].join('\n')) || undefined,
    next: `look at \`kubectl -n ${site.namespace} describe ${worst === undefined ? id : `pod ${worst.pod}`}\`, then retry or take the next rung`,
    exit: 'failed',
  })
  await act.note({ stuck: redact(about[0] ?? why), starts: startsOf(pods) })
  return error
}

const LOG_LINES = 10

/** What a container that died said last: of the one before, if it was started anew, or else of the one that is there. */
async function lastWords(site: Site, pod: string, container: string, signal: AbortSignal): Promise<string[]> {
  const path = `${corePath(site.namespace, 'pods', pod)}/log?container=${container}&tailLines=${LOG_LINES}`
  for (const which of ['&previous=true', '']) {
    const log = await site.client.log(`${path}${which}`, signal).catch(() => null)
    const lines = (log ?? '').trimEnd().split('\n').filter(Boolean)
    if (lines.length > 0) return lines
  }
  return []
}

function changedSince(id: string, why: string, object: Workload, args: RollArgs): BackoutError {
  const scaled = why === otherCount(object, args)
  const by = scaled ? lastScaler(object) : lastWriter(object)
  return new BackoutError({
    code: 'object_moved',
    what: `While its pods were replaced, ${by ?? 'somebody else'} changed ${id}: ${why}`,
    next: scaled
      ? `find out who decides how many there are (a person, an autoscaler, who gives that its bounds) and hold it, then ${PLAN_ANEW}`
      : `find out who does that (a person, a GitOps controller, an operator, CI) and hold it, then ${PLAN_ANEW}`,
    exit: 'moved',
  })
}

function imageMoved(id: string, why: string): BackoutError {
  return new BackoutError({
    code: 'image_moved',
    what: `${id} does not run what it ran: ${why}`,
    cause: 'its reference gives another image today than it did when the release was captured',
    next: 'take the next rung: it names images by digest',
    exit: 'failed',
  })
}

/** Follows until no pod of an object is left, those on their way out included. */
export async function untilNoPods(site: Site, seen: Seen, act: StepAct): Promise<void> {
  if (seen.object === null) return
  const label = `?labelSelector=${encodeURIComponent(selectorText(seen.object.spec.selector))}`
  const following = { client: site.client, signal: act.signal, awayMs: site.config.limits.away }
  await until(following, [`${corePath(site.namespace, 'pods')}${label}`], async near => {
    const left = near.filter(pod => !ended(pod as Pod))
    if (left.length > 0) {
      const now = await lookAt(site, seen, act.signal)
      const own = now.pods.filter(pod => !ended(pod))
      act.progress({ text: `${own.length} pods still there`, done: 0, total: own.length })
      return own.length === 0 ? true : null
    }
    return true
  })
}
