import { join } from 'node:path'
import { iso } from '../../core/clock.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { archiveIn, CONFLICTS, OPEN } from '../../data/carry/archive.ts'
import { movedOn } from '../../data/carry/errors.ts'
import { planCarry } from '../../data/carry/index.ts'
import type { CarryOptions, Release } from '../../data/carry/options.ts'
import type { CarryPlan } from '../../data/carry/plan.ts'
import { replay as putBack } from '../../data/carry/replay.ts'
import { eachRow, type ListedRow } from '../../data/carry/rows.ts'
import { keepOutcome, keepSaid, readOutcome, readSaid } from '../../data/carry/state.ts'
import { carryForward, type OpenedSource, rowsToCarry } from '../../data/carry/step.ts'
import { conflictsIn } from '../../data/carry/words.ts'
import type { Job } from '../../data/engine.ts'
import { takeLock } from '../../engine/sqlite/lock.ts'
import { person } from '../../ledger/releases.ts'
import { openRuns, ownerOf, runOpen, watching } from '../open-runs.ts'
import type { Globals } from '../program.ts'
import { typed } from '../prompt.ts'
import { conflictLines, outcomeLines, planLines, replayLines } from '../render/data.ts'
import { type Session, withSession } from '../session.ts'
import { alone, looking, type Restored, restoredBy } from '../wiring/carry.ts'
import { saidWith, type Words } from '../wiring/carry-words.ts'
import { upgradesSince } from '../wiring/changed-since.ts'
import { earlierLines, waitingData } from '../wiring/waiting.ts'

interface Which {
  readonly run?: string
}

interface Shown {
  /** How many conflicts of each table are shown. */
  readonly show: string
  readonly values: boolean
}

/** Compares, and says what carrying forward would do; touches nothing in the database. */
export function plan(globals: Globals, options: Which & Words & Shown, component?: string): Promise<number> {
  return withSession(globals, async session => {
    const restored = await restoredBy(session, component, options.run)
    const job = looking(session)
    await using source = await lookingAt(session, restored, job)
    const said = await saidWith(await readSaid(source.dir), options)
    const { made, rows } = await planned(source, said, job, Number(options.show))
    await keepSaid(source.dir, said)
    session.out.data({
      ...made,
      conflicts: options.values ? rows : rows.map(row => ({ ...row, cells: Object.keys(row.cells) })),
    })
    for (const line of planLines(made, session.out.width)) session.out.line(line)
    for (const line of conflictLines(rows, options.values)) session.out.line(line)
    await tellEarlier(session, options, source.run, source.component)
    if (rowsToCarry(made) > 0) {
      session.out.line(
        `\nCarry it forward: backout data apply ${source.component} --run ${source.run} --plan ${made.hash.slice(0, 12)}`,
      )
    }
    return EXIT.ok
  })
}

/** The plan as things are now, and of each table so many rows that wait for a word. */
async function planned(source: OpenedSource, said: CarryOptions, job: Job, show: number) {
  const rows: ListedRow[] = []
  const waiting = `w.done = 0 AND w.take <> 1 AND ${OPEN}`
  const made = await planCarry(source, said, job, async ({ ground, pieces }) => {
    for (const piece of pieces) await eachRow(ground, piece, waiting, async row => void rows.push(row), show)
  })
  return { made, rows }
}

/** Carries forward what the plan says, keeps the rest, and proves it. */
export function apply(
  globals: Globals,
  options: Which & Words & { plan?: string; yes: boolean; asItIs?: string },
  component?: string,
): Promise<number> {
  return withSession(globals, async session => {
    const restored = await restoredBy(session, component, options.run)
    return alone(session, restored.run.id, async job => {
      await using source = await opened(session, restored, job)
      const moved = source.moved ?? (source.blind === true ? await upgradedSince(session, restored) : null)
      if (moved !== null && options.asItIs === undefined) throw movedOn(source, moved)
      const said = await saidWith(await readSaid(source.dir), options)
      const confirm = async (made: CarryPlan) => {
        // Words that mean nothing were refused by now.
        await keepSaid(source.dir, said)
        if (options.plan !== undefined || options.yes) return
        for (const line of planLines(made, session.out.width)) session.out.line(line)
        await confirmed(session, source.component)
      }
      const outcome = await carryForward(source, said, job, {
        ...(options.plan === undefined ? {} : { hash: options.plan }),
        ...(options.asItIs === undefined ? {} : { accepted: { by: person(), reason: options.asItIs } }),
        confirm,
      })
      await record(session, 'data-carried', source, {
        carried: outcome.carried,
        plan: outcome.plan.hash,
        proven: outcome.proof.ok,
        ...(options.asItIs === undefined ? {} : { asItIs: options.asItIs }),
      })
      session.out.data({ carried: outcome.carried, left: outcome.left, proof: outcome.proof })
      for (const line of outcomeLines(outcome, session.out.width)) session.out.line(line)
      return conflictsIn(outcome.left) > 0 || outcome.proof.quarantined > 0 ? EXIT.waiting : EXIT.ok
    })
  })
}

