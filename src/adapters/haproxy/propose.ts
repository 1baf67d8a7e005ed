import type { Finding, Node, Proposal, Question, Step } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { sameJson } from '../../core/json.ts'
import type { Config, Pin, ServerState, Servers } from './config.ts'
import type { Server } from './runtime.ts'
import { away, between, described, parts } from './weights.ts'

/** What a step needs besides the settings. */
export type Args = {
  goal: Servers
  /** Wait until no live server works on a request. */
  wait: boolean
  /** Users are to be away: servers that came since are held too. `safe`: and whoever was taken out by hand counts as held. */
  away: 'drain' | 'safe' | null
  /** In what administrative state a server may be found: in another one, somebody else put it there. */
  found: Record<string, ServerState['admin'][]>
}

/** What a proposal is made from: the servers cared for, and all of the backend. */
export interface Scene {
  readonly now: Servers
  readonly all: ReadonlyMap<string, Server>
}

export function propose(config: Config, component: string, { now, all }: Scene, question: Question<Pin>): Proposal {
  const { to: pin, needs, release, mode } = question
  const serves = needs.filter(need => need.what === 'drained')
  const left = question.left?.includes('drained') === true && !served(config, now, all)
  const goal = goalFor(config, now, pin.servers, left || serves.length > 0)
  const differs = !sameJson(now, goalFor(config, now, pin.servers, left))
  if (!differs && serves.length === 0) return { ...NOTHING, findings: outFindings(config, component, now, pin, goal) }
  const page = pageDown(config, component, all, mode)
  const wrong = [...gone(config, component, now, pin.servers), ...page.filter(f => f.level === 'blocker')]
  if (wrong.length > 0) return { ...NOTHING, findings: wrong }
  const safe = away(config, now)
  const start = serves.length > 0 ? safe : now
  const gradual = canShare(config, start, all)
  const percents = mode === 'emergency' || !gradual ? [100] : config.return
  const make = stepsOf(config, component, [now, safe, goal])
  const drain = serves.length === 0 ? [] : [make.drain(safe)]
  const back = comingBack(start, goal, percents).map(b =>
    ended(config, make.back(b.percent, b.goal, release), b.percent),
  )
  const retreat = make.away(safe)
  const settled = config.gate === undefined ? 0 : config.settle * back.length
  return {
    ...NOTHING,
    change: differs ? { from: described(now), to: described(goal) } : null,
    findings: [...page, ...remarks(config, component, { now, all }, { ...question, goal, left }, gradual)],
    impact: { ...NO_IMPACT, downtimeMs: drain.length === 0 ? 0 : sum([...drain, ...back]) + settled },
    serves,
    steps: [...drain, ...back, retreat],
    phases: {
      ...(drain.length === 0 ? {} : { drain: { seq: drain.map(step => ({ step: step.id })) } }),
      ...(back.length === 0 ? {} : { return: { seq: back.flatMap(step => watched(config, step, retreat)) } }),
    },
    safe: [retreat.id],
    omits:
      mode === 'emergency' && config.return.length > 1
        ? [`the gradual return of traffic (${config.return.join(', ')} %): ${component} gives it back in one step`]
        : [],
  }
}

/**
 * What comes back: the release's states. A server that was added since stays as it is, and so does one that is in maintenance
 * now, unless users are drained for others: those bring its host to the release, or fence it again. Where none would serve
 * then, nothing is left out: users of a release are served.
 */
function goalFor({ maintenance }: Config, now: Servers, pinned: Servers, drained: boolean): Servers {
  const added = Object.entries(now).filter(([name]) => pinned[name] === undefined)
  const out = Object.entries(now).filter(([name, state]) => !drained && isOut(state, pinned[name]))
  const whole = { ...pinned, ...Object.fromEntries(added) }
  const goal = { ...whole, ...Object.fromEntries(out) }
  const serves = (servers: Servers) => {
    return Object.entries(parts(servers)).some(([name, part]) => name !== maintenance && part > 0)
  }
  return serves(whole) && !serves(goal) ? whole : goal
}

