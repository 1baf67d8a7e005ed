import { systemClock } from '../../core/clock.ts'
import type { Adapter, Observation, OpenContext, Step, StepAct, Target, Verdict } from '../../core/contract.ts'
import { NOTHING } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { unknownFor } from '../../core/unheard.ts'
import { type Config, config, type Pin, pin, type Servers, servers } from './config.ts'
import { type Args, propose } from './propose.ts'
import { Runtime, type Server } from './runtime.ts'
import { awayFrom, backWith, commands, described, missing, parts } from './weights.ts'

/** HAProxy through its runtime API: server states and weights of one backend. */
export const haproxy: Adapter<Config, Pin> = {
  kind: 'haproxy',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => target(settings, ctx),
}

const POLL_MS = 100
const CUT_MS = 2000

type All = ReadonlyMap<string, Server>

function target(config: Config, { component, baseDir }: OpenContext): Target<Pin> {
  const runtime = new Runtime(config, baseDir)
  const identify = async (signal: AbortSignal) =>
    `haproxy:${await runtime.node(signal)}:${config.socket}/${config.backend}`
  return {
    rungs: [{ id: 'weights', tier: 'platform', title: 'put the server states and weights of the release back' }],
    serves: ['drained'],
    async observe(signal): Promise<Observation> {
      const identity = await identify(signal)
      const all = await runtime.servers(signal)
      const now = caredFor(config, all)
      const detail = Object.fromEntries([...all].map(([name, { up, open }]) => [name, { up, open }]))
      const down = Object.keys(now).filter(name => all.get(name)?.up === false && now[name]?.admin === 'ready')
      const health = down.length === 0 ? '' : `; ${down.join(', ')} down by health check`
      return { identity, state: { servers: now }, detail, summary: described(now) + health, inFlight: [] }
    },
    capture: async ({ identity, state }) => pin.parse({ identity, servers: (state as { servers: unknown }).servers }),
    async propose(question) {
      const { from, to, signal } = question
      if (to.identity === from.identity) {
        const now = servers.parse((from.state as { servers: unknown }).servers)
        return propose(config, component, { now, all: await runtime.servers(signal) }, question)
      }
      const what = `The pin of ${component} belongs to another HAProxy or backend: ${to.identity}, not ${from.identity}`
      const remedy = 'go back to a release captured on this one, or correct `socket` and `backend`'
      return { ...NOTHING, findings: [{ level: 'blocker', code: 'other_identity', component, what, remedy }] }
    },
    async apply(step, act) {
      await put(runtime, config, step.args as Args, act)
      if ((step.args as Args).wait) await drain(runtime, config, act)
    },
    verify: (step, act) => verify(runtime, config, step, act),
    [Symbol.asyncDispose]: async () => {},
  }
}

function liveOf({ servers, maintenance }: Config, all: All): string[] {
  return servers ?? [...all.keys()].filter(name => name !== maintenance)
}

/** The live servers and the maintenance server, as they are told to be. */
function caredFor(config: Config, all: All): Servers {
  const { backend, maintenance } = config
  const names = [...liveOf(config, all), ...(maintenance === undefined ? [] : [maintenance])]
  const states = names.map(name => {
    const server = all.get(name)
    if (server !== undefined) return [name, { admin: server.admin, weight: server.weight }]
    throw new BackoutError({
      code: 'no_such_server',
      what: `HAProxy on ${config.socket} has no server ${name} in the backend ${backend}`,
      cause: `it has ${[...all.keys()].join(', ') || 'none'}`,
      next: 'correct `servers` and `maintenance` in the settings',
      exit: 'usage',
    })
  })
  return Object.fromEntries(states) as Servers
}

/** The API has no compare-and-set: what is there is read, and compared with what may be there, right before writing. */
async function put(runtime: Runtime, config: Config, args: Args, act: StepAct): Promise<void> {
  const { found } = args
  const now = await runtime.servers(act.signal)
  const goal = goalOf(config, args, now)
  // What takes users to safety is not kept from it by what somebody did to one server.
  const known = Object.keys(args.goal).filter(name => goal[name] !== undefined)
  for (const name of args.away === 'safe' ? [] : known) {
    const admin = now.get(name)?.admin
    if (admin === undefined || !(found[name] ?? []).includes(admin)) throw moved(config, name, admin)
  }
  for (const command of commands(config.backend, now, goal)) {
    act.signal.throwIfAborted()
    act.guard()
    await runtime.tell(command, act.signal)
  }
  const after = await runtime.servers(act.signal)
  const wrong = missing(after, goalOf(config, args, after))
  if (wrong.length === 0) return tellLeftOut(config, args, after, act)
  throw new BackoutError({
    code: 'haproxy_not_taken',
    what: `HAProxy on ${config.socket} did not keep what it was told for ${config.backend}`,
    cause: wrong.join('; '),
    next: 'find out who else writes to it (an agent check, a controller, another operator), stop that, then go on',
    exit: 'failed',
  })
}