/** What came of it last time, and what still waits for a word. */
export function status(globals: Globals, options: Which & Shown, component?: string): Promise<number> {
  return withSession(globals, async session => {
    const restored = await restoredBy(session, component, options.run)
    const job = looking(session)
    await using source = await lookingAt(session, restored, job)
    const said = await readSaid(source.dir)
    const kept = await readOutcome(source.dir)
    const { made, rows } = await planned(source, said, job, Number(options.show))
    session.out.data({ last: kept, now: made, releases: said.releases })
    session.out.line(
      kept === null
        ? 'Nothing was carried to its end yet.'
        : `Carried ${kept.at}: ${kept.carried} rows; ${kept.proof.ok ? 'proven' : `NOT proven: ${kept.proof.problems.join('; ')}`}`,
    )
    if (kept?.accepted !== undefined)
      session.out.line(`What was not borne out is taken as it is by ${kept.accepted.by}: ${kept.accepted.reason}`)
    for (const line of planLines(made, session.out.width)) session.out.line(line)
    for (const r of said.releases)
      session.out.line(
        `released by ${r.by} ${r.at}: ${r.rows} rows of ${r.table ?? 'every table'}${r.where === null ? '' : ` where ${r.where}`} (${r.reason})`,
      )
    for (const line of conflictLines(rows, options.values)) session.out.line(line)
    await tellEarlier(session, options, source.run, source.component)
    const unproven = kept !== null && !kept.proof.ok && kept.accepted === undefined
    return unproven || conflictsIn(made.tables) > 0 || rowsToCarry(made) > 0 ? EXIT.waiting : EXIT.ok
  })
}

/** After a later roll-forward: what the schema of the release had no place for goes back to its place. */
export function replay(globals: Globals, options: Which & Pick<Words, 'settle'>, component?: string): Promise<number> {
  return withSession(globals, async session => {
    const { run, target } = await restoredBy(session, component, options.run)
    await refuseUntold(session)
    return alone(session, run.id, async job => {
      const source = await target.replaying(run.id, job)
      const { settle = [] } = options
      const replayed = await putBack(source, job, settle)
      const { parts } = replayed
      const said = settle.length === 0 ? {} : { settle: [...settle] }
      const back = parts.map(({ table, kind = null, back }) => ({ table, kind, back }))
      await record(session, 'data-replayed', source, { parts: back, ...said })
      const kept = await readOutcome(source.dir)
      const own = parts.filter(p => p.kind === undefined)
      const notBack = own.reduce((sum, { conflicts, later = 0 }) => sum + conflicts - later, 0)
      const replayedAt = notBack === 0 ? { replayed: iso(session.environment.clock.now()) } : {}
      if (kept !== null) await keepOutcome(source.dir, { ...kept, notBack, ...replayedAt })
      session.out.data(replayed)
      const archive = join(archiveIn(source.dir), CONFLICTS)
      const command = `backout data replay ${source.component} --run ${run.id}`
      for (const line of replayLines(replayed, { archive, command, width: session.out.width })) session.out.line(line)
      await tellEarlier(session, options, run.id, source.component)
      return parts.some(p => p.conflicts > 0) ? EXIT.waiting : EXIT.ok
    })
  })
}

/** Where nobody named a run, what others left must not be forgotten over the newest. */
async function tellEarlier(session: Session, { run: named }: Which, run: string, component: string): Promise<void> {
  if (named !== undefined) return
  for (const line of earlierLines(await waitingData(session), run, component)) session.out.line(line)
}

/** What is put back before somebody tells that the migrations have ended would count as their work when data is carried next. */
async function refuseUntold({ environment }: Session): Promise<void> {
  const standing = await standingUpgrades(environment)
  const open = standing.findLast(u => u.endedAt === null && u.migratedAt === null)
  if (open === undefined || open !== standing.at(-1)) return
  throw new BackoutError({
    code: 'migrations_untold',
    what: `The upgrade to ${open.to} began at ${open.begunAt}, and nobody has told that its migrations have ended: what is put back now would be taken for their work after the next rollback`,
    next: `backout upgrade migrated ${open.to}, then replay, then let users in`,
    exit: 'blocked',
  })
}

