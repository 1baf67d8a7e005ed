import { iso, systemClock } from '../../core/clock.ts'
import type {
  CaptureAct,
  Observation,
  OpenContext,
  Remembered,
  Step,
  StepAct,
  Target,
  Verdict,
} from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { byText } from '../../core/order.ts'
import { unknownFor } from '../../core/unheard.ts'
import { type CarryTarget, carryTarget } from '../carry/open.ts'
import { carryVerb } from '../carry/verb.ts'
import { makeBackup, prove } from './backup.ts'
import { applyBackup, backupVerdict } from './backup-step.ts'
import { compareWith } from './compare-release.ts'
import { downVerdict, migrateDown } from './down.ts'
import { begun } from './down-command.ts'
import { factsIn, pinOf } from './facts.ts'
import { readLive } from './level.ts'
import { keepMigrated } from './migrated.ts'
import { observe } from './observe.ts'
import { propose } from './propose.ts'
import { ready } from './ready.ts'
import { applyLoad, applySwap, loadVerdict, swapVerdict } from './restore.ts'
import { type DatabasePin, type DatabaseSettings, RUNGS, type RungId } from './settings.ts'
import type { Base, Site } from './site.ts'
import { endMigration, stopVerdict } from './stop-migration.ts'
import { readNow } from './under-way.ts'

const RUNG_WORDS: Record<RungId, { tier: 'leave' | 'release' | 'restore'; title: string }> = {
  leave: { tier: 'leave', title: 'leave the schema as it is' },
  'migrate-down': { tier: 'release', title: 'undo the migrations' },
  restore: { tier: 'restore', title: 'restore the backup' },
}

/** One kind of step: what it does, and how it is asked what became of it. */
interface Verb {
  apply(site: Site, step: Step, act: StepAct): Promise<void>
  verify(site: Site, step: Step, act: StepAct): Promise<Verdict>
}

const VERBS: Readonly<Record<string, Verb>> = {
  backup: { apply: applyBackup, verify: backupVerdict },
  'migrate-down': { apply: migrateDown, verify: downVerdict },
  'restore/load': { apply: applyLoad, verify: loadVerdict },
  'restore/carry': carryVerb,
  'restore/swap': { apply: applySwap, verify: swapVerdict },
  'stop-migration': { apply: endMigration, verify: stopVerdict },
}

/** Any database, as a target: the rungs, proofs and losses are the same for all that have an engine. */
export function databaseTarget(
  engine: Base,
  settings: DatabaseSettings,
  ctx: OpenContext,
): Target<DatabasePin> & CarryTarget {
  const site: Site = { engine, settings, ctx, measured: new Map() }
  return {
    rungs: RUNGS.filter(id => settings.rungs.includes(id)).map(id => ({ id, ...RUNG_WORDS[id] })),
    serves: [],
    observe: signal => observe(site, signal),
    capture: (observed, act) => capture(site, observed, act),
    propose: question => propose(site, question),
    apply: async (step, act) => {
      act.signal.throwIfAborted()
      await verbOf(step).apply(site, step, act)
    },
    verify: (step, act) => verify(site, step, act),
    migrated: act => keepMigrated(site, act),
    compare: question => compareWith(site, question),
    ready: signal => ready(site, signal),
    remembered: () => remembered(site),
    ...carryTarget(site),
    [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
  }
}

async function capture(site: Site, observed: Observation, act: CaptureAct): Promise<DatabasePin> {
  if (act.purpose === 'departure') return departure(site, observed, act)
  await refuseHalfDone(site, act.signal)
  const about = { component: site.ctx.component, reason: 'capture', release: act.release } as const
  const backup = await prove(site, await makeBackup(site, act, about), act)
  const facts = factsIn(backup, site.engine.dialect.kind)
  if (facts === null) throw new BackoutError({ code: 'backup_altered', what: `The backup ${backup.id} lost its facts` })
  return pinOf(backup, facts)
}

/** No state that a release could be taken back to. */
async function refuseHalfDone(site: Site, signal: AbortSignal): Promise<void> {
  const { unfinished } = await site.engine.reading(signal, db => readNow(site, db, signal))
  if (unfinished.length === 0) return
  throw new BackoutError({
    code: 'migration_half_done',
    what: `${site.engine.name} is in the middle of a migration: ${unfinished.join('; ')}`,
    next: 'finish or repair it with the migration tool, then capture',
    exit: 'failed',
  })
}

/** Without a backup: the plan's own backup phase makes one. */
function departure(site: Site, { identity }: Observation, act: CaptureAct): Promise<DatabasePin> {
  return site.engine.reading(act.signal, async db => {
    const { level, schema } = await readLive(site, db)
    const fingerprint = await db.fingerprint(schema)
    return { identity, at: iso(systemClock.now()), backup: null, level, schema, fingerprint }
  })
}

/** A database that is locked cannot say; where something of ours was begun, it is the likely holder. */
async function verify(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  try {
    return await verbOf(step).verify(site, step, act)
  } catch (error) {
    const busy = error instanceof BackoutError && error.code === 'database_busy'
    return busy && begun(act) ? { is: 'running', why: messageOf(error) } : unknownFor(error)
  }
}

function verbOf(step: Step): Verb {
  const [, verb = '', part = ''] = step.id.split('/')
  const found = VERBS[verb] ?? VERBS[`${verb}/${part}`]
  if (found !== undefined) return found
  throw new BackoutError({ code: 'step_unknown', what: `A database knows no step ${step.id}` })
}

async function remembered(site: Site): Promise<Remembered<DatabasePin>[]> {
  const backups = await site.ctx.backups.list(site.ctx.component)
  const ways = backups.filter(b => b.reason !== 'migrated')
  const found = ways.flatMap(backup => {
    const facts = factsIn(backup, site.engine.dialect.kind)
    return facts === null ? [] : [{ release: backup.release ?? backup.id, pin: pinOf(backup, facts), at: facts.at }]
  })
  return found.sort((a, b) => byText(b.at, a.at))
}
