import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { backout, type Ended, start } from './cli.ts'
import {
  type Baseline,
  baseline,
  begin,
  eventsIn,
  expectExit,
  goOn,
  LOSS,
  madeWorld,
  PLAN,
  sameEnd,
  until,
} from './crash.ts'
import type { World } from './world.ts'

vi.setConfig({ testTimeout: 120_000 })

let dir: string
let world: World
let base: Baseline

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'backout-luck-'))
  world = await madeWorld(join(dir, 'world'), config => {
    const { search } = config.components as { search: { settings: object } }
    search.settings = { ...search.settings, limit: '3s' }
    return config
  })
  base = await baseline(world)
  await interrupt()
}, 300_000)

afterAll(async () => {
  await world?.dispose()
  await rm(dir, { recursive: true, force: true })
})

async function untouched(): Promise<void> {
  expect(await world.effects()).toEqual([])
  expect(world.traffic.writes).toEqual([])
}

/** A run that was killed in the middle: everything before its config phase is done. */
const interrupted = () => world.reset('interrupted')

async function interrupt(): Promise<void> {
  await world.reset()
  const kill = [{ when: 'before', point: 'event phase-begun config' }]
  const ended = await begin(world, { BACKOUT_TEST_KILL: JSON.stringify(kill) })
  expect(ended.signal).toBe('SIGKILL')
  await world.keep('interrupted')
}

async function endsWell(first: Promise<Ended>, options?: { times: boolean }): Promise<void> {
  expectExit(await goOn(world, await first), 0)
  await sameEnd(world, base, options)
}

/** Text as it was before it was broken into lines. */
function flat(text: string): string {
  return text.replaceAll(/\s+/g, ' ')
}

const resume = () => backout(world, 'resume')

describe('C16: a journal with bad luck', () => {
  it('cut in the middle of a write has all that was written before', async () => {
    await interrupted()
    const log = world.path('.backout/journal.db-wal')
    const whole = readFileSync(log)
    appendFileSync(log, whole.subarray(-4_000, -1_000))
    await endsWell(resume())
  })

  it('that is full stops the run before it touches anything, and it goes on once there is room', async () => {
    await world.reset()
    const ended = expectExit(await begin(world, { BACKOUT_TEST_FULL: 'RUN replan 1' }), 9)
    expect(ended.stderr).toContain('[journal_failed]')
    expect(ended.stderr).toContain('disk is full')
    expect(ended.stderr).toContain('then: backout resume')
    await untouched()
    await endsWell(resume())
  })

  it.each(['RUN 0/drain/1/traffic/0/traffic/drain#1? 1', 'RUN handle:mail/apply 0', 'RUN 0/data/1/0/par 1'])(
    'that is full in the middle of a run, at %s, applies nothing more, and it goes on once there is room',
    async point => {
      await world.reset()
      const ended = await begin(world, { BACKOUT_TEST_FULL: point })
      expect(expectExit(ended, 9).stderr).toContain('[journal_failed]')
      await endsWell(resume())
    },
  )

  it('of a newer Backout is refused and left as it is', async () => {
    await interrupted()
    const db = new DatabaseSync(world.path('.backout/journal.db'))
    db.exec("UPDATE meta SET value = '99' WHERE key = 'format'")
    db.close()
    for (const argv of [['status'], ['resume'], ['run', PLAN, '--yes', ...LOSS], ['abort']]) {
      const ended = expectExit(await backout(world, ...argv), 3)
      expect(ended.stderr).toContain('[journal_newer]')
    }
  })

  it('that cannot be read says where to look what to do, and nothing is touched', async () => {
    await interrupted()
    await rm(world.path('.backout/journal.db-wal'), { force: true })
    writeFileSync(world.path('.backout/journal.db'), 'this is no database, and never was one, however long it is')
    const ended = await resume()
    expect(ended.code).not.toBe(0)
    expect(ended.stderr).toContain('[journal_unreadable]')
    const [, page = '', heading = ''] = /see (docs\/\S+), "([^"]+)"/.exec(ended.stderr) ?? []
    expect(readFileSync(join(import.meta.dirname, '../..', page), 'utf8')).toContain(`## ${heading}`)
  })

  it('that is lost in the middle of a run costs no more than a new plan from where things are', async () => {
    await interrupted()
    for (const end of ['', '-wal', '-shm']) await rm(world.path(`.backout/journal.db${end}`), { force: true })
    expectExit(await backout(world, 'plan', '--to', 'v1'), 0)
    expectExit(await goOn(world, await backout(world, 'run', '--to', 'v1', '--yes', ...LOSS)), 0)
    expect(await world.state()).toEqual(base.state)
    // Hooks belong to the run, and it is another one.
    const effects = (await world.effects()).map(e => e.what).filter(what => !what.startsWith('hook'))
    expect(effects.sort()).toEqual(base.effects.filter(what => !what.startsWith('hook')))
  })

  it('of another chain key is refused, and read again with the right one', async () => {
    await interrupted()
    const other = { BACKOUT_KEYS: world.path('other-keys') }
    const ended = expectExit(await start(world, ['resume'], other).ended, 3)
    expect(ended.stderr).toContain('[other_chain_key]')
    await endsWell(resume())
  })

  it('with an event that was edited is found out', async () => {
    await world.reset()
    expectExit(await begin(world), 0)
    expectExit(await backout(world, 'audit', 'verify'), 0)
    const db = new DatabaseSync(world.path('.backout/journal.db'))
    db.exec(`UPDATE events SET data = '{"step":"other"}' WHERE type = 'step-done' AND seq % 7 = 0`)
    db.close()
    expect(expectExit(await backout(world, 'audit', 'verify'), 11).stderr).toContain('[journal_tampered]')
  })

  it('of a run whose backout.yaml was edited since is gone on with once that is put back', async () => {
    await interrupted()
    const file = world.path('backout.yaml')
    const before = await readFile(file, 'utf8')
    await writeFile(file, before.replace('"interval": "50ms"', '"interval": "60ms"'))
    expect(expectExit(await resume(), 3).stderr).toContain('[config_changed]')
    await writeFile(file, before)
    await endsWell(resume())
  })
})

