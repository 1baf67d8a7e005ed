import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Observation, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, PLAN_ANEW } from '../../core/errors.ts'
import { redact, type Text } from '../../core/secret.ts'
import { type Fleet, type Host, wordsOf } from './fleet.ts'
import { flightHere, flightsIn, flightText, here } from './flight.ts'
import { facts, type HostView, look, scriptCommand } from './look.ts'
import { eachHost, statesOf } from './observe.ts'
import { haltScript, UNTOLD } from './scripts.ts'

const LOOK_MS = 250

/** Milliseconds on top of the limit, for looking and for the way there and back. */
const WAY_MS = 30_000

const haltArgs = z.object({
  do: z.literal('halt'),
  /** Hosts on which a deployment was under way. */
  hosts: z.array(z.string()),
  /** What the link of each host led to when the plan was made: the rest of the plan holds for nothing else. */
  links: z.record(z.string(), z.string().nullable()),
})
type HaltArgs = z.infer<typeof haltArgs>

/** The step that stops what is under way; null: nothing is, or nobody said how. With what it sees to. */
export function haltStep(fleet: Fleet, from: Observation): { step: Step; settles: string[] } | null {
  const { stop } = wordsOf(fleet.config.inFlight)
  const { flying, here: local } = flightsIn(from)
  const hosts = Object.keys(flying)
  if (stop === undefined || (hosts.length === 0 && local === null)) return null
  // What cannot be told can be no step either: whether it was stopped nobody could say.
  if ([...Object.values(flying), local ?? ''].some(what => what.startsWith(UNTOLD))) return null
  const links = Object.entries(statesOf(from)).map(([name, state]) => [name, 'link' in state ? state.link : null])
  const args: HaltArgs = { do: 'halt', hosts, links: Object.fromEntries(links) }
  const where = local === null ? hosts.slice(0, 3).join(', ') : 'this machine'
  const more = local === null && hosts.length > 3 ? ` and ${hosts.length - 3} more` : ''
  const step: Step = {
    id: `${fleet.component}/halt`,
    component: fleet.component,
    title: `stop the deployment under way on ${where}${more}`,
    args,
    limitMs: fleet.config.limits.stop + WAY_MS + fleet.config.limits.connect * 2,
    retries: 0,
    estimateMs: 2_000,
    onUnknown: 'ask',
  }
  const there = Object.entries(flying).map(([host, what]) => flightText(what, host))
  return { step, settles: local === null ? there : [...there, flightText(local, null)] }
}

export function isHalt(step: Step): boolean {
  return haltArgs.safeParse(step.args).success
}

/** Stops it wherever it is, waits until it is gone, and sees that no host was given another release meanwhile. */
export async function halt(fleet: Fleet, step: Step, act: StepAct): Promise<void> {
  const args = haltArgs.parse(step.args)
  const { stop, on } = wordsOf(fleet.config.inFlight)
  if (stop === undefined) throw unsaid(fleet)
  act.signal.throwIfAborted()
  act.guard()
  if (on === 'here') await stopHere(fleet, stop, act)
  else {
    const wanted = fleet.hosts.filter(host => args.hosts.includes(host.name))
    await eachHost(wanted, fleet.config.concurrency, host => stopOn(fleet, host, stop, act))
  }
  const until = performance.now() + fleet.config.limits.stop
  for (;;) {
    const { is, why } = await haltVerdict(fleet, step, act)
    if (is === 'done') return
    if (is === 'unknown' || performance.now() > until) throw goesOn(fleet, why)
    const moved = why.startsWith(MOVED)
    if (moved) throw movedOn(fleet, why)
    act.progress({ text: why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

async function stopHere(fleet: Fleet, stop: readonly Text[], act: StepAct): Promise<void> {
  if ((await flightHere(fleet, act.signal)) === null) return
  const { code, stderr } = await here(fleet, stop, fleet.config.limits.stop, act.signal, act.idem)
  if (code !== 0) throw refused(fleet, 'this machine', `exit code ${code}`, stderr)
}

async function stopOn(fleet: Fleet, host: Host, stop: readonly Text[], act: StepAct): Promise<void> {
  const script = haltScript(fleet, host, act.idem, stop)
  const result = await host.runner.run(scriptCommand(script, fleet.config.limits.stop, act.idem), act.signal)
  const failed = facts(host, result.stdout, result.stderr).find(([word]) => word === 'fail')
  if (failed !== undefined) throw refused(fleet, host.name, failed[1], result.stderr)
}

const MOVED = 'moved: '

/** Asks every host: is anything under way still, and does each link lead where it led. */
export async function haltVerdict(fleet: Fleet, step: Step, act: StepAct): Promise<Verdict> {
  const args = haltArgs.parse(step.args)
  const local = await flightHere(fleet, act.signal)
  if (local !== null) return { is: 'not-done', why: `${flightText(local, null)} goes on` }
  const views = await eachHost(fleet.hosts, fleet.config.concurrency, host => look(fleet, host, act.signal, []))
  const busy = views.find(view => view.alive.some(a => a.scope === 'halt'))
  if (busy !== undefined) return { is: 'running', why: `its stop command is still at work on ${busy.host}` }
  const flies = views.find(view => view.inFlight !== null)
  if (flies !== undefined) return { is: 'not-done', why: `${flightText(flies.inFlight ?? '', flies.host)} goes on` }
  const silent = views.find(view => view.silent !== null && args.hosts.includes(view.host))
  if (silent !== undefined) return { is: 'unknown', why: `${silent.host} does not answer: ${silent.silent?.why}` }
  const moved = views.filter(view => view.silent === null && movedAway(view, args)).map(v => `${v.host} to ${v.link}`)
  if (moved.length > 0) return { is: 'not-done', why: `${MOVED}the link of ${moved.join(', ')}` }
  return { is: 'done', why: 'no deployment is under way' }
}

/** A host that did not answer when the plan was made has no link there. */
function movedAway(view: HostView, { links }: HaltArgs): boolean {
  const then = links[view.host]
  return then != null && view.link !== then
}

function unsaid({ component }: Fleet): BackoutError {
  return new BackoutError({
    code: 'settings_changed',
    what: `The settings of ${component} no longer say how a deployment is stopped, which the plan was made with`,
    next: 'put `inFlight.stop` back, or make a new plan',
    exit: 'moved',
  })
}

function refused({ component }: Fleet, where: string, detail: string, stderr: string): BackoutError {
  return new BackoutError({
    code: 'command_failed',
    what: `The deployment of ${component} on ${where} could not be stopped: \`inFlight.stop\` failed (${detail})`,
    cause: redact(stderr.trim().slice(-1_000)) || undefined,
    next: 'stop it by hand, then resume',
    exit: 'failed',
  })
}

function goesOn({ component }: Fleet, why: string): BackoutError {
  return new BackoutError({
    code: 'still_deploying',
    what: `A deployment of ${component} cannot be said to have stopped`,
    cause: why,
    next: 'end it by hand, where it runs, then resume',
    exit: 'failed',
  })
}

function movedOn({ component }: Fleet, why: string): BackoutError {
  return new BackoutError({
    code: 'link_moved',
    what: `The deployment of ${component} was stopped, and had given hosts another release since the plan was made`,
    cause: why,
    next: PLAN_ANEW,
    exit: 'moved',
  })
}
