import { iso, systemClock } from '../../core/clock.ts'
import type { StepAct, Verdict } from '../../core/contract.ts'
import { amount } from '../../core/impact-text.ts'
import type { Job } from '../engine.ts'
import { notProven } from './errors.ts'
import { type ApplyOptions, applyCarry, type CarryOutcome, planCarry } from './index.ts'
import type { CarryOptions } from './options.ts'
import type { CarryPlan, TablePlan } from './plan.ts'
import type { CarrySource } from './source.ts'
import { keepOutcome, readOutcome, readSaid } from './state.ts'
import { nameUnplaced, whyUnplaced } from './unplaced.ts'
import { unprovenIn } from './unproven.ts'
import { conflictsIn } from './words.ts'

/** A source that is closed when it is done with. */
export type OpenedSource = CarrySource & AsyncDisposable

/** Carries forward and keeps what came of it. Throws `carry_unproven`. */
export async function carryForward(
  source: CarrySource,
  said: CarryOptions,
  job: Job,
  { accepted, ...options }: ApplyOptions & { accepted?: { by: string; reason: string } } = {},
): Promise<CarryOutcome> {
  const taken = accepted !== undefined && (await unprovenIn(source.dir)) !== null ? { accepted } : {}
  const outcome = await applyCarry(source, said, job, { ...options, asItIs: accepted !== undefined })
  const result = outcome.proof.ok ? await source.result?.(job) : undefined
  await keepOutcome(source.dir, {
    at: iso(systemClock.now()),
    plan: outcome.plan.hash,
    carried: outcome.carried,
    ...(result === undefined ? {} : { result }),
    ...taken,
    left: [...outcome.left],
    archived: [...outcome.plan.archived],
    proof: { ...outcome.proof, problems: [...outcome.proof.problems] },
  })
  if (!outcome.proof.ok) throw notProven(source.component, outcome.proof.problems)
  return outcome
}

/**
 * Carrying forward as a step of a plan, right after the restore. What cannot be carried does not hold the rollback up: it is
 * kept, told, and waits for `backout data`.
 */
export interface CarryForwardStep {
  apply(act: StepAct): Promise<void>
  /** Compares again: nothing that could be carried is left. */
  verify(act: StepAct): Promise<Verdict>
}

/** `report`: nothing is carried, only listed. */
export function carryForwardStep(open: (job: Job) => Promise<OpenedSource>, report = false): CarryForwardStep {
  const saidOf = async (source: CarrySource): Promise<CarryOptions> => {
    const said = await readSaid(source.dir)
    return report ? { ...said, mode: 'report' } : said
  }
  return {
    async apply(act) {
      const job = jobFor(act)
      await using source = await open(job)
      // Trying once more finds what the first try left: what was not borne out is for a person to look at.
      const before = act.attempt > 1 ? await readOutcome(source.dir) : null
      if (before?.proof.ok === false) throw notProven(source.component, before.proof.problems)
      const outcome = await carryForward(source, await saidOf(source), job)
      for (const fact of factsOf(source, outcome.plan, outcome)) await act.tell(fact)
      const kept = await readOutcome(source.dir)
      if (kept !== null) await keepOutcome(source.dir, { ...kept, toldBy: act.idem })
    },
    async verify(act) {
      const job = jobFor(act)
      await using source = await open(job)
      const kept = await readOutcome(source.dir)
      if (kept === null) return { is: 'not-done', why: 'nothing was carried to its end' }
      const unproven = await unprovenIn(source.dir)
      if (unproven !== null) return { is: 'not-done', why: unproven.join('; ') }
      const said = await saidOf(source)
      const plan = await planCarry(source, said, job)
      const waiting = said.mode === 'report' ? 0 : rowsToCarry(plan)
      if (waiting > 0) return { is: 'not-done', why: `${waiting} rows wait to be carried` }
      // Who carried may have died before it told, or was a person beside the run: what is told twice counts once.
      if (kept.toldBy !== act.idem) {
        const found = { ...kept, carried: kept.proof.carried }
        for (const fact of factsOf(source, plan, found)) await act.tell(fact)
        await keepOutcome(source.dir, { ...kept, toldBy: act.idem })
      }
      return { is: 'done', why: `${kept.proof.carried} rows are carried, ${kept.proof.listed} are listed` }
    },
  }
}

/** Large objects are counted as rows. */
export function rowsToCarry({ tables, objects }: CarryPlan): number {
  return rowsIn(tables, objects)
}

function rowsIn(tables: readonly Omit<Left, 'conflicts'>[], objects: number): number {
  return tables.reduce((sum, t) => sum + t.inserts + t.updates + t.deletes, objects)
}

function jobFor(act: StepAct): Job {
  return { signal: act.signal, guard: () => act.guard(), progress: p => act.progress(p) }
}

type Left = Pick<TablePlan, 'inserts' | 'updates' | 'deletes' | 'conflicts'>

/** `plan`: in whose mode it was carried, or would be. */
function factsOf(
  { component, run, dir }: CarrySource,
  plan: CarryPlan,
  { carried, left, proof }: Pick<CarryOutcome, 'carried' | 'proof'> & { left: readonly Left[] },
) {
  const reports = plan.mode === 'report'
  const ambiguous = left.reduce((sum, t) => sum + (t.conflicts.ambiguous ?? 0), 0)
  const conflicts = conflictsIn(left) - ambiguous
  const facts: Parameters<StepAct['tell']>[0][] = []
  if (!reports || carried > 0) {
    const text = `${amount(carried, 'rows')} written since the release ${carried === 1 ? 'was' : 'were'} carried into ${component}; proven by comparing again`
    facts.push({ kind: 'note', text, data: { carried, proven: proof.ok } })
  }
  for (const {
    inserts,
    done,
    conflicts: { rewritten = 0 },
    doubts = [],
  } of plan.tables) {
    if (inserts + done + rewritten > 0) facts.push(...doubts.map(text => ({ kind: 'side-effect' as const, text })))
  }
  const listed = reports ? rowsIn(left, plan.objects) + conflicts : 0
  if (listed > 0) {
    const text = `${amount(listed, 'changes')} since the release ${listed === 1 ? 'is' : 'are'} not in ${component}, only listed (report): backout data plan ${component}; to carry them: backout data apply ${component} --mode cell`
    facts.push({ kind: 'kept', text, data: { listed, waits: true } })
  } else if (conflicts > 0) {
    const text = `${amount(conflicts, 'rows')} of ${component} could not be carried, or not whole: backout data status ${component}`
    facts.push({ kind: 'lost', text, data: { conflicts, waits: true } })
  }
  if (ambiguous > 0) {
    const text = `${amount(ambiguous, 'rows')} of ${component} changed between the backup and the end of migrating, by the migration or by users: backout data status ${component}`
    facts.push({ kind: 'kept', text, data: { ambiguous, waits: true } })
  }
  if (proof.quarantined > 0) {
    const text = `${amount(proof.quarantined, 'rows')} of ${component} in quarantine until somebody says otherwise: backout data release`
    facts.push({ kind: 'kept', text, data: { quarantined: proof.quarantined, waits: true } })
  }
  for (const archived of plan.archived.filter(a => a.count > 0)) {
    const { table, column, count } = archived
    const has = count === 1 ? 'has' : 'have'
    const text = `${nameUnplaced(archived)} ${has} ${whyUnplaced(archived)}: archived in ${dir}; after a later roll-forward: backout data replay ${component} --run ${run}`
    facts.push({ kind: 'kept', text, data: { table, column, count } })
  }
  return facts
}