async function standingUpgrades({ ledger }: Session['environment']) {
  return (await ledger.releases.upgrades()).filter(u => u.undoneAt === null)
}

/** What the ledger knows of an upgrade that began after the restore, where the database itself does not tell; null: nothing. */
async function upgradedSince(session: Session, { run }: Restored): Promise<string | null> {
  const { environment } = session
  const engine = await environment.engine({ worker: false })
  const sinceRun = await upgradesSince(session, engine, await standingUpgrades(environment))
  const since = (await sinceRun(run.id)).at(-1)
  if (since === undefined) return null
  return `the upgrade to ${since.to} began at ${since.begunAt}, and no table of a migration tool tells whether values mean the same since`
}

/** A named person lets rows out of quarantine; the next `apply` carries them. */
export function release(
  globals: Globals,
  options: Which & { by: string; reason: string; table?: string; where?: string; all: boolean },
  component?: string,
): Promise<number> {
  return withSession(globals, async session => {
    const restored = await restoredBy(session, component, options.run)
    await using source = await lookingAt(session, restored, looking(session))
    const said = await readSaid(source.dir)
    if (said.suspicion === null) throw nothingHeld(source.component)
    const word: Release = {
      by: options.by,
      reason: options.reason,
      at: iso(session.environment.clock.now()),
      rows: options.all ? 'all' : 'clean',
      table: options.table ?? null,
      where: options.where ?? null,
    }
    const next: CarryOptions = { ...said, releases: [...said.releases, word] }
    const before = await heldNow(source, said, session)
    const after = await heldNow(source, next, session)
    await record(session, 'data-released', source, { ...word, typedBy: person(), rowsReleased: before - after })
    await keepSaid(source.dir, next)
    session.out.data({ released: before - after, held: after })
    session.out.line(`${before - after} rows are released by the word of ${options.by}; ${after} stay in quarantine.`)
    session.out.line(`Carry them forward: backout data apply ${source.component} --run ${source.run}`)
    return EXIT.ok
  })
}

async function heldNow(source: OpenedSource, said: CarryOptions, session: Session): Promise<number> {
  const { tables } = await planCarry(source, said, looking(session))
  return tables.reduce((sum, t) => sum + t.held, 0)
}

/** Not while the run itself compares: what it reads lies beside the database under one name, for whoever compares. */
async function lookingAt(session: Session, restored: Restored, job: Job): Promise<OpenedSource> {
  const engine = await session.environment.engine({ worker: false })
  for (const run of await openRuns(engine, session)) {
    if (run.state === 'running' && ownerOf(session) !== null && !(await watching(engine, run)))
      throw runOpen(session, run)
  }
  return opened(session, restored, job)
}

/** One at a time, for the same reason. */
async function opened({ environment }: Session, { run, target, base }: Restored, job: Job): Promise<OpenedSource> {
  if (base === null) throw restoredNothing(run.id)
  const lock = takeLock(`${environment.home}/locks`, `${environment.config.environment}-data`, run.id)
  try {
    const source = await target.carrying(run.id, base, job)
    const close = async () => {
      await source[Symbol.asyncDispose]()
      lock.release()
    }
    return { ...source, [Symbol.asyncDispose]: close }
  } catch (error) {
    lock.release()
    throw error
  }
}

function restoredNothing(run: string): BackoutError {
  return new BackoutError({
    code: 'nothing_restored',
    what: `The run ${run} restored nothing there`,
    next: 'name the run that did with --run',
    exit: 'usage',
  })
}

async function record(
  session: Session,
  type: string,
  { component, run }: { component: string; run: string },
  data: object,
): Promise<void> {
  const engine = await session.environment.engine({ worker: false })
  await engine.record(type, toJson({ component, run, by: person(), ...data }))
}

async function confirmed({ environment }: Session, component: string): Promise<void> {
  const name = await typed(`Type ${component} to carry this forward: `)
  if (name === component) return
  throw new BackoutError({
    code: 'not_confirmed',
    what: `Nothing was carried in ${environment.config.environment}`,
    next: 'type the name of the component, or give --yes',
    exit: 'aborted',
  })
}

function nothingHeld(component: string): BackoutError {
  return new BackoutError({
    code: 'nothing_held',
    what: `Nothing of ${component} is in quarantine: nobody said that it may be corrupt`,
    next: 'backout data apply; or, where it may be: backout data plan --corruption',
    exit: 'usage',
  })
}