describe('C16: a clock that jumps', () => {
  it.each([-90_000_000, 90_000_000])('by %i ms changes nothing about how a run ends', async by => {
    await world.reset()
    await endsWell(begin(world, { BACKOUT_TEST_CLOCK: String(by) }), { times: false })
  })

  it('back, before a run begins, makes no loss short: it takes a word of its own, and then changes nothing', async () => {
    await world.reset()
    const clock = { BACKOUT_TEST_CLOCK_BEFORE: '-90000000' }
    const refused = expectExit(await begin(world, clock), 3)
    expect(refused.stderr).toContain('[loss_window_unknown]')
    expect(flat(refused.stderr)).toContain('nobody can tell')
    expect(refused.stderr).toContain('--loss-window unknown')
    await untouched()
    await endsWell(start(world, ['run', PLAN, '--yes', '--loss-window', 'unknown'], clock).ended, { times: false })
  })

  it('back, between a crash and the resume, changes nothing either', async () => {
    await interrupted()
    await endsWell(start(world, ['resume'], { BACKOUT_TEST_CLOCK: '-90000000' }).ended, { times: false })
  })
})

describe('C16: a command of the user', () => {
  it('that hangs is ended at its limit, with all that it started; tried again, it works', async () => {
    await world.reset()
    await writeFile(world.path('hold.search'), '')
    const ended = expectExit(await begin(world), 5)
    const pid = Number(readFileSync(world.path('at.search'), 'utf8'))
    expect(existsSync(`/proc/${pid}`)).toBe(false)
    expect(flat(ended.stdout)).toContain('did not end within 3000 ms')
    expect(ended.stdout).toContain('backout resume')
    await rm(world.path('hold.search'))
    await endsWell(resume())
  })

  it('that floods its output does no harm', async () => {
    await world.reset()
    await writeFile(world.path('flood.search'), '')
    await endsWell(begin(world))
  })

  it('that ends with 0 and did nothing is not believed', async () => {
    await world.reset()
    await writeFile(world.path('lie.search'), '')
    const ended = expectExit(await begin(world), 5)
    expect(ended.stdout).toContain('search/apply')
    await rm(world.path('lie.search'))
    await endsWell(resume())
  })

  it('without verify, interrupted, is asked about by name, and only a fitting answer is taken', async () => {
    await world.reset()
    await writeFile(world.path('hold.mail'), '')
    const running = start(world, ['run', PLAN, '--yes', ...LOSS])
    await until('it is in the middle', () => existsSync(world.path('at.mail')), 20_000)
    running.kill('SIGKILL')
    await running.ended
    await rm(world.path('hold.mail'))
    const asked = expectExit(await resume(), 5)
    for (const said of [asked.stdout, (await backout(world, 'status')).stdout].map(flat)) {
      expect(said).toContain('the command was interrupted, and there is no verify command to ask')
      expect(said).toContain('backout resolve mail/apply --done')
      expect(said).toContain('backout resolve mail/apply --not-done')
      expect(said).toContain('backout skip mail/apply --reason')
    }
    expectExit(await resume(), 5)
    expectExit(await backout(world, 'resolve', 'mail/apply'), 2)
    const wrong = expectExit(await backout(world, 'resolve', 'search/apply', '--done'), 2)
    expect(wrong.stderr).toContain('it waits for a word on mail/apply')
    expectExit(await backout(world, 'resolve', 'mail/apply', '--not-done', '--reason', 'looked'), 0)
    await endsWell(resume())
    const answered = eventsIn(world).find(e => e.type === 'answered')
    expect(answered?.data).toMatchObject({ step: 'mail/apply', do: 'not-done', by: 'ann', reason: 'looked' })
  })
})
