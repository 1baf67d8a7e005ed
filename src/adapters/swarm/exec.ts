import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ExecAct, ExecLeft, ExecResult } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { given, orNull } from './engine.ts'
import { inspect, lookAtServices, lookAtSwarm, type View } from './look.ts'
import { imageLeft, type Site } from './site.ts'
import { identityOf, isJob, STEP } from './spec.ts'
import type { Service, Spec, Task } from './types.ts'

const LOOK_MS = 250
const LIMIT_MS = 600_000

/**
 * Runs a command in a job of its own, made from the image of a release, with the variables, secrets, configs and networks of
 * the service: wherever Swarm puts it. `from` is BACKOUT_FROM of the environment; else what the rollback left; else what the
 * service has. `to` is BACKOUT_TO. Throws `exec_release_unknown`, `exec_orphan`, `command_timed_out`.
 */
export async function exec(
  site: Site,
  side: 'from' | 'to',
  argv: readonly string[],
  act: ExecAct,
): Promise<ExecResult> {
  const service = await serviceOf(site, act.signal)
  const image =
    act.env?.[side === 'from' ? 'BACKOUT_FROM' : 'BACKOUT_TO'] ??
    (side === 'from' ? imageLeft(site, service, act) : undefined)
  if (image === undefined) throw unknown(site, side)
  const name = nameOf(act.idem)
  await refuseOrphan(site, name, act.signal)
  act.signal.throwIfAborted()
  act.guard()
  const spec = jobOf(service.Spec, { name, image, argv, env: act.env ?? {}, idem: act.idem })
  await site.engine.ask(`to begin the job ${name}`, (docker, o) => docker.createService(given(spec, o)), act.signal)
  try {
    const task = await ended(site, name, act)
    return { code: exitOf(task), ...(await outputOf(site, name, task, act.signal)) }
  } finally {
    // Whatever became of it, nothing of it stays; asked for even where the signal aborted.
    const late = AbortSignal.timeout(site.config.limits.answer)
    await orNull(site.engine.ask(`to remove the job ${name}`, (docker, o) => docker.getService(name).remove(o), late))
  }
}

function nameOf(idem: string): string {
  return `backout-${createHash('sha256').update(idem).digest('hex').slice(0, 16)}`
}

export async function execLeft(site: Site, idem: string, signal: AbortSignal): Promise<ExecLeft | null> {
  const name = nameOf(idem)
  if ((await inspect(site, name, signal)) === null) return null
  const over = (await tasksOf(site, name, signal)).find(task => OVER.has(task.Status.State))
  // Its node is not heard of any more: what runs there may go on.
  if (over?.Status.State === 'orphaned') throw orphaned(name, over)
  const code = over === undefined ? null : exitOf(over)
  return { what: `the job ${name}`, alive: over === undefined, code, endedBy: `docker service rm ${name}` }
}

function orphaned(name: string, { NodeID: node }: Task): BackoutError {
  return new BackoutError({
    code: 'exec_untold',
    what: `The job ${name} was on the node ${node ?? 'that it had'}, which the swarm has lost: whether it is still at work nobody can tell`,
    next: 'see whether that node runs it (`docker ps`), then resolve the step by hand',
    exit: 'failed',
  })
}

async function serviceOf(site: Site, signal: AbortSignal): Promise<Service> {
  const views = await lookAtServices(site, await lookAtSwarm(site, signal), signal)
  const unclear = execUnclear(site, views)
  if (unclear.length > 1) {
    throw new BackoutError({
      code: 'exec_unclear',
      what: `The services of ${site.component} have different images, and nobody says which one a command is to run in`,
      next: nameOne(unclear),
      exit: 'failed',
    })
  }
  const [first] = [...views.values()].filter(v => !isJob(v.service.Spec))
  const name = site.config.exec ?? site.config.services?.[0] ?? first?.service.Spec.Name
  const view = name === undefined ? undefined : views.get(name)
  if (view !== undefined) return view.service
  throw new BackoutError({
    code: 'exec_release_unknown',
    what: `There is no service ${name ?? ''} of ${site.component} whose settings a command could run with`,
    next: 'name a service that is there in `exec`',
    exit: 'failed',
  })
}

/** Names of services of a stack of which nobody says whose image a command is to run in; empty: it is clear. */
export function execUnclear({ config }: Site, views: ReadonlyMap<string, View>): string[] {
  if (config.exec !== undefined || config.services !== undefined) return []
  const services = [...views.values()].filter(v => !isJob(v.service.Spec))
  const images = new Set(services.map(v => identityOf(v.image)))
  return images.size < 2 ? [] : services.map(v => v.service.Spec.Name)
}

