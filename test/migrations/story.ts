import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { APP } from '../../src/adapters/sqlite/test/shop.ts'
import { NOTHING, type Proposal } from '../../src/core/contract.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import { findMigrationFiles, type WayBack, wayBack } from '../../src/data/migration-files.ts'
import { walk } from '../conformance/walk.ts'
import { type Project, project } from './project.ts'

/** One migration by what it does, as every tool can say it. */
export interface Migration {
  /** Orders the migrations: "20260201000000". */
  readonly version: string
  /** "mail". */
  readonly title: string
  readonly up: string
  readonly down: string
}

export interface MigrationTool {
  /** As `BOOKKEEPING` calls it. */
  readonly tool: string
  /** Writes what the project consists of besides its migrations. */
  found(p: Project): Promise<void>
  write(p: Project, m: Migration): Promise<void>
  /** Applies all that are not. */
  up(p: Project): void
  /** The setting `migrations.down`. */
  down(p: Project): string[]
  /** How its files say that a migration is undone. */
  readonly back: WayBack['is']
  /** What the tool calls this migration in its bookkeeping. */
  called(m: Migration): string
  /** Leaves a migration half done, as the tool does it, and answers how that is told. Left out where the tool leaves no mark. */
  breaks?(p: Project, m: Migration, inFlight: () => Promise<string[]>): Promise<string>
  /** What `breaks` left still runs, in a session that holds the tool's lock; resolves with the exit code of the tool. */
  ends?(): Promise<unknown>
}

const START: Migration = {
  version: '20260101000000',
  title: 'start',
  up: 'CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT)',
  down: 'DROP TABLE people',
}
const BAD: readonly Migration[] = [
  {
    version: '20260201000000',
    title: 'mail',
    up: 'ALTER TABLE people ADD COLUMN mail TEXT',
    down: 'ALTER TABLE people DROP COLUMN mail',
  },
  {
    version: '20260202000000',
    title: 'logins',
    up: 'CREATE TABLE logins (person_id INTEGER, at TEXT)',
    down: 'DROP TABLE logins',
  },
]

const BROKEN: Migration = {
  version: '20260203000000',
  title: 'broken',
  up: 'CREATE TABLE half (id INTEGER); INSERT INTO nowhere VALUES (1)',
  down: 'DROP TABLE half',
}

const signal = new AbortController().signal

