import { z } from 'zod'
import type { ExecAct, ExecLeft, ExecResult } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { docker, type Host, run, said } from './host.ts'
import { withoutJobs } from './jobs.ts'
import { type Container, imageOf, look, type View } from './look.ts'
import { byService } from './observe.ts'
import { columns, unread } from './printed.ts'

const LIMIT_MS = 600_000

/**
 * Runs a command in a container of its own, made from the image of a release: with the variables, networks and volumes of the
 * service's container that is there. `from` is what that container was made from, until it is made anew; BACKOUT_FROM and
 * BACKOUT_TO of the environment name an image. Throws `exec_release_unknown`, `exec_orphan`, and what the runner throws.
 */
export async function exec(
  host: Host,
  side: 'from' | 'to',
  argv: readonly string[],
  act: ExecAct,
): Promise<ExecResult> {
  const container = await containerOf(host, act.signal)
  const named = act.env?.[side === 'from' ? 'BACKOUT_FROM' : 'BACKOUT_TO']
  const ref = named ?? (side === 'from' ? container.image : undefined)
  const image = ref === undefined ? null : await imageOf(host, ref, act.signal)
  if (image === null) throw unknown(host, side, ref)
  const name = `backout-${act.idem}`
  await refuseOrphan(host, name, act.signal)
  const env = { ...(await variablesOf(host, container, act.signal)), ...act.env }
  const [program = '', ...rest] = argv
  const network = await networkOf(host, container, act.signal)
  const made = ['--rm', '--name', name, '--volumes-from', container.id, '--network', network, '--entrypoint', program]
  // By name only: the values are in the environment of docker, where no process list shows them.
  const words = [...docker(host), 'run', ...made, ...Object.keys(env).flatMap(key => ['-e', key])]
  const limitMs = act.limitMs ?? LIMIT_MS
  act.signal.throwIfAborted()
  act.guard()
  try {
    return await run(host, { argv: [...words, image.id, ...rest], env, limitMs, idem: act.idem }, act.signal)
  } catch (error) {
    // The docker that was called is gone, and its container need not be.
    const late = AbortSignal.timeout(host.config.limits.stop)
    await run(host, { argv: [...docker(host), 'rm', '-f', name] }, late).catch(() => {})
    throw error
  }
}

/** Names of services of which nobody says whose image a command is to run in; empty: it is clear. */
export function execUnclear(host: Host, view: View): string[] {
  if (host.config.exec !== undefined) return []
  const { containers } = withoutJobs(host, view)
  if (new Set(containers.map(c => c.image)).size < 2) return []
  return [...byService(containers).keys()]
}

export function nameOne(services: readonly string[]): string {
  return `name one of them in \`exec\`: ${services.join(', ')}`
}

async function containerOf(host: Host, signal: AbortSignal): Promise<Container> {
  const view = await look(host, signal)
  const unclear = execUnclear(host, view)
  if (unclear.length > 1) {
    throw new BackoutError({
      code: 'exec_unclear',
      what: `The services at ${host.place} have different images, and nobody says which one a command is to run in`,
      next: nameOne(unclear),
      exit: 'failed',
    })
  }
  const { containers } = withoutJobs(host, view)
  const found = containers.find(c => host.config.exec === undefined || c.service === host.config.exec)
  if (found !== undefined) return found
  throw new BackoutError({
    code: 'exec_release_unknown',
    what: `There is no container of ${host.config.exec ?? 'any service'} at ${host.place} whose settings a command could run with`,
    next: 'name a service that is there in `exec`, or bring the project up',
    exit: 'failed',
  })
}

/** Docker removes it as soon as it ends, so that nobody can tell how. */
export async function execLeft(host: Host, idem: string, signal: AbortSignal): Promise<ExecLeft | null> {
  const name = `backout-${idem}`
  const state = await stateOf(host, name, signal)
  if (state === '') return null
  const alive = !['exited', 'dead'].includes(state)
  return { what: `the container ${name} at ${host.place}`, alive, code: null, endedBy: `docker rm -f ${name}` }
}

/** Empty: there is no such container. */
async function stateOf(host: Host, name: string, signal: AbortSignal): Promise<string> {
  const argv = [...docker(host), 'ps', '-a', '--filter', `name=^/${name}$`, '--format', '{{.State}}']
  return (await said(host, 'docker ps', { argv }, signal)).trim()
}

/** A container of the same step that a dead process left would do its work twice. */
async function refuseOrphan(host: Host, name: string, signal: AbortSignal): Promise<void> {
  if ((await stateOf(host, name, signal)) === '') return
  throw new BackoutError({
    code: 'exec_orphan',
    what: `A container that this step began earlier is still there: ${name} at ${host.place}`,
    next: `wait until it has ended, or end it: \`docker rm -f ${name}\`; then resume`,
    exit: 'failed',
  })
}

const environment = z.tuple([z.array(z.string()).nullable()])

async function variablesOf(host: Host, { id }: Container, signal: AbortSignal): Promise<Record<string, string>> {
  const argv = [...docker(host), 'inspect', '--format', '{{json .Config.Env}}', id]
  const printed = await said(host, 'docker inspect', { argv }, signal)
  const [lines] = columns(environment, printed) ?? []
  if (lines === undefined) throw unread(host, 'docker inspect', printed)
  const own = (lines ?? []).map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const)
  // What the image itself says of these stays: docker's own environment needs them.
  return Object.fromEntries(own.filter(([key]) => !['PATH', 'HOME', 'HOSTNAME'].includes(key)))
}

async function networkOf(host: Host, { id }: Container, signal: AbortSignal): Promise<string> {
  const argv = [...docker(host), 'inspect', '--format', '{{.HostConfig.NetworkMode}}', id]
  return (await said(host, 'docker inspect', { argv }, signal)).trim()
}

function unknown(host: Host, side: 'from' | 'to', ref: string | undefined): BackoutError {
  return new BackoutError({
    code: 'exec_release_unknown',
    what: `The image of the release that is ${side === 'from' ? 'left' : 'gone back to'}${ref === undefined ? '' : ` (${ref})`} is not at ${host.place}`,
    next: `set BACKOUT_${side.toUpperCase()} to an image that is there`,
    exit: 'failed',
  })
}
