import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { DatabaseSync } from 'node:sqlite'
import { expect } from 'vitest'
import type { Event } from '../../src/core/engine.ts'
import { firstBreak } from '../../src/engine/chain.ts'
import { backout, type Ended, start } from './cli.ts'
import { type Change, World } from './world.ts'

/** Effects that are the same twice: a hook that says so (`repeat`), reloads, a start that was cut short. All else happens once. */
const REPEATABLE = /^(hook-announce|reload-|up )/

/** What an undisturbed run left behind. */
export interface Baseline {
  readonly state: Record<string, unknown>
  readonly effects: readonly string[]
  readonly writes: readonly unknown[]
  /** Names of all points, in order (see kill-at.fixture.ts). */
  readonly points: readonly string[]
}

export const PLAN = 'plan.json'
/** The world's archive is restored, whatever its clock says. */
export const LOSS = ['--loss-window', '3650d']

/** Makes a world with a captured v1, a v2 that has replaced it, and a plan to go back. */
export async function madeWorld(dir: string, change?: Change): Promise<World> {
  const world = new World(dir)
  await world.prepare(
    async () => expectExit(await backout(world, 'capture', 'v1', '--known-good'), 0),
    async () => expectExit(await backout(world, 'plan', '--out', PLAN), 0),
    change,
  )
  return world
}

export function expectExit(ended: Ended, code: number): Ended {
  if (ended.code !== code)
    throw new Error(`exit ${ended.code ?? ended.signal}, not ${code}\n${ended.stdout.slice(-3000)}\n${ended.stderr}`)
  return ended
}

export async function baseline(world: World): Promise<Baseline> {
  await world.reset()
  const trace = world.path('trace')
  expectExit(await start(world, ['run', PLAN, '--yes', ...LOSS], { BACKOUT_TEST_TRACE: trace }).ended, 0)
  return {
    state: await world.state(),
    effects: (await world.effects()).map(e => e.what).sort(),
    writes: [...world.traffic.writes],
    points: (await readFile(trace, 'utf8')).trim().split('\n'),
  }
}

/** Goes on as a person would until the run has ended or this is killed again: resume, answer what is asked, resume. */
export async function goOn(world: World, first: Ended, env: Record<string, string> = {}): Promise<Ended> {
  let ended = first
  for (let i = 0; i < 12; i++) {
    // Killed before the run was in the journal: nothing was begun, so it is begun again.
    if (ended.code === 2 && ended.stderr.includes('[run_unknown]')) ended = await begin(world, env)
    if (ended.signal === 'SIGKILL' && i > 0) return ended
    // Killed when all was done: there is nothing to resume.
    if (ended.code === 2 && ended.stderr.includes('has ended: succeeded')) return { ...ended, code: 0 }
    if (ended.signal === null && ended.code !== 5 && ended.code !== 6) return ended
    if (ended.code === 5) await answer(world)
    ended = await start(world, ['resume'], env).ended
  }
  throw new Error(`does not end: exit ${ended.code}\n${ended.stdout}\n${ended.stderr}`)
}

export function begin(world: World, env: Record<string, string> = {}): Promise<Ended> {
  return start(world, ['run', PLAN, '--yes', ...LOSS], env).ended
}

/** Answers the question of a step that nothing can tell of, with what is true in the world. */
export async function answer(world: World): Promise<void> {
  const said = await backout(world, 'status', '--json')
  const { state, asked } = JSON.parse(said.stdout) as { state: string; asked: { step: string; about: string } | null }
  expect(state).toBe('waiting')
  const truth: Record<string, boolean> = {
    'mail/apply': (await readFile(world.path('mail/box'), 'utf8')) === 'mail-1\n',
    '$hooks/after/data': existsSync(world.path('run/hook-data')),
  }
  const step = asked?.step ?? ''
  expect(Object.keys(truth), `asked about ${JSON.stringify(asked)}`).toContain(step)
  const word = truth[step] ? '--done' : '--not-done'
  expectExit(await backout(world, 'resolve', step, word, '--reason', 'looked'), 0)
}

