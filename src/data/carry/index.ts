import type { Job, Merger } from '../engine.ts'
import { type Manifest, writeArchive, writeConflicts } from './archive.ts'
import { BATCH } from './batches.ts'
import { Moved, moved, planMoved } from './errors.ts'
import { makeLedger } from './ledger.ts'
import { carryObjects } from './objects.ts'
import type { CarryOptions } from './options.ts'
import type { Ground } from './piece.ts'
import { type CarryPlan, type Laid, layOut, type TablePlan, tablePlan } from './plan.ts'
import { type CarryProof, prove, WrittenBeside } from './proof.ts'
import { keepNotes } from './replay-notes.ts'
import { carryOut } from './rounds.ts'
import type { CarrySource } from './source.ts'
import { keepBegun } from './state.ts'
import { RowByRow } from './tail.ts'
import { heldAgainst } from './unproven.ts'

/** What came of carrying forward. */
export interface CarryOutcome {
  readonly plan: CarryPlan
  /** Rows written by this process. */
  readonly carried: number
  /** What is left, by table. */
  readonly left: readonly TablePlan[]
  readonly archive: Manifest
  readonly proof: CarryProof
}

export interface ApplyOptions {
  /** Throws `plan_moved` where the plan's hash does not begin with this. */
  readonly hash?: string
  /** Is shown what will be done, before anything is; throws to let it be. */
  readonly confirm?: (plan: CarryPlan) => Promise<void>
  /** Rows a statement. */
  readonly batch?: number
  /** A person's word: what an earlier try left, and was not borne out, is as it is to be. */
  readonly asItIs?: boolean
}

/** What carrying forward would do. Writes nothing into the database. `look` sees it laid out, before it is closed. */
export async function planCarry(
  source: CarrySource,
  options: CarryOptions,
  job: Job,
  look: (laid: Laid) => Promise<void> = async () => {},
): Promise<CarryPlan> {
  await using merger = await source.merging(job)
  const laid = await layOut(source, groundOf(source, merger), options, job)
  await look(laid)
  return laid.plan
}

const TRIES = 3

/**
 * Carries forward: archive first, then the rows, then the proof. May be called again after any crash: what ours has is not
 * written twice. Throws `plan_moved`, `written_meanwhile`; an outcome whose proof is not `ok` is for the caller to refuse.
 */
export async function applyCarry(
  source: CarrySource,
  options: CarryOptions,
  job: Job,
  { hash, confirm, batch = BATCH, asItIs = false }: ApplyOptions = {},
): Promise<CarryOutcome> {
  await using merger = await source.merging(job)
  const ground = groundOf(source, merger)
  const done = { rows: 0 }
  for (let [tried, tails] = [1, true]; ; ) {
    const laid = await layOut(source, ground, options, job, { anew: true, tails })
    if (hash !== undefined && !laid.plan.hash.startsWith(hash)) throw planMoved(hash, laid.plan.hash)
    if (tried === 1 && tails) await confirm?.(laid.plan)
    try {
      return await once(laid, job, { batch, asItIs: asItIs && tried === 1 && tails, done })
    } catch (error) {
      if (error instanceof RowByRow) tails = false
      else if (!(error instanceof Moved)) throw error
      else if (tried++ === TRIES) throw moved(source, error)
    }
  }
}

interface Once {
  readonly batch: number
  readonly asItIs: boolean
  /** Rows that were carried, by this try and those before it. */
  readonly done: { rows: number }
}

async function once(laid: Laid, job: Job, { batch, asItIs, done }: Once): Promise<CarryOutcome> {
  const { ground, options } = laid
  const archive = await writeArchive(laid, job)
  job.guard()
  // It is there before it is noted that something was begun: where it is not any more, somebody took it away.
  await makeLedger(ground)
  await keepNotes(ground, laid.source.images.theirs, job)
  const held = await heldAgainst(laid, asItIs)
  await carryObjects(ground, laid.objects, options, laid.source.component, job)
  const standing = options.mode === 'report' ? laid.standing : await carryOut(laid, job, batch, done)
  // Also where nothing is carried yet: what waits must find its number free.
  await ground.merger.sequences()
  const left = laid.pieces.map((piece, i) => tablePlan(piece, standing[i] ?? []))
  const manifest = await writeConflicts(laid, archive, left)
  const { before, stray, spreads } = held
  const keep = async (proven: boolean) => {
    if (options.mode !== 'report') await keepBegun(laid.source.dir, { before, stray, spreads, proven })
  }
  const proof = await prove(laid, held, job).catch(async error => {
    if (error instanceof WrittenBeside) await keep(true)
    throw error
  })
  await keep(proof.ok)
  return { plan: laid.plan, carried: done.rows, left, archive: manifest, proof }
}

function groundOf(source: CarrySource, merger: Merger): Ground {
  return {
    dialect: source.dialect,
    merger,
    run: source.run,
    migrated: source.images.migrated !== null,
    ownWork: source.ownWork,
  }
}
