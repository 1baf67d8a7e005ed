import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { redact } from '../../core/secret.ts'
import { fileVerdict } from './files.ts'
import type { Host } from './host.ts'
import { type Container, look, type View } from './look.ts'
import { runs } from './observe.ts'
import { staleOf } from './stale.ts'
import { argsOf, type UpArgs } from './steps.ts'

export async function verify(host: Host, step: Step, act: StepAct): Promise<Verdict> {
  const args = argsOf(step)
  const view = await look(host, act.signal, act.idem)
  if (view.alive !== null) return { is: 'running', why: `process ${view.alive} on ${host.config.host} is still at it` }
  if (args.do === 'write') return fileVerdict(view, args, act)
  if (args.do === 'stop') {
    const left = view.containers.filter(c => args.services.includes(c.service) && !ended(c))
    if (left.length === 0) return { is: 'done', why: 'none of its containers runs' }
    return { is: 'not-done', why: `${left.length} of its containers run` }
  }
  return upVerdict(host, args, view, { before: beforeOf(act.handle), signal: act.signal })
}

export function ended({ state }: Container): boolean {
  return state.Status === 'exited' || state.Status === 'dead' || state.Status === 'created'
}

/** Told by the containers: the image that they were made from, how long they have run, what their health checks say. */
export async function upVerdict(host: Host, args: UpArgs, view: View, { before, signal }: Known): Promise<Verdict> {
  const verdicts = args.services.map(service => serviceVerdict(host, service, view))
  const first = (is: Verdict['is']) => verdicts.find(v => v.is === is)
  const wrong = first('not-done')
  if (wrong !== undefined) return wrong
  const orphans = view.containers.filter(c => args.orphans.includes(c.service) && !ended(c))
  if (orphans.length > 0) return { is: 'not-done', why: `${orphans[0]?.service} still runs` }
  if (args.force && !madeAnew(args, view, before))
    return { is: 'not-done', why: 'its containers are not made anew yet' }
  const stale = args.hashes ? await staleBy(host, args, view, signal) : []
  if (stale.length > 0)
    return { is: 'not-done', why: `${stale.join(', ')}: made from other settings than the files have` }
  return (
    first('running') ?? {
      is: 'done',
      why: `${args.services.map(s => s.name).join(', ') || 'nothing'}: as the release had it`,
    }
  )
}

interface Known {
  /** Ids of the containers that were there when the step began; null: it never did. */
  readonly before: readonly string[] | null
  readonly signal: AbortSignal
}

/** What a step that makes containers anew kept about the old ones. */
export function beforeOf(handle: StepAct['handle']): readonly string[] | null {
  return (handle as { before: readonly string[] } | null)?.before ?? null
}

/** None of the containers is left that were there when the step began; without its word nothing was begun. */
function madeAnew(args: UpArgs, { containers }: View, before: Known['before']): boolean {
  if (before === null) return false
  return !containers.some(c => args.services.some(s => s.name === c.service) && before.includes(c.id))
}

/** Of the services that a step brings up. */
export function staleBy(
  host: Host,
  { files, services }: Pick<UpArgs, 'files' | 'services'>,
  { containers }: View,
  signal: AbortSignal,
): Promise<string[]> {
  const cared = containers.filter(c => runs(c) && services.some(s => s.name === c.service))
  return staleOf(host, files, cared, signal)
}

export function serviceVerdict(host: Host, { name, ref, id, count }: UpArgs['services'][number], view: View): Verdict {
  const all = view.containers.filter(c => c.service === name)
  const old = all.find(c => !ended(c) && c.image !== id)
  if (old !== undefined) return { is: 'not-done', why: `${name} runs another image (${old.ref})` }
  const restarting = all.find(c => c.state.Status === 'restarting')
  if (restarting !== undefined)
    return { is: 'not-done', why: `${name} dies again and again (${lastWords(restarting)})` }
  const up = all.filter(runs)
  if (up.length < count) {
    const dead = all.find(ended)
    return {
      is: 'not-done',
      why: `${up.length} of ${count} containers of ${name} run ${ref}${dead === undefined ? '' : ` (${lastWords(dead)})`}`,
    }
  }
  if (up.length > count) return { is: 'not-done', why: `${up.length} containers of ${name} run, and not ${count}` }
  const waiting = up.map(c => unready(host, c, view.now)).find(v => v !== null)
  return waiting ?? { is: 'done', why: `${name} runs ${ref}` }
}

/** Why a container that runs cannot be believed yet; null: it can. */
function unready(host: Host, c: Container, now: number): Verdict | null {
  const { settle, up } = host.config.limits
  const age = now - Date.parse(c.state.StartedAt)
  const health = c.state.Health?.Status ?? 'none'
  if (health === 'unhealthy') return { is: 'not-done', why: `${c.service} is unhealthy: ${lastWords(c)}` }
  if (health === 'starting') {
    const why = `the health check of ${c.service} has not passed yet`
    // Not for ever: what does not become healthy in its time has failed.
    return age > up
      ? { is: 'not-done', why: `${why} after ${Math.round(age / 1000)} s: ${lastWords(c)}` }
      : { is: 'running', why }
  }
  return age < settle
    ? { is: 'running', why: `${c.service} has run for ${Math.max(0, Math.round(age / 1000))} s` }
    : null
}

export function lastWords({ state }: Container): string {
  const said = state.Health?.Log?.at(-1)?.Output.trim() || state.Error?.trim() || ''
  return redact(said === '' ? `exit code ${state.ExitCode}` : said.slice(-300))
}