function isOut(now: ServerState | undefined, pinned: ServerState | undefined): boolean {
  return now?.admin === 'maint' && pinned?.admin === 'ready'
}

/** Users are with live servers alone: whoever sent them away, somebody has brought them back since. */
function served({ maintenance }: Config, now: Servers, all: Scene['all']): boolean {
  const share = parts(now)
  const live = Object.keys(now).some(name => name !== maintenance && (share[name] ?? 0) > 0)
  const told = maintenance !== undefined && (share[maintenance] ?? 0) > 0 && all.get(maintenance)?.backup !== true
  return live && !told
}

/** A backup server cannot take a part of the traffic: it serves all of it, or none. */
function canShare({ maintenance }: Config, start: Servers, all: Scene['all']): boolean {
  const share = parts(start)
  const regular = Object.keys(start).filter(name => all.get(name)?.backup !== true)
  return (
    regular.some(name => (share[name] ?? 0) > 0) && (maintenance === undefined || all.get(maintenance)?.backup !== true)
  )
}

function comingBack(start: Servers, goal: Servers, percents: readonly number[]) {
  const stops: { percent: number; goal: Servers }[] = []
  let before = start
  for (const percent of percents) {
    const next = percent === 100 ? goal : between(start, goal, percent)
    if (!sameJson(before, next)) stops.push({ percent, goal: next })
    before = next
  }
  return stops
}

/** Of a server in maintenance nobody can tell later who put it there: the journal says whether it was a run that holds it. */
function begun({ hold }: Config, step: Step): Step {
  return hold === 'maint' ? { ...step, begins: 'drained' } : step
}

function ended({ hold }: Config, step: Step, percent: number): Step {
  return hold === 'maint' && percent === 100 ? { ...step, ends: 'drained' } : step
}

function watched(config: Config, step: Step, retreat: Step): Node[] {
  if (config.gate === undefined) return [{ step: step.id }]
  const onFail = { apply: [retreat.id], then: 'ask' as const }
  return [{ step: step.id }, { gate: config.gate, forMs: config.settle, onFail }]
}

function stepsOf(config: Config, component: string, known: readonly Servers[]) {
  const found: Args['found'] = {}
  for (const [name, state] of known.flatMap(servers => Object.entries(servers))) {
    const admins = (found[name] ??= [])
    if (!admins.includes(state.admin)) admins.push(state.admin)
  }
  const step = (id: string, title: string, goal: Servers, away: Args['away'] = null, wait = false): Step => ({
    id: `${component}/${id}`,
    component,
    title,
    args: { goal, wait, away, found } satisfies Args,
    limitMs: config.timeout * 8 + (wait ? config.within : 0) + 15_000,
    retries: 3,
    estimateMs: 300 + (wait ? Math.min(config.within, 3000) : 0),
    // Every step puts an absolute state there: twice is the same as once.
    onUnknown: 'repeat',
  })
  return {
    drain: (goal: Servers) => {
      const title = `send all users of ${component} to the maintenance page, and wait for open requests to end`
      return begun(config, step('drain', title, goal, 'drain', true))
    },
    back: (percent: number, goal: Servers, release: string) => {
      const what = percent === 100 ? `put the traffic of ${release} back` : `give ${percent} % of the traffic back`
      return step(`return/${percent}`, `${what}: ${described(goal)}`, goal)
    },
    away: (goal: Servers) => {
      return begun(config, step('away', `take all users of ${component} to the maintenance page again`, goal, 'safe'))
    },
  }
}

function gone({ backend }: Config, component: string, now: Servers, goal: Servers): Finding[] {
  const remedy = 'put it back into the configuration, or capture a release without it'
  return Object.keys(goal)
    .filter(name => now[name] === undefined)
    .map(name => {
      const what = `The server ${backend}/${name} of the release is not there any more`
      return { level: 'blocker', code: 'server_gone', component, what, remedy }
    })
}

