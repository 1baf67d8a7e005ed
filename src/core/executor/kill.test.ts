import { existsSync, mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { memoryWorld, pass } from '../../../test/support/memory-world.ts'
import { Mortal } from '../../../test/support/mortal.ts'
import { fastClock, Journal } from '../../../test/support/rollback.ts'
import { scripted, sideBySide, stepOf, usersAway } from '../../../test/support/scripted.ts'

// In memory where the machine has that: what a disk keeps is the engine's own test.
const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'backout-kill-'))
afterAll(() => rm(root, { recursive: true, force: true }))

/** Users go and come back behind a gate, a database stops, hosts are done side by side, the first way back fails. */
function world(onMigrate: () => Promise<void>) {
  const traffic = scripted('traffic', usersAway('healthy'))
  const db = scripted('db', {
    steps: { stop: {}, migrate: { retries: 1 } },
    phases: { stop: { step: 'db/stop' }, data: { seq: [{ step: 'db/migrate' }] } },
    apply: ({ id }) => (id === 'db/migrate' ? onMigrate() : undefined),
  })
  let failed = 0
  const app = scripted('app', {
    steps: {},
    phases: {},
    rungs: [
      { id: 'set', tier: 'platform', title: 'set it' },
      { id: 'redeploy', tier: 'release', title: 'deploy it again' },
    ],
    propose: ({ rung }) => {
      const hosts = ['a', 'b', 'c'].map(host => `${rung}-${host}`)
      const steps = hosts.map(host => stepOf('app', host, { onUnknown: host.endsWith('c') ? 'repeat' : 'ask' }))
      return { steps, phases: { code: sideBySide('app', hosts, { limit: 2 }) } }
    },
    apply: ({ id }) => {
      if (id !== 'app/set-b') return
      failed++
      throw new Error('image gone')
    },
  })
  const all = [traffic, db, app]
  const env = {
    systems: {},
    targets: { traffic: traffic.target, db: db.target, app: app.target },
    dependsOn: { traffic: ['app'], app: ['db'] },
    gates: { healthy: () => pass },
    verify: ['healthy'],
    onFailure: 'take' as const,
  }
  const end = () => ({
    applied: all.flatMap(c => c.applied).toSorted(),
    there: all.flatMap(c => [...c.there]).toSorted(),
  })
  return { env, end, failed: () => failed }
}

const EFFECTS = [
  'app/redeploy-a',
  'app/redeploy-b',
  'app/redeploy-c',
  'db/migrate',
  'db/stop',
  'traffic/drain',
  'traffic/return',
]

/** Runs it in processes that die at the given points, then in one that lives. Answers how many died. */
async function runThrough(name: string, dieAt: readonly number[], aborted = false) {
  const journal = new Journal(join(root, name))
  const { env, end } = world(async () => (aborted ? journal.signal('$cancel') : undefined))
  const { world: plain, plan } = memoryWorld(env, fastClock(1000))
  const made = await plan()
  let died = 0
  let points = 0
  for (const at of [...dieAt, Infinity]) {
    const life = new Mortal(at)
    const targets = new Map<string, Awaited<ReturnType<typeof plain.target>>>()
    const target = async (id: string) => {
      const known = targets.get(id) ?? life.target(await plain.target(id))
      targets.set(id, known)
      return known
    }
    const ended = await journal.process(life, { ...plain, target }, made)
    points = life.points
    if (!ended) died++
    else break
  }
  return { ...end(), ...(await journal.read()), died, points }
}

/** What was applied of the first way back depends on what ran beside the failure. */
const lasting = (ids: readonly string[]) => ids.filter(id => !id.startsWith('app/set-'))

describe('C16: a process that dies', () => {
  it('at every other point is gone on from: the same end, and no finished step is applied twice', async () => {
    const whole = await runThrough('whole', [])
    expect(whole.state).toBe('succeeded')
    expect(lasting(whole.applied)).toEqual(EFFECTS)
    expect(whole.points).toBeGreaterThan(100)
    for (let at = 1; at <= whole.points; at += 2) {
      const run = await runThrough(`at-${at}`, [at])
      expect({ at, ...run, points: 0 }).toMatchObject({ at, state: 'succeeded', broken: null })
      expect({ at, applied: lasting(run.applied) }).toEqual({ at, applied: EFFECTS })
      expect({ at, twice: twice(run.applied) }).toEqual({ at, twice: [] })
      expect({ at, twice: twice(run.done) }).toEqual({ at, twice: [] })
    }
  })

  it('at every other point of a run that is aborted: users are left safe, and nothing more is begun', async () => {
    const whole = await runThrough('aborted', [], true)
    expect(whole.state).toBe('aborted')
    const left = ['db/migrate', 'db/stop', 'traffic/drain']
    expect(whole).toMatchObject({ applied: left, there: left })
    let undone = 0
    for (let at = 1; at <= whole.points; at += 2) {
      const run = await runThrough(`aborted-at-${at}`, [at], true)
      // What a dead process had not brought about yet is not begun again.
      const migrated = run.applied.includes('db/migrate')
      if (!migrated) undone++
      const applied = migrated ? left : left.slice(1)
      expect({ at, ...run }).toMatchObject({ at, state: 'aborted', broken: null, applied, there: applied })
    }
    expect(undone).toBeGreaterThan(0)
  })

  it('again and again gets to the same end', async () => {
    let deaths = 0
    for (let seed = 1; seed <= 25; seed++) {
      const random = generator(seed)
      const lives = Array.from({ length: 12 }, () => 1 + Math.floor(random() * 60))
      const run = await runThrough(`seed-${seed}`, lives)
      deaths += run.died
      expect({ seed, state: run.state, broken: run.broken }).toEqual({ seed, state: 'succeeded', broken: null })
      expect({ seed, applied: lasting(run.applied) }).toEqual({ seed, applied: EFFECTS })
      expect({ seed, twice: twice(run.applied) }).toEqual({ seed, twice: [] })
    }
    expect(deaths).toBeGreaterThan(100)
  })
})

function twice(ids: readonly string[]): string[] {
  return ids.filter((id, i) => ids.indexOf(id) !== i)
}

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
function generator(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), 1 | a)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
