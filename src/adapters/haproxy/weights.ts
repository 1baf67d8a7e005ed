import type { Config, ServerState, Servers } from './config.ts'

const MAX_WEIGHT = 256

/** The part of the traffic that each server gets, from 0 to 1; all zero where none gets any. */
export function parts(servers: Servers): Record<string, number> {
  const effective = Object.entries(servers).map(([name, s]) => [name, s.admin === 'ready' ? s.weight : 0] as const)
  const sum = effective.reduce((total, [, weight]) => total + weight, 0)
  return Object.fromEntries(effective.map(([name, weight]) => [name, sum === 0 ? 0 : weight / sum]))
}

/** Everybody on the maintenance page: live servers held, the maintenance server ready. A server in maintenance stays so. */
export function away({ maintenance, hold }: Config, now: Servers): Servers {
  const held = Object.entries(now).map(([name, state]): [string, ServerState] => {
    if (name === maintenance) return [name, { admin: 'ready', weight: 100 }]
    return [name, { admin: state.admin === 'maint' ? 'maint' : hold, weight: state.weight }]
  })
  return Object.fromEntries(held)
}

/**
 * What `away` comes to with the servers as they are now. One that was not there when the plan was made is held like the others,
 * where all of the backend are cared for; one that was fenced or taken out by hand is further away than held, and is left alone.
 * With `safe`, one that is gone is as good as that, and a maintenance server that is gone keeps nobody on the live ones.
 */
export function awayFrom(
  { maintenance, hold, servers }: Config,
  now: ReadonlyMap<string, ServerState>,
  goal: Servers,
  safe: boolean,
): Servers {
  const gone = (name: string) => safe && !now.has(name)
  const out = (name: string) => gone(name) || (name !== maintenance && now.get(name)?.admin === 'maint')
  const known = Object.entries(goal).filter(([name]) => !out(name))
  const came =
    servers === undefined ? [...now].filter(([name, s]) => goal[name] === undefined && s.admin === 'ready') : []
  const held = came.map(([name, { weight }]): [string, ServerState] => [name, { admin: hold, weight }])
  return Object.fromEntries([...known, ...held])
}

/**
 * What `goal` comes to where servers were taken out since: one in maintenance that the run did not put there (`found`: what it
 * may have) stays so, for it was fenced, or somebody has a reason. Where none would serve then, nothing is left out.
 */
export function backWith(
  { maintenance }: Config,
  now: ReadonlyMap<string, ServerState>,
  goal: Servers,
  found: Readonly<Record<string, readonly ServerState['admin'][]>>,
): Servers {
  const out = (name: string) => now.get(name)?.admin === 'maint' && found[name]?.includes('maint') !== true
  const kept = Object.entries(goal).filter(([name]) => name === maintenance || !out(name))
  const serves = kept.some(([name, s]) => name !== maintenance && s.admin === 'ready' && s.weight > 0)
  return serves ? Object.fromEntries(kept) : goal
}

/** `percent` of the way from one distribution to another, in weights as fine as HAProxy has them. */
export function between(from: Servers, to: Servers, percent: number): Servers {
  const [a, b] = [parts(from), parts(to)]
  const mixed = Object.keys(to).map(name => {
    return [name, ((b[name] ?? 0) * percent + (a[name] ?? 0) * (100 - percent)) / 100] as const
  })
  const most = Math.max(...mixed.map(([, part]) => part))
  const states = mixed.map(([name, part]): [string, ServerState] => {
    if (part === 0) return [name, to[name] ?? { admin: 'maint', weight: 0 }]
    return [name, { admin: 'ready', weight: Math.max(1, Math.round((part / most) * MAX_WEIGHT)) }]
  })
  return Object.fromEntries(states)
}

/** The servers of `goal` that are not as it says. */
export function missing(now: ReadonlyMap<string, ServerState>, goal: Servers): string[] {
  return Object.entries(goal).flatMap(([name, want]) => {
    const have = now.get(name)
    if (have?.admin === want.admin && have.weight === want.weight) return []
    return [`${name} is ${have === undefined ? 'gone' : told(have)}, not ${told(want)}`]
  })
}

/** Runtime commands that lead to `goal`. Who takes traffic goes first, so that there is always somebody who does. */
export function commands(backend: string, now: ReadonlyMap<string, ServerState>, goal: Servers): string[] {
  const takes = (state: ServerState) => state.admin === 'ready' && state.weight > 0
  const order = Object.entries(goal).sort(([, a], [, b]) => Number(takes(b)) - Number(takes(a)))
  return order.flatMap(([name, want]) => {
    const have = now.get(name)
    const weight = have?.weight === want.weight ? [] : [`set server ${backend}/${name} weight ${want.weight}`]
    const state = have?.admin === want.admin ? [] : [`set server ${backend}/${name} state ${want.admin}`]
    return want.admin === 'ready' ? [...weight, ...state] : [...state, ...weight]
  })
}

function told({ admin, weight }: ServerState): string {
  return admin === 'ready' ? `ready with weight ${weight}` : admin
}

/** For people: "web-1 50 %, web-2 50 %; sorry drain". */
export function described(servers: Servers): string {
  const share = parts(servers)
  const serving = Object.keys(servers).filter(name => (share[name] ?? 0) > 0)
  const held = Object.entries(servers).filter(([, s]) => s.admin !== 'ready')
  const front = serving.map(name => `${name} ${Math.round((share[name] ?? 0) * 1000) / 10} %`).join(', ')
  const back = held.map(([name, s]) => `${name} in ${s.admin}`).join(', ')
  return [front === '' ? 'no server gets traffic' : front, back].filter(text => text !== '').join('; ')
}