/** Servers of the release that are in maintenance now: fenced by an earlier run, or taken out by hand. */
function outFindings(
  { backend, maintenance }: Config,
  component: string,
  now: Servers,
  pin: Pin,
  goal: Servers,
): Finding[] {
  const out = Object.keys(pin.servers).filter(name => name !== maintenance && isOut(now[name], pin.servers[name]))
  return out.map(name => {
    const is = `${backend}/${name} is in maintenance now`
    const [what, remedy] =
      goal[name]?.admin === 'ready'
        ? [`${is}, and going back makes it ready`, 'if it is out for a reason, take it out again afterwards']
        : [`${is}, and stays so`, `once its host is on the release: set server ${backend}/${name} state ready`]
    return { level: 'warning', code: 'server_out', component, what, remedy }
  })
}

/** Users that are sent to it would get HAProxy's own error. */
function pageDown(config: Config, component: string, all: Scene['all'], mode: Question<Pin>['mode']): Finding[] {
  const { backend, maintenance } = config
  const server = maintenance === undefined ? undefined : all.get(maintenance)
  if (server === undefined || server.up || server.admin !== 'ready') return []
  const what = `The maintenance server ${backend}/${server.name} is down by its health check: users sent there get HAProxy's 503`
  const remedy = 'start what shows the maintenance page, or take `maintenance` out of the settings'
  return [{ level: mode === 'emergency' ? 'warning' : 'blocker', code: 'page_down', component, what, remedy }]
}

function remarks(
  config: Config,
  component: string,
  { now, all }: Scene,
  { to, needs, release, goal, left }: Omit<Question<Pin>, 'left'> & { goal: Servers; left: boolean },
  gradual: boolean,
) {
  const found: Finding[] = []
  const say = (level: Finding['level'], code: string, what: string, remedy: string) =>
    void found.push({ level, code, component, what, remedy })
  const live = Object.keys(to.servers).filter(name => name !== config.maintenance)
  const share = parts(to.servers)
  if (!live.some(name => (share[name] ?? 0) > 0)) {
    say(
      'warning',
      'pin_is_maintenance',
      `${release} was captured while no live server of ${component} served: going back leaves it so`,
      'go back to a release captured while users were served, or set the servers ready by hand afterwards',
    )
  }
  const drained = needs.some(need => need.what === 'drained')
  if (left) {
    const what = `A run took the users of ${component} to the maintenance page, and ended before they were back`
    say('warning', 'left_drained', what, 'none: this plan brings them back')
  } else found.push(...outFindings(config, component, now, to, goal))
  for (const name of Object.keys(now).filter(name => to.servers[name] === undefined)) {
    const what = `${config.backend}/${name} was not there in the release: it is held while users are away, and stays as it is`
    say(
      'warning',
      'server_added',
      what,
      'see that its host is brought to the release too, or take it out of the configuration',
    )
  }
  const others = [...all.values()].filter(
    s => now[s.name] === undefined && s.admin === 'ready' && s.weight > 0 && !s.backup,
  )
  if (drained && others.length > 0) {
    const names = others.map(s => s.name).join(', ')
    say(
      'warning',
      'others_serve',
      `${names} of ${config.backend} stay with users while the rest is drained`,
      'name them in `servers` too',
    )
  }
  if (!gradual && config.return.length > 1) {
    const remedy =
      'set `maintenance` to a server of the same backend that is no `backup`, with weight 0 in the configuration'
    say(
      'note',
      'return_at_once',
      `Traffic of ${component} comes back in one step: no server can take the rest meanwhile`,
      remedy,
    )
  }
  if (config.gate === undefined) {
    say(
      'warning',
      'return_unwatched',
      `Nothing watches while traffic comes back to ${component}`,
      'name a `gate` in its settings',
    )
  }
  const remedy = 'reload nothing during the run, or use `server-state-file` with `load-server-state-from-file`'
  say('note', 'not_durable', `What is set in HAProxy for ${component} does not outlive a reload`, remedy)
  return found
}

function sum(steps: readonly Step[]): number {
  return steps.reduce((total, step) => total + step.estimateMs, 0)
}
