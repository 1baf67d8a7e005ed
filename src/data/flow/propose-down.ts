import type { Finding, Need, Node, Proposal } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import type { Image } from '../engine.ts'
import { NO_RENAMES, type Renames } from '../renames.ts'
import type { SchemaDifference, SchemaShape } from '../schema.ts'
import type { Release } from './backup.ts'
import { bookFindings, guessedOrder } from './book-findings.ts'
import {
  backupFindings,
  downFindings,
  goneFindings,
  renameFindings,
  unfinishedFindings,
  writerFindings,
  writersOf,
} from './checks.ts'
import { downSteps } from './down-steps.ts'
import type { Live } from './level.ts'
import { gapsBetween, moved, shownLevel } from './levels.ts'
import { lockFindings } from './locks.ts'
import { lostByGoingDown } from './lost.ts'
import { misfitFindings, misfitLoss, misfitsOf } from './misfits.ts'
import { shown } from './propose-leave.ts'
import { candidates, dataFor, findRenames } from './renames.ts'
import { isState, measuredOnce, tellState } from './site.ts'
import { backupStep, estimate, type Look, omitted, withFindings } from './steps.ts'
import { inOrder, tasksFor, type Undo } from './undoing.ts'
import { wayBackFindings } from './ways-back.ts'

/** Undoes the migrations that lie between, one a step, with the project's own tools. */
export async function proposeDown(look: Look, live: Live, differences: readonly SchemaDifference[]): Promise<Proposal> {
  const { site, question, say } = look
  const { to } = question
  const { gaps, untold } = gapsBetween(to.level, live.level)
  const tasks = tasksFor(site.settings.migrations, live, moved(gaps))
  const doubts = bookFindings(live, tasks, untold, say)
  if (tasks.length === 0) {
    const halfDone = unfinishedFindings(live, say)
    if (doubts.length + halfDone.length > 0) return withFindings(...halfDone, ...doubts)
    return differences.length === 0 ? NOTHING : withFindings(byHand(look, live, differences))
  }
  const { undos, guessed } = inOrder(tasks)
  const { findings, whole, found } = await lookBack(look, live)
  findings.push(...doubts, ...(guessed ? [guessedOrder(undos, say)] : []), ...writerFindings(site, question, say))
  findings.push(...(await downFindings(site, live, tasks, say)))
  findings.push(...(await wayBackFindings(site, live, undos, differences, say)))
  findings.push(...goneFindings(differences, found.renames, say))
  const { loss, bytes, more } = await measured(look, live, differences, undos, found)
  findings.push(...more)
  const by = whole ? 'the backup' : 'the fingerprint in the release'
  findings.push(...renameFindings(found, new Set(loss.map(l => l.what)), by, say))
  const backup = backupStep(look, bytes, toJson(releaseOf(look, live)))
  const downs = downSteps(look, live, undos)
  return {
    ...NOTHING,
    change: { from: shownLevel(live.level), to: shownLevel(to.level) },
    findings,
    impact: { ...NO_IMPACT, downtimeMs: estimate(backup, ...downs), loss },
    needs: [...writersOf(site, question), ...artefactsOf(undos)],
    steps: [backup, ...downs],
    phases: { backup: { step: backup.id }, data: { seq: downs.map((s): Node => ({ step: s.id })) } },
    omits: omitted(question),
  }
}

/** The components from whose bad release something is undone. */
function artefactsOf(undos: readonly Undo[]): Omit<Need, 'by'>[] {
  const components = new Set(undos.map(({ way }) => way.runIn).filter(of => of !== undefined))
  return [...components].map(of => ({ of, what: 'exec-from' }))
}

/** The release's backup, and what was renamed since. */
async function lookBack(look: Look, live: Live): Promise<{ findings: Finding[]; whole: boolean; found: Renames }> {
  const { site, question, say } = look
  const { findings, backup } = await backupFindings(question, site, say, 'warning')
  const whole = backup !== null && !findings.some(f => f.code === 'backup_altered')
  const image = whole && site.engine.peek !== undefined ? await site.engine.peek(backup) : null
  return { findings, whole: image !== null, found: await renamesSince(look, live, image) }
}

function measured(
  { site, question, say }: Look,
  live: Live,
  differences: readonly SchemaDifference[],
  undos: readonly Undo[],
  found: Renames,
) {
  const declared = site.settings.loses.filter(l => undos.some(({ migration }) => migration === l.migration))
  const base = question.to.schema
  const way = { base, live: live.schema, declared, renames: found.renames, at: question.to.at }
  return site.engine.reading(question.signal, async db => {
    const misfits = await misfitsOf(site, db, way)
    return {
      loss: [...(await lostByGoingDown(site, db, way)), ...misfitLoss(misfits)],
      bytes: await db.bytes(),
      more: [...misfitFindings(misfits, say), ...(await lockFindings(site, db, differences, way, say))],
    }
  })
}

/** What the backup step needs to find out by itself what was renamed. */
function releaseOf({ site, question: { to } }: Look, live: Live): Release {
  const data = dataFor(candidates(site, to.schema, live.schema), to.fingerprint)
  return { schema: to.schema, backup: to.backup, data }
}

async function renamesSince(look: Look, live: Live, image: Image | null): Promise<Renames> {
  const { site, question, stamp } = look
  const { to, signal } = question
  if (!mayBeRenamed(to.schema, live.schema)) return NO_RENAMES
  const then = { schema: to.schema, data: to.fingerprint, image }
  return measuredOnce(site, `renames since ${to.at} by ${image?.name ?? 'fingerprint'}`, stamp, async () => {
    const found = await tellState(() => findRenames(site, then, signal))
    return isState(found) ? NO_RENAMES : found
  })
}

/** Something has not the name that it had, or the name belongs to something else: by the database's own numbers, where it has some. */
function mayBeRenamed(base: SchemaShape, live: SchemaShape): boolean {
  const moved = (then: { id?: string | undefined }, now: { id?: string | undefined } | undefined) =>
    now === undefined || then.id !== now.id
  return Object.entries(base.tables).some(([name, then]) => {
    const now = live.tables[name]
    return moved(then, now) || Object.entries(then.columns).some(([c, column]) => moved(column, now?.columns[c]))
  })
}

function byHand({ say }: Look, live: Live, differences: readonly SchemaDifference[]): Finding {
  const known = live.level.tool === null ? 'No migration tool is known here' : 'No migration lies between'
  const what = `${known}, yet the schema differs: ${shown(differences)}`
  return say('blocker', 'schema_changed_by_hand', what, 'undo it by hand, set `migrations.applied`, or take `restore`')
}
