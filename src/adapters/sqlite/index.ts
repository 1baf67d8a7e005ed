import type {
  Adapter,
  CaptureAct,
  Observation,
  OpenContext,
  Proposal,
  Remembered,
  Step,
  StepAct,
  Target,
  Verdict,
} from '../../core/contract.ts'
import { iso, systemClock } from '../../core/clock.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { factsIn, makeBackup, pinOf, prove } from './backup.ts'
import { RUNGS, type RungId, type SqliteConfig, type SqlitePin, sqliteConfig, sqlitePin } from './config.ts'
import { reading } from './database.ts'
import { begun, downVerdict, migrateDown } from './down.ts'
import { fingerprint } from './fingerprint.ts'
import { propose } from './propose.ts'
import { observe, placeOf, readLive, type Site } from './site.ts'
import { applyBackup, backupVerdict, applyRestore, restoreVerdict } from './act.ts'

const RUNG_WORDS: Record<RungId, { tier: 'leave' | 'release' | 'restore'; title: string }> = {
  leave: { tier: 'leave', title: 'leave the schema as it is' },
  'migrate-down': { tier: 'release', title: 'undo the migrations' },
  restore: { tier: 'restore', title: 'restore the backup' },
}

/** An SQLite database file. */
export const sqlite: Adapter<SqliteConfig, SqlitePin> = {
  kind: 'sqlite',
  config: sqliteConfig,
  pin: sqlitePin,
  pinVersion: 1,
  open: async (config: SqliteConfig, ctx: OpenContext) => targetOf({ config, ctx, measured: new Map() }),
}

function targetOf(site: Site): Target<SqlitePin> {
  return {
    rungs: RUNGS.filter(id => site.config.rungs.includes(id)).map(id => ({ id, ...RUNG_WORDS[id] })),
    serves: [],
    observe: signal => observe(site, signal),
    capture: (observed, act) => capture(site, observed, act),
    propose: (question): Promise<Proposal> => propose(site, question),
    apply: (step, act) => apply(site, step, act),
    verify: (step, act) => verify(site, step, act),
    remembered: () => remembered(site),
    [Symbol.asyncDispose]: async () => {},
  }
}

async function capture(site: Site, observed: Observation, act: CaptureAct): Promise<SqlitePin> {
  const place = await placeOf(site, act.signal)
  if (act.purpose === 'departure') {
    const read = await reading(place, async db => {
      const live = readLive(site, db)
      return { live, data: await fingerprint(db, live.schema, act.signal) }
    })
    const { live, data } = read
    const level = { tool: live.level.tool, applied: [...live.level.applied] }
    return {
      identity: observed.identity,
      at: iso(systemClock.now()),
      backup: null,
      level,
      schema: live.schema,
      fingerprint: data,
    }
  }
  const about = { component: site.ctx.component, reason: 'capture', release: act.release } as const
  const backup = await prove(site, await makeBackup(site, place, act, about), act)
  const facts = factsIn(backup)
  if (facts === null) throw new BackoutError({ code: 'backup_altered', what: `The backup ${backup.id} lost its facts` })
  return pinOf(backup, facts)
}

async function apply(site: Site, step: Step, act: StepAct): Promise<void> {
  act.signal.throwIfAborted()
  switch (verbOf(step)) {
    case 'backup':
      return applyBackup(site, step, act)
    case 'migrate-down':
      return migrateDown(site, step, act)
    case 'restore':
      return applyRestore(site, step, act)
    default:
      throw unknownStep(step)
  }
}

/** A database that is locked cannot say; where something of ours was begun, it is the likely holder. */
async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  try {
    switch (verbOf(step)) {
      case 'backup':
        return await backupVerdict(site, step, act)
      case 'migrate-down':
        return await downVerdict(site, step, act)
      case 'restore':
        return await restoreVerdict(site, step, act)
      default:
        throw unknownStep(step)
    }
  } catch (error) {
    const busy = error instanceof BackoutError && error.code === 'database_busy'
    return { is: busy && begun(act) ? 'running' : 'unknown', why: messageOf(error) }
  }
}

function verbOf(step: Step): string {
  return step.id.split('/')[1] ?? ''
}

function unknownStep(step: Step): BackoutError {
  return new BackoutError({ code: 'step_unknown', what: `The sqlite adapter knows no step ${step.id}` })
}

async function remembered(site: Site): Promise<Remembered<SqlitePin>[]> {
  const backups = await site.ctx.backups.list(site.ctx.component)
  const found = backups.flatMap(backup => {
    const facts = factsIn(backup)
    return facts === null ? [] : [{ release: backup.release ?? backup.id, pin: pinOf(backup, facts), at: facts.at }]
  })
  return found.sort((a, b) => b.at.localeCompare(a.at))
}
