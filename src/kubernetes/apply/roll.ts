import { systemClock } from '../../core/clock.ts'
import type { StepAct, Verdict } from '../../core/contract.ts'
import { Conflict } from '../api/errors.ts'
import { type Pod, parseId, type Workload, workloadPath } from '../api/objects.ts'
import { fingerprint } from '../goals.ts'
import { currentOf, lookAt, revisionsOf, type Seen } from '../look.ts'
import { openManifests } from '../manifests.ts'
import { promotable } from '../rollout.ts'
import type { Site } from '../site.ts'
import { rolloutOf } from '../status.ts'
import type { RollArgs } from '../steps.ts'
import { asReleased } from '../stopped.ts'
import {
  amiss,
  asksFor,
  contentGone,
  type Desired,
  desiredOf,
  marksOf,
  marksOn,
  patchTo,
  replicasToWrite,
} from './desired.ts'
import { partitionOf, putPartitionBack, rolling } from './partition.ts'
import { provenBy, sameTemplate } from './proof.ts'
import { haveSettled, mustSettle, noteSettled, restartsOf, textOf } from './settle.ts'
import { untilRolledOut } from './wait.ts'
import { change, lastWriter, moved } from './write.ts'

/** Brings one object back, and follows its rollout until its pods prove it. */
export async function roll(site: Site, args: RollArgs, act: StepAct): Promise<void> {
  if (act.handle !== null) await act.note(null)
  const { kind, name } = parseId(args.object)
  const object = args.rung === 'manifest' ? await applyManifest(site, args, act) : await putBack(site, args, act)
  await untilRolledOut(site, { id: args.object, kind, name, object, revisions: [], pods: [] }, args, act)
  await putPartitionBack(site, args, now => asksFor(now, args, act), act)
}

async function putBack(site: Site, args: RollArgs, act: StepAct): Promise<Workload> {
  const { kind, name } = parseId(args.object)
  const path = workloadPath(site.namespace, kind, name)
  const decide = async (read: Workload) => {
    const live = { ...read, kind }
    if (asksFor(live, args, act)) return null
    const desired = await desiredOf(site, kind, args, live, act)
    refuseMoved(live, desired, args, act)
    return patchTo(live, desired, args, await marksFor(site, live, desired, args, act))
  }
  return { ...(await change<Workload>(site, { path, name: args.object, decide }, act)), kind }
}

/** What the plan saw, or what this step wrote already. Gone when the plan was made and made since, it is somebody's. */
function refuseMoved(live: Workload, desired: Desired, args: RollArgs, { vault }: StepAct): void {
  const seen = fingerprint(asReleased(live.spec.template), vault)
  if (seen !== args.expect && seen !== fingerprint(desired.template, vault)) throw moved(args.object, lastWriter(live))
}

/** Names the revision that is left by this step: what down-scripts run in. */
async function marksFor(site: Site, live: Workload, { template }: Desired, args: RollArgs, act: StepAct) {
  const wrote = fingerprint(template, act.vault)
  // It is left already: only pods, their number or a halt are to be changed.
  if (wrote === fingerprint(asReleased(live.spec.template), act.vault)) return marksOn(live)
  const { kind, name } = parseId(args.object)
  const seen = await revisionsOf(site, { id: args.object, kind, name, object: live }, act.signal)
  return marksOf(args, currentOf(seen)?.name ?? null, wrote)
}

/**
 * Applies the whole object as it was captured, under Backout's own name. What others own and it does not mention would stay,
 * a variable or a container of the bad release: the template is then put back as a whole.
 */
async function applyManifest(site: Site, args: RollArgs, act: StepAct): Promise<Workload> {
  const { kind, name } = parseId(args.object)
  const path = workloadPath(site.namespace, kind, name)
  const desired = await applied(site, args, act)
  const decide = async (now: Workload) => {
    const read = { ...now, kind }
    if (asksFor(read, args, act) && sameTemplate(read.spec.template, desired.template)) return null
    return patchTo(read, desired, args, marksOn(read))
  }
  return { ...(await change<Workload>(site, { path, name: args.object, decide }, act)), kind }
}

/** Server-side apply of what was captured, while the object is what the plan saw. */
async function applied(site: Site, args: RollArgs, act: StepAct): Promise<Desired> {
  const { kind, name } = parseId(args.object)
  const path = workloadPath(site.namespace, kind, name)
  for (;;) {
    const before = await site.client.get<Workload>(path, act.signal)
    const live = before === null ? null : { ...before, kind }
    const desired = await desiredOf(site, kind, args, live, act)
    if (live !== null && asksFor(live, args, act)) return desired
    if (live !== null) refuseMoved(live, desired, args, act)
    const marks = live === null ? {} : await marksFor(site, live, desired, args, act)
    const manifest = await manifestFor(args, live, desired, act)
    const annotations = { ...manifest.metadata.annotations, ...marks }
    const marked = { ...manifest, metadata: { ...manifest.metadata, annotations } }
    act.signal.throwIfAborted()
    act.guard()
    try {
      await site.client.apply<Workload>(path, marked, act.signal)
      return desired
    } catch (error) {
      if (!(error instanceof Conflict)) throw error
      act.progress({ text: `${args.object} was written by somebody else meanwhile; reading it again` })
    }
  }
}

