import { setTimeout as sleep } from 'node:timers/promises'
import type { Sealed, Step, StepAct } from '../../core/contract.ts'
import { BackoutError, messageOf, PLAN_ANEW } from '../../core/errors.ts'
import { makeConfig, withMade } from './configs.ts'
import { given, orNull, statusOf } from './engine.ts'
import { haltedSpec, haltVerdict, isHalted, lifting, NOTHING_THERE } from './halt.ts'
import { inspect, leftBy, lookAt, lookAtSwarm } from './look.ts'
import { careful } from './pace.ts'
import { MOVING, settledOf } from './settled.ts'
import { imageLeft, type Site, stands } from './site.ts'
import { goalOf, LEFT, STEP, TOWARDS, WROTE } from './spec.ts'
import { argsOf, type BringArgs, type Expect, type HaltArgs, type StopArgs } from './steps.ts'
import { isStopped, starting, stoppedSpec } from './stopped.ts'
import { goesOn, gone, moved, replaced, stuck } from './trouble.ts'
import type { Service, Spec } from './types.ts'
import { atWork, leadsBack, removedBy, stopVerdict } from './verify.ts'

const LOOK_MS = 400
/** How often the version may move under a write before it is somebody else's doing. */
const RACES = 20

export async function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = argsOf(step)
  act.signal.throwIfAborted()
  if (args.do === 'stop') return stop(site, args, act)
  if (args.do === 'halt') return halt(site, args, act)
  if (args.do === 'config') return makeConfig(site, args, act)
  const goal = await goalFor(site, args, act)
  if (args.do === 'recreate') await recreate(site, args, goal, act)
  else await bring(site, args, goal, act)
  await follow(site, args, act)
  await settle(site, args, goal, act)
}

/**
 * The specification to be, made of what the vault keeps and of today's secrets. Before a service is removed it is kept: what
 * is taken from today is gone with the service.
 */
async function goalFor(site: Site, args: BringArgs, act: StepAct): Promise<Spec> {
  const { service, goal } = args
  const kept = (act.handle as { goal: Sealed } | null)?.goal
  const read = async (sealed: Sealed) => JSON.parse(Buffer.from(await act.vault.open(sealed)).toString('utf8')) as Spec
  if (kept !== undefined) return read(kept)
  const there = await inspect(site, service, act.signal)
  const today = there?.Spec ?? null
  const wanted = { ref: goal.image.ref, renamed: goal.renamed, keeping: site.config }
  const planned = goalOf(await read(goal.sealed), today, wanted)
  if (site.shape(planned) !== goal.shape) throw moved(service, 'its variables')
  const spec = await withMade(site, planned, goal.renamed.made, act.signal)
  if (args.do !== 'recreate') return spec
  const { id, mac } = await act.vault.seal(
    Buffer.from(JSON.stringify(spec)),
    `${site.component}: ${service} as it is made again`,
  )
  await act.note({ goal: { id, mac }, ...(there === null ? {} : { service: there.ID }) })
  return spec
}

/** Writes the specification, unless it stands there already and Swarm is at it. */
async function bring(site: Site, args: BringArgs, goal: Spec, act: StepAct): Promise<void> {
  const { service: name, expect } = args
  await write(site, name, act, service => {
    if (service === null) throw gone(name)
    const again = service.Spec.Labels?.[STEP] === act.idem
    if (atWork(site, service, args, act)) {
      if (again || args.force === null) return null
    } else refuseForeign(site, service, expect)
    if (args.do === 'previous') return { spec: previousOf(site, service, args), previous: true }
    const force = args.force ?? service.Spec.TaskTemplate.ForceUpdate ?? 0
    return { spec: marked(site, careful(forced(goal, force)), service, act), previous: false }
  })
}

