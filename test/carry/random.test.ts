import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { readSchema } from '../../src/adapters/sqlite/schema.ts'
import { archiveIn } from '../../src/data/carry/archive.ts'
import { applyCarry, type CarryOutcome, planCarry } from '../../src/data/carry/index.ts'
import { readLines } from '../../src/data/carry/lines.ts'
import { type CarryOptions, NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { ListedRow } from '../../src/data/carry/rows.ts'
import type { CarrySource } from '../../src/data/carry/source.ts'
import type { Rename } from '../../src/data/renames.ts'
import type { SchemaShape } from '../../src/data/schema.ts'
import { touchedBy, writtenIn } from '../../src/data/touched.ts'
import { plain } from '../../src/data/touched-targets.ts'
import { JOB, sourceOf } from '../support/merge.ts'
import { dumpOf, expectNothingLost, expectNumbers, soundness, type World } from '../support/merge-oracle.ts'
import { type RandomStory, story } from '../support/merge-random.ts'

const RUNS = Number(process.env['BACKOUT_RANDOM'] ?? 60)

interface Played {
  readonly dir: string
  readonly files: { readonly base: string; readonly migrated: string; readonly theirs: string; readonly ours: string }
  readonly renames: readonly Rename[]
  readonly told: boolean
  /** Statements of the migration that were not refused. */
  readonly ran: readonly string[]
}

function play({ base, rows, early, release, meanwhile, writes, after, told }: RandomStory): Played {
  const dir = mkdtempSync(join(tmpdir(), 'backout-random-'))
  const [first, migrated, theirs, ours] = ['base', 'migrated', 'theirs', 'ours'].map(n => join(dir, `${n}.db`)) as [
    string,
    string,
    string,
    string,
  ]
  run(first, [...base, ...rows])
  copyFileSync(first, theirs)
  run(theirs, early)
  const done = run(
    theirs,
    release.map(c => c.sql),
  )
  run(theirs, meanwhile)
  copyFileSync(theirs, migrated)
  run(theirs, writes)
  copyFileSync(first, ours)
  run(ours, after)
  const renames = release.flatMap((c, i) => (done[i] === true && c.rename !== undefined ? [c.rename] : []))
  const ran = release.map(c => c.sql).filter((_, i) => done[i] === true)
  return { dir, files: { base: first, migrated, theirs, ours }, renames, told, ran }
}

/** What the database refuses was never committed. */
function run(file: string, statements: readonly string[]): boolean[] {
  const db = new DatabaseSync(file)
  try {
    return statements.map(sql => {
      try {
        db.exec(sql)
        return true
      } catch {
        return false
      }
    })
  } finally {
    db.close()
  }
}

function open({ dir, files, renames, told }: Played, ours = files.ours): CarrySource {
  const source = sourceOf(dir, { ...files, ours, migrated: told ? files.migrated : null }, renames)
  return { ...source, untold: told ? null : { touched: null } }
}

function readOf(file: string): SchemaShape {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    return readSchema(db)
  } finally {
    db.close()
  }
}

async function listedIn(source: CarrySource, { archive }: CarryOutcome): Promise<ListedRow[]> {
  const out: ListedRow[] = []
  for (const part of archive.parts.filter(p => p.what === 'conflicts')) {
    await readLines(archiveIn(source.dir), part, row => void out.push(row as ListedRow))
  }
  return out
}

/** `usersAway`: the deployment says that nobody wrote before the migration had ended, and it was so. */
async function check(random: RandomStory, usersAway: boolean): Promise<void> {
  const played = play(usersAway ? { ...random, early: [], meanwhile: [], told: true } : random)
  try {
    const source = { ...open(played), ownWork: usersAway }
    const before = dumpOf(played.files.ours)
    const plan = await planCarry(source, NOTHING_SAID, JOB)
    expect(dumpOf(played.files.ours, true)).toEqual(before)
    const outcome = await applyCarry(source, NOTHING_SAID, JOB, { hash: plan.hash, batch: 3 })
    expect(outcome.proof.problems).toEqual([])
    const theirs = dumpOf(played.files.theirs)
    const world = {
      base: dumpOf(played.files.base),
      own: usersAway ? dumpOf(played.files.migrated) : null,
      theirs,
      before,
      after: dumpOf(played.files.ours),
      schemas: source.schemas,
      renames: played.renames,
      listed: await listedIn(source, outcome),
    }
    for (const table of plan.tables) {
      expectNothingLost(world, table)
      expectNumbers(world, table)
    }
    for (const { table, column, count } of plan.archived) {
      const part = outcome.archive.parts.find(p => p.table === table && (column === null) === (p.what === 'rows'))
      expect(part?.lines, `${table} in the archive`).toBeGreaterThanOrEqual(count)
      if (column === null) expect(part?.lines).toBe(theirs[table]?.length)
    }
    expect(soundness(played.files.ours)).toEqual([])
    const done = dumpOf(played.files.ours, true)
    const again = await applyCarry(source, NOTHING_SAID, JOB, { hash: plan.hash, batch: 3 })
    expect([again.carried, again.proof.problems]).toEqual([0, []])
    expect(dumpOf(played.files.ours, true)).toEqual(done)
    if (usersAway) expect(world.listed.filter(l => l.kind === 'ambiguous')).toEqual([])
    else await settled(source, world, played.files.ours)
  } finally {
    rmSync(played.dir, { recursive: true })
  }
}

