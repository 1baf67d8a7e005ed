import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError, messageOf, PLAN_ANEW } from '../../core/errors.ts'
import { redact, reveal } from '../../core/secret.ts'
import { runLocal } from '../../exec/local.ts'
import { type Fleet, fill, type Host, type Unit } from './fleet.ts'
import { type HostView, look, releaseOf, scriptCommand, type UnitView } from './look.ts'
import { SAFE_NAME, serviceScript } from './scripts.ts'
import { factsOfStep, lastSeen, thenLook } from './seen.ts'
import { argsOf, limitOf, type StepArgs, type SwitchArgs, type UnitArgs } from './steps.ts'
import { switchScript } from './switch-script.ts'

export function hostOf(fleet: Fleet, name: string): Host {
  const host = fleet.hosts.find(h => h.name === name)
  if (host !== undefined) return host
  throw new BackoutError({
    code: 'host_unknown',
    what: `The plan has steps for ${name}, which is not among the hosts of ${fleet.component}`,
    next: 'put it back into `hosts`, or plan again',
    exit: 'moved',
  })
}

function unitOf(host: Host, label: string): Unit {
  const unit = host.units.find(u => u.label === label)
  if (unit !== undefined) return unit
  throw new BackoutError({
    code: 'host_unknown',
    what: `The plan has steps for ${label} on ${host.name}, which the settings do not have`,
    next: 'put it back into `instances`, or plan again',
    exit: 'moved',
  })
}

/**
 * Runs a step's script on its host, and asks it what it is then: one command there and back. Throws what the script says,
 * or that it did not answer.
 */
export async function apply(fleet: Fleet, step: Step, act: StepAct): Promise<void> {
  const args = argsOf(step)
  const host = hostOf(fleet, args.host)
  const units = unitsAsked(fleet, host, args)
  const script = thenLook(fleet, host, units, scriptOf(fleet, host, args, act))
  act.signal.throwIfAborted()
  act.guard()
  const command = scriptCommand(script, limitOf(fleet, args.do) + fleet.config.limits.status, act.idem)
  const result = await host.runner.run(command, act.signal)
  const failed = factsOfStep(fleet, host, units, act.idem, result).find(([word]) => word === 'fail')
  if (failed !== undefined) throw refusal(fleet, args, failed[1], result.stderr)
}

function scriptOf(fleet: Fleet, host: Host, args: StepArgs, { idem, release = '' }: StepAct): string {
  // A word of a line: what is none is no name either.
  const towards = SAFE_NAME.test(release) ? release : ''
  if (args.do === 'switch') return switchScript(fleet, host, idem, { ...args, towards })
  return serviceScript(fleet, host, idem, { ...args, unit: unitOf(host, args.label) })
}

function refusal(fleet: Fleet, args: StepArgs, said: string, stderr: string): BackoutError {
  const [code = 'failed', ...rest] = said.split(' ')
  const detail = rest.join(' ')
  const where = args.do !== 'switch' && args.label !== 'main' ? `${args.host}.${args.label}` : args.host
  const { limits, manifest } = fleet.config
  const known: Record<string, [string, string]> = {
    busy: [
      `Another step is still at work on ${where} (${detail})`,
      'wait until it has ended; its process is on that host',
    ],
    not_writable: [`${detail} on ${where} cannot be written`, writable(stderr)],
    release_gone: [
      `${args.release} is gone from ${where}: ${detail}`,
      'put it back from the artefact store, then resume',
    ],
    artefact_altered: [
      `Files of ${args.release} on ${where} are not what was captured: ${detail}`,
      `deploy ${args.release} again from the artefact store (${manifest} tells what belongs to it), then resume`,
    ],
    not_a_link: [`${detail} on ${where} is not a symbolic link`, 'put a link to a release folder in its place'],
    link_moved: [
      `Somebody else moved the link on ${where}: it leads to ${detail || 'nothing'} now`,
      `find out who deploys there, then ${PLAN_ANEW}`,
    ],
    not_running: [
      `The service on ${where} did not run within ${limits.start} ms (its status is ${detail})`,
      'look at its own log; the start command alone is not believed',
    ],
    not_stable: [
      `The service on ${where} ran, and within ${limits.settle} ms it was ${detail} again`,
      'look at its own log: it dies after its start',
    ],
    still_running: [
      `The service on ${where} still ran after ${limits.stop} ms (its status is ${detail})`,
      'stop it by hand, then resume',
    ],
    wrong_version: [
      `The service on ${where} says version "${detail}", and ${versionOf(args)} is wanted`,
      'look at what it runs: a restart that did nothing, or another folder',
    ],
    status_unknown: [
      `The status command on ${where} ended with ${detail}: neither 0 (running) nor 3 (stopped)`,
      'make the status command say 0 or 3',
    ],
    command_failed: [`A command on ${where} failed: ${detail}`, failing(stderr)],
  }
  const [what, next] = known[code] ?? [`${where}: ${said}`, 'look at the host']
  const cause = redact(stderr.trim().slice(-1_000)) || undefined
  return new BackoutError({ code, what, cause, next, exit: 'failed' })
}