/** Right before it is asked for: Swarm swaps, so a second rollback would bring back what the first one left. */
function previousOf(site: Site, service: Service, { service: name, goal }: BringArgs): Spec {
  const previous = service.PreviousSpec
  const same =
    previous !== undefined &&
    site.shape(previous) === goal.shape &&
    previous.TaskTemplate.ContainerSpec.Image === goal.image.ref
  if (same) return service.Spec
  throw new BackoutError({
    code: 'previous_is_other',
    what: `Swarm's own rollback of ${name} would not lead to the release any more; it was not asked for`,
    next: `${PLAN_ANEW}: the rung update leads there`,
    exit: 'failed',
  })
}

function forced(spec: Spec, ForceUpdate: number): Spec {
  return { ...spec, TaskTemplate: { ...spec.TaskTemplate, ForceUpdate } }
}

/** Says on the service who wrote it, what that was, and which image was left on the way to which release. */
function marked(site: Site, spec: Spec, before: Service | null, act: StepAct): Spec {
  const from = before === null ? undefined : imageLeft(site, before, act)
  const labels = {
    ...spec.Labels,
    [STEP]: act.idem,
    [WROTE]: site.shape(spec),
    ...(act.release === undefined ? {} : { [TOWARDS]: act.release }),
    ...(from === undefined ? {} : { [LEFT]: from }),
  }
  return { ...spec, Labels: labels }
}

/** A specification that neither the plan found nor Backout wrote is somebody else's. */
function refuseForeign(site: Site, service: Service, expect: Expect): void {
  const { Spec: spec } = service
  const found =
    expect !== null && site.shape(spec) === expect.shape && spec.TaskTemplate.ContainerSpec.Image === expect.ref
  if (!found && !stands(site, service)) throw moved(spec.Name, 'it')
}