/** What is ambiguous is carried after a person's word, or stays listed where ours cannot take it. */
async function settled(source: CarrySource, world: World, ours: string): Promise<void> {
  const said: CarryOptions = { ...NOTHING_SAID, decisions: [{ kind: 'ambiguous', take: 'theirs' }] }
  const outcome = await applyCarry(source, said, JOB, { batch: 3 })
  expect(outcome.proof.problems).toEqual([])
  const now: World = { ...world, theirsCounts: true, after: dumpOf(ours), listed: await listedIn(source, outcome) }
  for (const table of outcome.plan.tables) expectNothingLost(now, table)
  const nobody = [{ kind: 'ambiguous' as const, take: 'ours' as const }]
  const { left } = await applyCarry(source, { ...said, decisions: nobody }, JOB)
  expect(left.filter(t => t.conflicts.ambiguous !== undefined)).toEqual([])
}

it('loses no committed row without listing it, touches nothing else, and changes nothing when run twice', async () => {
  const any = fc.asyncProperty(story, random => check(random, false))
  await fc.assert(any, { numRuns: RUNS, endOnFailure: false })
}, 600_000)

it('takes nothing for users that the migration wrote while they were away', async () => {
  const away = fc.asyncProperty(story, random => check(random, true))
  await fc.assert(away, { numRuns: Math.ceil(RUNS / 3), endOnFailure: false })
}, 600_000)

it('says of no table, and of no column, that the migration left it alone where it wrote to it', async () => {
  const alone = fc.property(story, random => {
    const played = play({ ...random, early: [], meanwhile: [] })
    try {
      const { schemas } = open(played)
      const migrated = readOf(played.files.migrated)
      const touched = touchedBy(played.ran, 'sqlite', [schemas.base, migrated])
      if (touched === null) return
      const [base, now] = [dumpOf(played.files.base), dumpOf(played.files.migrated)]
      for (const [name, rows] of Object.entries(base)) {
        const called = played.renames.find(r => r.was.table === name && r.was.column === null)?.now.table ?? name
        const wrote = writtenIn([name, called], touched)
        if (wrote === null) continue
        const newName = (c: string) =>
          played.renames.find(r => r.was.table === name && r.was.column === c)?.now.column ?? c
        const there = Object.keys(migrated.tables[called]?.columns ?? {})
        const was = rows.map(row =>
          Object.entries(row).flatMap(([c, v]) => {
            const left = there.includes(newName(c)) && ![c, newName(c)].some(n => wrote.includes(plain(n)))
            return left ? [[newName(c), v]] : []
          }),
        )
        const is = (now[called] ?? []).map(row => was[0]?.map(([c]) => [c, row[String(c)]]) ?? [])
        expect(is.map(r => JSON.stringify(r)).sort(), name).toEqual(was.map(r => JSON.stringify(r)).sort())
      }
    } finally {
      rmSync(played.dir, { recursive: true })
    }
  })
  fc.assert(alone, { numRuns: RUNS * 2, endOnFailure: false })
})

it('ends the same when it was ended between any two writes and began again', async () => {
  const ended = fc.asyncProperty(
    story,
    fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 3 }),
    async (random, ends) => {
      const played = play(random)
      try {
        const whole = join(played.dir, 'whole.db')
        copyFileSync(played.files.ours, whole)
        await applyCarry(open(played, whole), NOTHING_SAID, JOB, { batch: 2 })
        for (const end of ends) {
          let calls = 0
          const guard = () => {
            if (++calls === end) throw new Error('ended')
          }
          await applyCarry(open(played), NOTHING_SAID, { ...JOB, guard }, { batch: 2 }).catch((error: unknown) => {
            expect(String(error)).toContain('ended')
          })
        }
        const outcome = await applyCarry(open(played), NOTHING_SAID, JOB, { batch: 2 })
        expect(outcome.proof.problems).toEqual([])
        // What came before an end may free what comes after for a range: the ledger says the same of it in other lines.
        expect(dumpOf(played.files.ours)).toEqual(dumpOf(whole))
        expect((await applyCarry(open(played), NOTHING_SAID, JOB, { batch: 2 })).carried).toBe(0)
        expect(dumpOf(played.files.ours)).toEqual(dumpOf(whole))
      } finally {
        rmSync(played.dir, { recursive: true })
      }
    },
  )
  await fc.assert(ended, { numRuns: RUNS, endOnFailure: false })
}, 600_000)