export function nameOne(services: readonly string[]): string {
  return `name one of them in \`exec\`: ${services.join(', ')}`
}

interface Job {
  readonly name: string
  readonly image: string
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly idem: string
}

function jobOf(spec: Spec, { name, image, argv, env, idem }: Job): Spec {
  const { ContainerSpec: container, ...template } = spec.TaskTemplate
  const { Healthcheck: _, Args: __, ...rest } = container
  const more = Object.entries(env).map(([key, value]) => `${key}=${value}`)
  const [program = '', ...words] = argv
  return {
    Name: name,
    // No label of a stack: it is none of its services.
    Labels: { [STEP]: idem },
    TaskTemplate: {
      ...template,
      ContainerSpec: {
        ...rest,
        Image: image,
        Command: [program],
        Args: words,
        Env: [...(container.Env ?? []), ...more],
      },
      RestartPolicy: { Condition: 'none', MaxAttempts: 0 },
      Placement: {
        ...template.Placement,
        Constraints: (template.Placement?.Constraints ?? []).filter(c => !c.includes('stopped-by-backout')),
      },
      ForceUpdate: 0,
    },
    Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } },
  }
}

async function refuseOrphan(site: Site, name: string, signal: AbortSignal): Promise<void> {
  if ((await inspect(site, name, signal)) === null) return
  throw new BackoutError({
    code: 'exec_orphan',
    what: `A job that this step began earlier is still there: the service ${name}`,
    next: `wait until \`docker service ps ${name}\` shows its end, then \`docker service rm ${name}\`, and resume`,
    exit: 'failed',
  })
}

const OVER = new Set(['complete', 'failed', 'rejected', 'shutdown', 'orphaned'])

async function tasksOf(site: Site, name: string, signal: AbortSignal): Promise<Task[]> {
  const filters = { service: [name] }
  return site.engine.ask<Task[]>('the job', (docker, o) => docker.listTasks(given({ filters }, o)), signal)
}

async function ended(site: Site, name: string, act: ExecAct): Promise<Task> {
  const limitMs = act.limitMs ?? LIMIT_MS
  const until = performance.now() + limitMs
  for (;;) {
    const tasks = await tasksOf(site, name, act.signal)
    const over = tasks.find(task => OVER.has(task.Status.State))
    if (over !== undefined) return over
    if (performance.now() > until) {
      throw new BackoutError({
        code: 'command_timed_out',
        what: `The job ${name} did not end within ${limitMs} ms and was removed`,
        cause:
          tasks.map(task => `${task.Status.State}: ${task.Status.Err ?? task.Status.Message ?? ''}`).join('\n') ||
          undefined,
        next: 'raise its time limit, or find out what it waits for',
        exit: 'failed',
      })
    }
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

function exitOf(task: Task): number {
  const code = task.Status.ContainerStatus?.ExitCode ?? 0
  return task.Status.State === 'complete' ? code : code === 0 ? 125 : code
}

/** What it printed. Swarm's frames: one byte which output, three of nothing, four how long. */
async function outputOf(
  site: Site,
  name: string,
  task: Task,
  signal: AbortSignal,
): Promise<{ stdout: string; stderr: string }> {
  const options = { stdout: true, stderr: true, follow: false }
  const raw = await site.engine.ask<Buffer>(
    `what the job ${name} printed`,
    (docker, o) => docker.getService(name).logs(given(options, o)),
    signal,
  )
  const out: { 1: Buffer[]; 2: Buffer[] } = { 1: [], 2: [] }
  for (let at = 0; at + 8 <= raw.length; ) {
    const [kind, size] = [raw[at] === 2 ? 2 : 1, raw.readUInt32BE(at + 4)] as const
    out[kind].push(raw.subarray(at + 8, at + 8 + size))
    at += 8 + size
  }
  const [stdout, stderr] = [Buffer.concat(out[1]).toString('utf8'), Buffer.concat(out[2]).toString('utf8')]
  const why = task.Status.State === 'complete' ? '' : (task.Status.Err ?? '')
  return { stdout, stderr: [stderr, why].filter(Boolean).join('\n') }
}

function unknown(site: Site, side: 'from' | 'to'): BackoutError {
  return new BackoutError({
    code: 'exec_release_unknown',
    what: `Nobody says which image of ${site.component} the release has that is ${side === 'from' ? 'left' : 'gone back to'}`,
    next: `set BACKOUT_${side.toUpperCase()} to an image`,
    exit: 'failed',
  })
}