/** Where the run does not bring it back it stays so, also through what is deployed later: so it is told. */
async function stop(site: Site, args: StopArgs, act: StepAct): Promise<void> {
  const { service: name, expect } = args
  await write(site, name, act, async service => {
    if (service === null) {
      await act.note(NOTHING_THERE)
      return null
    }
    refuseForeign(site, service, expect)
    if (isStopped(service.Spec)) return null
    await tellLift(name, 'is stopped', starting(service.Spec), act)
    return { spec: marked(site, stoppedSpec(service.Spec), service, act), previous: false }
  })
  const until = performance.now() + site.config.limits.update
  for (;;) {
    const swarm = await lookAtSwarm(site, act.signal)
    const { is, why } = await stopVerdict(site, swarm, args, act)
    if (is === 'done') return
    act.progress({ text: `${name}: ${why}` })
    if (performance.now() > until) throw stuck(name, why)
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

async function tellLift(service: string, what: string, lift: string, act: StepAct): Promise<void> {
  const text = `${service} ${what} until it is brought to the release; if this run does not do that, have it run again: ${lift}`
  await act.tell({ kind: 'note', text, data: { service, lift } })
}

/** Stops an update where it is: what runs goes on running, and nothing more is replaced. */
async function halt(site: Site, { service: name, expect }: HaltArgs, act: StepAct): Promise<void> {
  await write(site, name, act, async service => {
    const moves = service !== null && MOVING.has(service.UpdateStatus?.State ?? '')
    if (service !== null && isHalted(site, service)) return null
    if (!moves) {
      await act.note(NOTHING_THERE)
      return null
    }
    refuseForeign(site, service, expect)
    await tellLift(name, 'has no task made anew', lifting(name), act)
    return { spec: marked(site, haltedSpec(service.Spec), service, act), previous: false }
  })
  const until = performance.now() + site.config.limits.update
  for (;;) {
    const view = await lookAt(site, await lookAtSwarm(site, act.signal), name, act.signal)
    const { is, why } = haltVerdict(site, view, act)
    if (is === 'done') return
    act.progress({ text: `${name}: ${why}` })
    if (is !== 'running' || performance.now() > until) throw goesOn(name, why)
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

async function recreate(site: Site, args: BringArgs, goal: Spec, act: StepAct): Promise<void> {
  const { service: name } = args
  const there = await inspect(site, name, act.signal)
  if (there !== null && there.Spec.Labels?.[STEP] === act.idem && atWork(site, there, args, act)) return
  if (there !== null) {
    refuseForeign(site, there, args.expect)
    act.signal.throwIfAborted()
    act.guard()
    await orNull(site.engine.ask(`to remove ${name}`, (docker, o) => docker.getService(there.ID).remove(o), act.signal))
  }
  await tasksGone(site, args, there?.ID ?? removedBy(args, act), act)
  act.signal.throwIfAborted()
  act.guard()
  const spec = marked(site, careful(goal), there, act)
  await site.engine.ask(`to make ${name}`, (docker, o) => docker.createService(given(spec, o)), act.signal)
}

/** Old and new never run side by side: what the removed service has left is waited for, also after Backout died in between. */
async function tasksGone(site: Site, { service: name }: BringArgs, id: string | null, act: StepAct): Promise<void> {
  if (id === null) return
  const until = performance.now() + site.config.limits.update
  for (;;) {
    const { running } = await leftBy(site, await lookAtSwarm(site, act.signal), id, act.signal)
    if (running === 0) return
    const why = `${running} task${running > 1 ? 's' : ''} of the removed service still run`
    act.progress({ text: `${name}: ${why}` })
    if (performance.now() > until) throw stuck(name, why)
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

interface Write {
  readonly spec: Spec
  /** Let Swarm itself go back to its previous specification. */
  readonly previous: boolean
}

/** Reads, decides, and writes guarded by the version that was read; again where only the version had moved. */
async function write(
  site: Site,
  name: string,
  act: StepAct,
  decide: (service: Service | null) => Write | null | Promise<Write | null>,
): Promise<void> {
  for (let race = 0; ; race++) {
    const service = await inspect(site, name, act.signal)
    const wanted = await decide(service)
    if (wanted === null || service === null) return
    act.signal.throwIfAborted()
    act.guard()
    const query = { version: service.Version.Index, ...(wanted.previous ? { rollback: 'previous' } : {}) }
    const options = { _query: query, _body: wanted.spec }
    try {
      return await site.engine.ask(
        `to update ${name}`,
        (docker, o) => docker.getService(service.ID).update(given(options, o)),
        act.signal,
      )
    } catch (error) {
      // Swarm writes to the service too, while an update goes on. What it says then is read and decided on anew.
      const raced = statusOf(error) !== null && /update out of sequence/i.test(messageOf(error))
      if (!raced || race >= RACES) throw error
    }
  }
}

/** Waits until the tasks are what the specification says. Throws `update_stuck`. */
async function follow(site: Site, args: BringArgs, act: StepAct): Promise<void> {
  let from: string | null = null
  for (;;) {
    const swarm = await lookAtSwarm(site, act.signal)
    // What was begun earlier and is taken up again has its whole time again.
    from ??= swarm.info.SystemTime
    const view = await lookAt(site, swarm, args.service, act.signal)
    if (view === null) throw gone(args.service)
    if (!atWork(site, view.service, args, act)) throw replaced(args.service, view)
    const settled = settledOf(view, swarm, args.goal.image, site.config.limits, from)
    if (settled.is === 'settled' || settled.is === 'unproven') return
    if (settled.is === 'stuck') throw stuck(args.service, settled.why)
    act.progress({ text: `${args.service}: ${settled.why}` })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

/**
 * Gives the service its own settings for updates again. What Swarm keeps as the previous specification is then the good
 * one too: a rollback by hand right afterwards does not bring the bad release back.
 */
async function settle(site: Site, args: BringArgs, goal: Spec, act: StepAct): Promise<void> {
  await write(site, args.service, act, service => {
    if (service === null) throw gone(args.service)
    if (!atWork(site, service, args, act)) throw moved(args.service, 'it')
    if (leadsBack(site, service, args)) return null
    const spec = forced(goal, service.Spec.TaskTemplate.ForceUpdate ?? 0)
    return { spec: marked(site, spec, service, act), previous: false }
  })
}
