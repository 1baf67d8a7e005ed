import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { OpenContext, Proposal, Target } from '../../src/core/contract.ts'
import type { Json } from '../../src/core/json.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import type { Rename } from '../../src/data/renames.ts'
import { ordered, stepAct } from '../conformance/walk.ts'
import type { Dump } from '../support/merge-oracle.ts'
import type { RungStory } from './story.ts'

/** What a rung is tried on: one database of a real system. */
export interface System {
  /** Runs statements one after the other, each in a transaction of its own; false for what was refused. */
  run(statements: readonly string[]): Promise<boolean[]>
  dump(): Promise<Dump>
  open(settings: object, ctx: OpenContext): Promise<Target<DatabasePin>>
  /** Undoes the migration in BACKOUT_MIGRATION by its file below down/. */
  readonly down: readonly string[]
  dispose(): Promise<void>
}

export interface World extends AsyncDisposable {
  readonly pin: DatabasePin
  readonly base: Dump
  /** As it was right before going back. */
  readonly theirs: Dump
  /** What the release really renamed. */
  readonly renames: readonly Rename[]
  readonly open: () => Promise<Target<DatabasePin>>
  readonly dump: () => Promise<Dump>
  readonly run: System['run']
}

export const signal = new AbortController().signal

const BOOKKEEPING = [
  'CREATE TABLE knex_migrations (id int NOT NULL PRIMARY KEY, name varchar(50), batch int, migration_time varchar(30))',
  `INSERT INTO knex_migrations (id, name, batch) VALUES (1, '001_start', 1)`,
]

/** Plays a story up to the moment of going back: captured, migrated, told or not, written to. */
export async function played(system: System, story: RungStory): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-rungs-'))
  await mkdir(join(dir, 'down'))
  await mkdir(join(dir, 'up'))
  const { backups, vault } = stepAct()
  const ctx = {
    environment: 'test',
    component: `db${dir.slice(-6)}`,
    baseDir: dir,
    stateDir: join(dir, 'state'),
    backups,
    vault,
  }
  const migrations = { down: system.down, downScripts: 'down/{name}.sql', upScripts: 'up/{name}.sql' }
  const open = () => system.open({ writers: 'none', migrations }, ctx)
  const dump = async () => withoutBookkeeping(await system.dump())
  await system.run([...BOOKKEEPING, ...story.base])
  const base = await dump()
  await using target = await open()
  const pin = await target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'A' })
  await system.run(story.early)
  const renames: Rename[] = []
  for (const [i, { name, up, down, rename }] of story.release.entries()) {
    const [done] = await system.run([up])
    if (done !== true) continue
    await system.run([`INSERT INTO knex_migrations (id, name, batch) VALUES (${i + 2}, '${name}', 2)`])
    await writeFile(join(dir, 'up', `${name}.sql`), up)
    const undo = `DELETE FROM knex_migrations WHERE name = '${name}';\n`
    if (down !== null) await writeFile(join(dir, 'down', `${name}.sql`), `${down};\n${undo}`)
    if (rename !== undefined) renames.push(rename)
  }
  await system.run(story.meanwhile)
  if (story.told) await target.migrated?.({ ...stepAct(), release: 'B', upgrade: dir, usersAway: false })
  await system.run(story.writes)
  return {
    pin,
    base,
    theirs: await dump(),
    renames,
    open,
    dump,
    run: statements => system.run(statements),
    async [Symbol.asyncDispose]() {
      await system.dispose()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function withoutBookkeeping(dump: Dump): Dump {
  return Object.fromEntries(Object.entries(dump).filter(([name]) => !name.startsWith('knex')))
}

export async function proposed({ open, pin }: World, rung: string, to = { pin, release: 'A' }): Promise<Proposal> {
  await using target = await open()
  return target.propose({
    from: await target.observe(signal),
    to: to.pin,
    release: to.release,
    rung,
    needs: [],
    dependents: [],
    dependencies: [],
    upgradedAt: null,
    mode: 'full',
    signal,
  })
}

export const blockers = (proposal: Proposal) => proposal.findings.filter(f => f.level === 'blocker').map(f => f.code)

/** Does what was proposed, as a run of this name, each step by a target opened afresh. */
export async function carriedOut({ open }: World, proposal: Proposal, run: string): Promise<void> {
  const handles = new Map<string, Json>()
  for (const step of ordered(proposal)) {
    await using target = await open()
    await target.apply(step, stepAct(step, run, handles))
    const verdict = await target.verify(step, stepAct(step, run, handles))
    if (verdict.is !== 'done') throw new Error(`${step.id} is ${verdict.is}: ${verdict.why}`)
  }
}