async function manifestFor(args: RollArgs, live: Workload | null, desired: Desired, act: StepAct): Promise<Workload> {
  const manifest = (await openManifests(args.sealed, act.vault))?.[args.object]
  if (manifest === undefined) throw contentGone(args)
  const { replicas: then, ...spec } = manifest.spec
  const replicas = replicasIn(live, args, then)
  const metadata = {
    ...manifest.metadata,
    // Only while it is what was read.
    ...(live?.metadata.resourceVersion === undefined ? {} : { resourceVersion: live.metadata.resourceVersion }),
  }
  const strategy = rolling(manifest)
  const updateStrategy = strategy === undefined ? {} : { updateStrategy: strategy }
  return {
    ...manifest,
    metadata,
    spec: { ...spec, ...updateStrategy, ...(replicas === undefined ? {} : { replicas }), template: desired.template },
  }
}

function replicasIn(live: Workload | null, args: RollArgs, then: number | undefined): number | undefined {
  if (live === null) return args.replicas ?? then
  // Where this manager wrote it once, a number that it does not mention would be taken away.
  return replicasToWrite(live, args) ?? live.spec.replicas
}

/** Asks the object and its pods, and where their being ready says nothing, whether they stay up. */
export async function rolled(site: Site, args: RollArgs, act: StepAct): Promise<Verdict> {
  const first = await asked(site, args, act)
  if (first.is !== 'done' || first.unsure === null) return told(site, args, first)
  await systemClock.sleep(site.config.limits.settle, act.signal)
  const second = await asked(site, args, act)
  if (second.is !== 'done' || second.unsure === null || second.unsure === first.unsure) return told(site, args, second)
  return { is: 'running', why: 'its pods run, and were started anew just now' }
}

function told(site: Site, { object }: RollArgs, { is, why, fresh }: Asked): Verdict {
  if (is === 'done') noteSettled(site, object, fresh)
  return { is, why }
}

type Asked = Pick<Verdict, 'is' | 'why'> & {
  /** Pods of which it is not known yet whether they stay up, as a text; null: there are none. */
  readonly unsure: string | null
  readonly fresh: readonly Pod[]
}

async function asked(site: Site, args: RollArgs, act: StepAct): Promise<Asked> {
  const not = (why: string): Asked => ({ is: 'not-done', why, unsure: null, fresh: [] })
  const { kind, name } = parseId(args.object)
  const live = await site.client.get<Workload>(workloadPath(site.namespace, kind, name), act.signal)
  if (live === null) return not(`${args.object} is not there`)
  const object = { ...live, kind }
  const why = amiss(object, args, act)
  if (why !== null) return not(`${args.object} does not ask for it: ${why}`)
  const seen: Seen = await lookAt(site, { id: args.object, kind, name, object }, act.signal)
  const rollout = rolloutOf(object)
  const { is, why: proof, fresh } = provenBy(seen, args)
  if (is === 'wrong') return not(proof)
  const { stuck, starts = {} } = (act.handle ?? {}) as { stuck?: string; starts?: Record<string, number> }
  // One that dies again and again runs for a moment in between: that is no recovery.
  const dies = stuck !== undefined && fresh.some(pod => restartsOf(pod) > (starts[pod.metadata.name] ?? 0))
  if (rollout.complete && is === 'proven' && !dies) {
    if ((args.partition ?? 0) > 0 && partitionOf(object) !== args.partition)
      return not(`its partition ${args.partition} is still to be put back`)
    const sure = !mustSettle(object, fresh, site.config.limits.settle) || haveSettled(site, args.object, fresh)
    return { is: 'done', why: proof, unsure: sure ? null : textOf(fresh), fresh }
  }
  if (rollout.failed !== null) return not(rollout.failed)
  if (stuck !== undefined) return not(`it got stuck: ${stuck}`)
  // Its controller goes on by itself; pods that it would leave need somebody at work, and nobody is.
  const { updated, wanted, available } = rollout
  const far = `${updated} of ${wanted} pods replaced, ${available} available`
  const alone = args.replace === 'none' && !(args.promote && promotable(object))
  return alone ? { is: 'running', why: far, unsure: null, fresh } : not(far)
}