function goalOf(config: Config, { goal, away, found }: Args, now: All): Servers {
  return away === null ? backWith(config, now, goal, found) : awayFrom(config, now, goal, away === 'safe')
}

/** What is not as the step would have it, and was not to be changed. */
async function tellLeftOut(config: Config, args: Args, now: All, act: StepAct): Promise<void> {
  const { backend, maintenance } = config
  const kept = goalOf(config, args, now)
  const out = Object.keys(args.goal).filter(name => kept[name] === undefined)
  if (args.away === null && out.length > 0) {
    const text = `${out.join(', ')} of ${backend} stays in maintenance: this run did not put it there (it was fenced, or taken out by hand)`
    await act.tell({ kind: 'side-effect', text, data: { servers: out } })
  }
  if (maintenance !== undefined && out.includes(maintenance)) {
    const text = `The maintenance server ${backend}/${maintenance} is gone: users who are kept from live servers get HAProxy's own 503`
    await act.tell({ kind: 'side-effect', text })
  }
}

function moved({ backend }: Config, name: string, admin: string | undefined): BackoutError {
  return new BackoutError({
    code: 'server_moved',
    what: `The server ${backend}/${name} is ${admin === undefined ? 'gone' : `in state ${admin}`}, which this run did not do`,
    cause: 'somebody else changed it after the plan was made',
    next: 'find out why; put it back or make a new plan',
    exit: 'moved',
  })
}

async function openRequests(runtime: Runtime, config: Config, signal: AbortSignal) {
  const all = await runtime.servers(signal)
  const busy = liveOf(config, all).filter(name => (all.get(name)?.open ?? 0) > 0)
  return { busy, open: busy.reduce((sum, name) => sum + (all.get(name)?.open ?? 0), 0) }
}

/** Waits for open requests; cuts or leaves those that stay longer than allowed, and tells of them. */
async function drain(runtime: Runtime, config: Config, act: StepAct): Promise<void> {
  if (await emptied(runtime, config, config.within, act)) return
  const { busy, open } = await openRequests(runtime, config, act.signal)
  const late = `${open} requests of ${busy.join(', ')} were still open after ${config.within / 1000} s`
  const data = { servers: busy, open }
  if (!config.shutdownSessions) {
    await act.note({ waited: config.within })
    return act.tell({ kind: 'side-effect', text: `${late}; what stops next will cut them`, data })
  }
  for (const name of busy) {
    act.signal.throwIfAborted()
    act.guard()
    await runtime.tell(`shutdown sessions server ${config.backend}/${name}`, act.signal)
  }
  await act.tell({ kind: 'side-effect', text: `${late} and were cut`, data })
  if (await emptied(runtime, config, CUT_MS, act)) return
  throw new BackoutError({
    code: 'requests_still_open',
    what: `Requests of ${config.backend} are still open after they were cut`,
    next: 'look at `show sess` in HAProxy; visitors tied by cookie or table come back: set `hold: maint`',
    exit: 'failed',
  })
}

async function emptied(runtime: Runtime, config: Config, ms: number, act: StepAct): Promise<boolean> {
  for (const until = performance.now() + ms; ; ) {
    const { open } = await openRequests(runtime, config, act.signal)
    if (open === 0) return true
    if (performance.now() > until) return false
    act.progress({ text: `${open} requests are still open` })
    await systemClock.sleep(POLL_MS, act.signal)
  }
}

async function verify(runtime: Runtime, config: Config, step: Step, act: StepAct): Promise<Verdict> {
  const args = step.args as Args
  const { wait, away } = args
  try {
    const now = await runtime.servers(act.signal)
    const goal = goalOf(config, args, now)
    const wrong = missing(now, goal)
    if (wrong.length > 0) return { is: 'not-done', why: wrong.join('; ') }
    const serving = Object.entries(parts(goal)).flatMap(([name, part]) => (part > 0 ? [name] : []))
    const down = serving.length > 0 && serving.every(name => now.get(name)?.up === false)
    // Its checks may not have seen yet that it is there again.
    if (down && away === null) return { is: 'running', why: `${serving.join(', ')} down by health check` }
    const { open } = await openRequests(runtime, config, act.signal)
    const page = down
      ? `, but ${serving.join(', ')} is down by health check: users get the error of HAProxy itself`
      : ''
    const why = `HAProxy has ${described(goal)}${page}`
    if (!wait || open === 0) return { is: 'done', why }
    const waited = (act.handle as { waited?: number } | null)?.waited
    if (waited === undefined) return { is: 'not-done', why: `${why}, but ${open} requests are still open` }
    return { is: 'done', why: `${why}; ${open} requests were given ${waited / 1000} s and are still open` }
  } catch (error) {
    if (act.signal.aborted) throw act.signal.reason
    return unknownFor(error)
  }
}
