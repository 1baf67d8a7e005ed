import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { APP } from '../../src/adapters/sqlite/test/shop.ts'
import type { Proposal } from '../../src/core/contract.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import { stepAct, walk } from '../conformance/walk.ts'
import { driver, type Project, project, tool } from './project.ts'

const KNEX = tool('knex/bin/cli.js', '--knexfile', 'knexfile.cjs')
const signal = new AbortController().signal
const LOCKED = 'knex holds its migration lock (knex_migrations_lock)'

/** Knex marks a table while it works, and no session of the server tells which process does it. */
describe('C2: a migration whose tool holds no lock in a session', () => {
  let p: Project
  let pin: DatabasePin
  let end: () => Promise<unknown> = async () => {}

  beforeEach(async () => {
    p = await project('under-way')
    await p.write(
      'knexfile.cjs',
      `const Client = require('knex/lib/dialects/better-sqlite3')
       class NodeSqlite extends Client { _driver() { return require(${JSON.stringify(driver('better-sqlite3.fixture.ts'))}).default } }
       module.exports = { client: NodeSqlite, connection: { filename: ${JSON.stringify(p.file)} }, useNullAsDefault: true }`,
    )
    await p.write('migrations/1_start.js', code('CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)'))
    p.run([...KNEX, 'migrate:latest'])
    await using target = await p.open({})
    const act = { ...p.stores, signal, progress: () => {}, purpose: 'release', release: 'v1' } as const
    pin = await target.capture(await target.observe(signal), act)
  })
  afterEach(async () => {
    await end()
    await p.dispose()
  })

  const code = (up: string) =>
    `exports.up = knex => knex.raw(${JSON.stringify(up)}); exports.down = knex => knex.raw('DROP TABLE mails')`

  /** A migration of Knex that goes on until it is ended. Its process's number is in the file `pid`. */
  const begin = async () => {
    await p.write(
      'migrations/2_long.js',
      `exports.config = { transaction: false }
       exports.up = () => new Promise(resolve => setTimeout(resolve, 300000))
       exports.down = knex => knex.raw('DROP TABLE mails')`,
    )
    const [, ...words] = [...KNEX, 'migrate:latest']
    const child = spawn(process.execPath, words, { cwd: p.dir, stdio: 'ignore' })
    const ended = once(child, 'exit')
    end = async () => {
      child.kill('SIGKILL')
      await ended
    }
    await p.write('pid', String(child.pid))
    const known = await p.open({})
    while ((await known.observe(signal)).inFlight.length === 0 && child.exitCode === null) await sleep(50)
    await known[Symbol.asyncDispose]()
    return { ended }
  }

  const KILL = 'kill $(cat pid) && while kill -0 $(cat pid) 2>/dev/null; do sleep 0.05; done'
  const stopping = (stop: string, more: object = {}) => ({
    inFlight: { stop: ['sh', '-c', stop], ...more },
    down: [...KNEX, 'migrate:down'],
  })
  const UNLOCK = `${KNEX.join(' ')} migrate:unlock`

  const propose = async (migrations: Record<string, unknown>, rung = 'leave'): Promise<Proposal> => {
    await using target = await p.open(migrations)
    const from = await target.observe(signal)
    const question = { from, to: pin, release: 'v1', rung, needs: [], dependents: APP }
    return target.propose({ ...question, dependencies: [], upgradedAt: null, mode: 'full', signal })
  }
  const inFlight = async (migrations: Record<string, unknown> = {}) => {
    await using target = await p.open(migrations)
    return (await target.observe(signal)).inFlight.map(op => op.what)
  }

  it('is ended by the command of the settings as the first step of the plan, by every rung', async () => {
    const { ended } = await begin()
    const settings = stopping(`${KILL}; ${UNLOCK}`)
    for (const rung of ['leave', 'migrate-down', 'restore']) {
      const { settles, phases, findings } = await propose(settings, rung)
      expect([settles, phases.preflight]).toEqual([[LOCKED], { seq: [{ step: 'db/stop-migration/command' }] }])
      expect(findings.find(f => f.code === 'migration_ended')?.what).toContain(LOCKED)
      expect(findings.filter(f => f.level === 'blocker')).toEqual([])
    }
    const verdicts = await walk(await propose(settings), () => p.open(settings))
    expect(verdicts.map(v => [v.before, v.after])).toEqual([['not-done', 'done']])
    expect((await ended)[1] ?? (await ended)[0]).not.toBe(0)
    expect(await inFlight()).toEqual([])
    expect(await p.sql('SELECT is_locked FROM knex_migrations_lock')).toEqual([{ is_locked: 0 }])
  })

  it('is blocked by while the settings name no command', async () => {
    await begin()
    const { findings, steps } = await propose({})
    expect(findings.find(f => f.level === 'blocker')).toMatchObject({
      code: 'migration_half_done',
      remedy: expect.stringContaining('migrations.inFlight.stop') as string,
    })
    expect(steps).toEqual([])
  })

  it('is not said to have ended while its lock is held, or where the command fails', async () => {
    await begin()
    const sloppy = stopping('true', { limit: '1s' })
    const [step] = (await propose(sloppy)).steps
    if (step === undefined) throw new Error('no step')
    for (const [settings, code, cause] of [
      [sloppy, 'still_migrating', `under way: ${LOCKED}`],
      [stopping('echo no rights; exit 3'), 'command_failed', 'no rights'],
    ] as const) {
      await using target = await p.open(settings)
      const failed: unknown = await target.apply(step, stepAct()).catch((error: unknown) => error)
      expect(failed).toMatchObject({ code, why: cause })
      expect(await target.verify(step, stepAct())).toMatchObject({ is: 'not-done' })
    }
  })

  it('is not gone on from where it had changed tables by then', async () => {
    await begin()
    const settings = stopping(`${KILL}; ${UNLOCK}`)
    const [step] = (await propose(settings)).steps
    if (step === undefined) throw new Error('no step')
    await p.sql('CREATE TABLE mails (id INTEGER)')
    await using target = await p.open(settings)
    await expect(target.apply(step, stepAct())).rejects.toMatchObject({
      code: 'migration_left_half',
      why: 'it changed tables, and they stay so',
    })
  })

  it('is seen by a check of the settings where the tool marks nothing, and blocks where the check cannot tell', async () => {
    const check = (script: string) => ({ inFlight: { check: ['sh', '-c', script], stop: ['rm', 'busy'] } })
    const busy = check('test -e busy && echo deploy 41 migrates')
    expect(await inFlight(busy)).toEqual([])
    await p.write('busy', '')
    expect(await inFlight(busy)).toEqual(['deploy 41 migrates'])
    await using target = await p.open(busy)
    const act = { ...p.stores, signal, progress: () => {}, purpose: 'release', release: 'v2' } as const
    await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({
      code: 'migration_half_done',
    })
    const untold = check('exit 127')
    expect(await inFlight(untold)).toEqual([expect.stringContaining('nobody can tell of')])
    expect((await propose(untold)).findings).toContainEqual(expect.objectContaining({ level: 'blocker' }))
    const verdicts = await walk(await propose(busy), () => p.open(busy))
    expect(verdicts.map(v => [v.before, v.after])).toEqual([['not-done', 'done']])
    expect(await inFlight(busy)).toEqual([])
  })
})