function writable(stderr: string): string {
  if (/No space left|quota exceeded/i.test(stderr)) return 'free space on that host, then resume'
  if (/Read-only file system/i.test(stderr)) return 'its disk is mounted read-only: look at the disk, then resume'
  return 'give the user who deploys the right to write there'
}

function failing(stderr: string): string {
  if (!/\bsudo: |not allowed to execute|is not in the sudoers/.test(stderr)) {
    return 'run it by hand there, in the folder of the link'
  }
  return 'let the user who deploys run it there without a password (NOPASSWD in /etc/sudoers.d), then resume'
}

function versionOf(args: StepArgs): string {
  return args.version ?? args.release
}

function unitsAsked(fleet: Fleet, host: Host, args: StepArgs): readonly Unit[] {
  if (args.do !== 'switch') return [unitOf(host, args.label)]
  return fleet.config.service === undefined ? host.units : []
}

/** Asks the host what became of a step: right after it was applied, what it said then. */
export async function verify(fleet: Fleet, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  const host = hostOf(fleet, args.host)
  const view = lastSeen(fleet, act.idem) ?? (await look(fleet, host, act.signal, unitsAsked(fleet, host, args)))
  if (view.silent !== null) return { is: 'unknown', why: `${host.name} does not answer: ${view.silent.why}` }
  const scope = args.do === 'switch' ? 'switch' : `unit.${args.label}`
  const busy = view.alive.find(a => a.scope === scope)
  if (busy !== undefined)
    return { is: 'running', why: `${busy.idem} is still at it (process ${busy.pid} on ${host.name})` }
  return args.do === 'switch' ? switched(fleet, view, args, act.idem) : unitVerdict(view, args, act.idem)
}

function switched(fleet: Fleet, view: HostView, args: SwitchArgs, idem: string): Verdict {
  if (view.link === null || (args.to !== null && view.link !== args.to))
    return { is: 'not-done', why: `the link leads to ${view.link ?? 'nothing'}` }
  if (!view.there) return { is: 'not-done', why: 'the link leads to a folder that is not there' }
  const held = releaseOf(fleet, view)
  if (held !== args.release) return { is: 'not-done', why: `${view.link} holds ${held ?? 'nothing'}` }
  // What is served is what was loaded last, which the link alone does not say.
  if (fleet.config.reload !== undefined && view.reload.did !== idem) {
    return { is: 'not-done', why: `the link leads to ${view.link}, and this step did not see \`reload\` end well` }
  }
  const serviceless = fleet.config.service === undefined
  const wrong = serviceless && args.version !== null && Object.values(view.units).some(u => u.version !== args.version)
  return wrong
    ? { is: 'not-done', why: 'another version is served' }
    : { is: 'done', why: `the link leads to ${view.link}` }
}

function unitVerdict(view: HostView, args: UnitArgs, idem: string): Verdict {
  const unit = view.units[args.label]
  if (unit === undefined || unit.is === 'unknown') {
    return { is: 'unknown', why: `its status command ended with ${unit?.code ?? 'nothing'}, neither 0 nor 3` }
  }
  if (unit.is === 'busy') return { is: 'running', why: 'the service is on its way up or down' }
  if (args.do === 'stop') {
    return unit.is === 'stopped' ? { is: 'done', why: 'it is stopped' } : { is: 'not-done', why: 'it runs' }
  }
  return runs(unit, args, idem)
}

function runs(unit: UnitView, args: UnitArgs, idem: string): Verdict {
  if (unit.is === 'stopped') return { is: 'not-done', why: 'it does not run' }
  if (args.version !== null && unit.version !== args.version) {
    return { is: 'not-done', why: `it says version ${unit.version ?? 'nothing'}` }
  }
  if (unit.stale === args.release) return { is: 'not-done', why: 'it runs since before the switch' }
  if (unit.did !== idem) return { is: 'not-done', why: `this step did not see it ${args.do} and stay up` }
  return { is: 'done', why: `it runs ${unit.version ?? args.release}` }
}

/** Takes a host out of traffic with the command of the settings, on this machine. */
export async function fence(fleet: Fleet, step: Step, act: StepAct): Promise<void> {
  const { host: name } = argsOf(step)
  const host = hostOf(fleet, name)
  const words = fleet.config.fence
  if (words === undefined) {
    throw new BackoutError({
      code: 'fence_missing',
      what: `${name} must be kept away from users, and there is no command for it`,
      next: `take ${name} out of the load balancer by hand; set \`fence:\` so that Backout can`,
      exit: 'failed',
    })
  }
  act.signal.throwIfAborted()
  act.guard()
  const argv = words.map(word => fill(reveal(word), host, null))
  const result = await runLocal({ argv, limitMs: 60_000, idem: act.idem }, act.signal).catch((error: unknown) => {
    throw notFenced(name, messageOf(error))
  })
  if (result.code !== 0) throw notFenced(name, `exit code ${result.code}: ${redact(result.stderr.trim().slice(-500))}`)
}

function notFenced(name: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'fence_failed',
    what: `${name} could not be fenced: it may serve users a version that nobody knows`,
    cause,
    next: `take ${name} out of the load balancer by hand`,
    exit: 'failed',
  })
}