/** A good release, a bad one whose migrations hold data, and back: by the real tool and its real bookkeeping. */
export function story(tool: MigrationTool, make = () => project(tool.tool)): void {
  describe(`C2 C11: a database migrated by ${tool.tool}`, () => {
    let p: Project
    let names: string[]
    let pin: DatabasePin
    let proposal: Proposal

    beforeAll(async () => {
      p = await make()
      await tool.found(p)
      await tool.write(p, START)
      tool.up(p)
      await p.sql(`INSERT INTO people (id, name) VALUES (1, 'Ada'), (2, 'Grace')`)
      await using target = await open()
      const act = { ...p.stores, signal, progress: () => {}, purpose: 'release', release: 'v1' } as const
      pin = await target.capture(await target.observe(signal), act)
      for (const migration of BAD) await tool.write(p, migration)
      tool.up(p)
      names = BAD.map(migration => tool.called(migration))
      await p.sql(`INSERT INTO people (id, name, mail) VALUES (3, 'Katherine', 'k@example.org')`)
      await p.sql(`INSERT INTO logins VALUES (1, '2026-02-03'), (3, '2026-02-04')`)
    })
    afterAll(() => p.dispose())

    const open = () => p.open({ down: tool.down(p) })
    const seen = async () => {
      await using target = await open()
      return target.observe(signal)
    }
    const propose = async (rung = 'migrate-down') => {
      await using target = await open()
      const from = await target.observe(signal)
      const question = { from, to: pin, release: 'v1', rung, needs: [], dependents: APP }
      return target.propose({ ...question, dependencies: [], upgradedAt: null, mode: 'full', signal })
    }

    it('is known by its bookkeeping', async () => {
      const { state, inFlight } = await seen()
      expect(state).toMatchObject({ level: { tool: tool.tool, applied: [...pin.level.applied, ...names] } })
      expect(pin.level.applied).toHaveLength(1)
      expect(inFlight).toEqual([])
    })

    it('is known by its files, which say how each migration is undone', async () => {
      const found = await findMigrationFiles(p.dir)
      expect(found.map(f => f.tool)).toEqual([tool.tool])
      const [files] = found
      if (files === undefined) return
      const ways = await Promise.all(names.map(name => wayBack(files, name)))
      expect(ways.map(way => way.is)).toEqual([tool.back, tool.back])
      const scripts = ways.map(way => (way.is === 'sql' ? way.sql.trim().replace(/;$/, '') : null))
      expect(scripts).toEqual(BAD.map(m => (tool.back === 'sql' ? m.down : null)))
    })

    it('says what lies between, newest first, and what undoing it loses', async () => {
      proposal = await propose()
      expect(proposal.findings.filter(f => f.level === 'blocker')).toEqual([])
      const between = proposal.findings.find(f => f.code === 'migrations_between')
      expect(between?.what).toBe(`To undo, newest first: ${names.toReversed().join(', ')}`)
      expect(proposal.impact.loss.map(l => `${l.what} ${l.count}`).sort()).toEqual(['logins 2', 'people.mail 1'])
    })

    it('goes back by the tool, one migration at a time, and keeps every row', async () => {
      const verdicts = await walk(proposal, async () => open())
      expect(verdicts.map(v => [v.before, v.after])).toEqual(verdicts.map(() => ['not-done', 'done']))
      expect(verdicts).toHaveLength(3)
      const people = await p.sql('SELECT name FROM people ORDER BY id')
      expect(people.map(r => r['name'])).toEqual(['Ada', 'Grace', 'Katherine'])
      expect(await propose()).toEqual(NOTHING)
    })

    if (tool.breaks === undefined) return
    it('is not undone while a migration is half done, which is told', async () => {
      const told = await tool.breaks?.(p, BROKEN, async () => (await seen()).inFlight.map(op => op.what))
      const { inFlight, summary } = await seen()
      expect([summary, ...inFlight.map(op => op.what)].join('; ')).toContain(told)
      await using target = await open()
      const act = { ...p.stores, signal, progress: () => {}, purpose: 'release', release: 'v2' } as const
      await expect(target.capture(await target.observe(signal), act)).rejects.toMatchObject({
        code: 'migration_half_done',
      })
      if (tool.ends !== undefined) return
      for (const rung of ['leave', 'migrate-down']) {
        const blockers = (await propose(rung)).findings.filter(f => f.level === 'blocker')
        expect(blockers.find(f => f.code === 'migration_half_done')?.what).toBe(told)
      }
    })

    if (tool.ends === undefined) return
    it('is ended while it runs, as the first step of the plan, and leaves nothing behind', async () => {
      const { inFlight, state } = await seen()
      expect((await propose('restore')).findings.find(f => f.code === 'migration_locks')).toMatchObject({
        level: 'blocker',
        remedy: expect.stringMatching(/pg_terminate_backend\(\d+\).*plan again/) as string,
      })
      for (const rung of ['leave', 'migrate-down']) {
        const { settles, phases, findings } = await propose(rung)
        expect([settles, phases.preflight]).toEqual([
          inFlight.map(op => op.what),
          { seq: [{ step: `db/stop-migration/${tool.tool}` }] },
        ])
        expect(findings.find(f => f.code === 'migration_ended')?.what).toContain('taken back by the server')
      }
      const verdicts = await walk(await propose(), async () => open())
      expect(verdicts.map(v => [v.before, v.after])).toEqual([['not-done', 'done']])
      expect(await tool.ends?.()).not.toBe(0)
      expect(await seen()).toMatchObject({ inFlight: [], state })
      expect(await propose()).toEqual(NOTHING)
    })
  })
}