/** The same end as without any kill, nothing done twice, the journal whole, nothing left alive. */
export async function sameEnd(world: World, base: Baseline, { times = true } = {}): Promise<void> {
  expect(await world.state()).toEqual(base.state)
  const effects = await world.effects()
  const exact = (all: readonly string[]) => all.filter(what => !REPEATABLE.test(what)).sort()
  expect(exact(effects.map(e => e.what))).toEqual(exact(base.effects))
  expect([...new Set(effects.map(e => e.what))].sort()).toEqual([...new Set(base.effects)])
  expect(world.traffic.writes).toEqual(base.writes)
  const done = doneAt(world)
  for (const { what, at } of times ? effects : []) {
    const step = stepOf(what)
    expect(at, `${what} after ${step} had ended`).toBeLessThanOrEqual((done.get(step) ?? 0) + 1)
  }
  expect(await brokenAt(world)).toBeNull()
  await onlyServices(world)
  // A killed process may leave its scratch folder where those of all programs are; nothing where the targets are.
  const left = (await readdir(world.dir, { recursive: true })).filter(name => name.includes('.backout-'))
  expect(left.filter(name => !name.startsWith('tmp/'))).toEqual([])
}

/** The step that an effect belongs to. */
function stepOf(what: string): string {
  const [, reload] = /^reload-(.*)/.exec(what) ?? []
  if (reload !== undefined) return `${reload}/reload`
  if (what === 'up edge v1') return 'edge/restart/local'
  if (what.startsWith('up ')) return `app/start/local.${what.split(' ')[1]}`
  return { 'hook-announce': '$hooks/before/announce', 'hook-data': '$hooks/after/data' }[what] ?? `${what}/apply`
}

/** When each step was done, by the journal; later it can only have been found done. */
function doneAt(world: World): Map<string, number> {
  const out = new Map<string, number>()
  for (const { type, at, data } of eventsIn(world)) {
    if (type !== 'step-done') continue
    const { step, found } = data as { step: string; found: boolean }
    expect(out.has(step) && !found, `${step} is done twice in the journal`).toBe(false)
    if (!out.has(step)) out.set(step, Date.parse(at))
  }
  return out
}

export function eventsIn(world: World): { type: string; at: string; data: unknown }[] {
  const db = new DatabaseSync(world.path('.backout/journal.db'), { readOnly: true })
  try {
    const rows = db.prepare('SELECT type, at, data FROM events ORDER BY seq').all() as Record<string, string>[]
    return rows.map(r => ({
      type: r['type'] ?? '',
      at: r['at'] ?? '',
      data: JSON.parse(r['data'] ?? 'null') as unknown,
    }))
  } finally {
    db.close()
  }
}

/** What `backout audit verify` looks at, without a process for it. */
async function brokenAt(world: World): Promise<unknown> {
  const [folder = ''] = await readdir(world.path('keys'))
  const key = Buffer.from((await readFile(world.path('keys', folder, 'chain.key'), 'utf8')).trim(), 'hex')
  const db = new DatabaseSync(world.path('.backout/journal.db'), { readOnly: true })
  const rows = db.prepare('SELECT seq, run, at, type, data, mac FROM events ORDER BY seq').all()
  db.close()
  const events = rows.map(row => ({ ...row, data: JSON.parse(String(row['data'])) as unknown }))
  return firstBreak(key, events as unknown as Event[])
}

/** Waits until nothing but the services (each with its lock holder) is alive, and nothing more. */
export async function onlyServices(world: World): Promise<void> {
  await until('only the services are alive', () => world.processes().every(pid => world.isService(pid)))
}

export async function until(what: string, holds: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const began = performance.now()
  while (!(await holds())) {
    if (performance.now() - began > ms) throw new Error(`never: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

export interface Kill {
  readonly when: 'before' | 'after'
  readonly point: string
}

/**
 * One run that is killed at each of these points, whichever process comes to it, and gone on with until it ends. Answers
 * which of the kills happened: not those at points that were passed together with another one.
 */
export async function killedAt(world: World, kills: readonly Kill[]): Promise<Kill[]> {
  await world.reset()
  const happened: Kill[] = []
  const log = world.path('killed')
  for (;;) {
    const left = kills.filter(kill => !happened.includes(kill))
    const env = { BACKOUT_TEST_KILL: JSON.stringify(left), BACKOUT_TEST_KILLED: log }
    const first: Ended = happened.length === 0 ? await begin(world, env) : await start(world, ['resume'], env).ended
    const ended = first.signal === 'SIGKILL' ? first : await goOn(world, first, env)
    if (ended.signal !== 'SIGKILL') {
      expectExit(ended, 0)
      return happened
    }
    const last = JSON.parse((await readFile(log, 'utf8')).trim().split('\n').at(-1) ?? '') as Kill
    happened.push(...kills.filter(kill => kill.point === last.point && kill.when === last.when))
  }
}
