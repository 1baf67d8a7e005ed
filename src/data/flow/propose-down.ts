import type { Finding, Node, Proposal, Step } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import { type Between, between } from '../bookkeeping.ts'
import type { Image } from '../engine.ts'
import { NO_RENAMES, type Renames } from '../renames.ts'
import type { SchemaDifference, SchemaShape } from '../schema.ts'
import type { Release } from './backup.ts'
import {
  backupFindings,
  downFindings,
  goneFindings,
  renameFindings,
  unfinishedFindings,
  writerFindings,
  writersOf,
} from './checks.ts'
import type { DownArgs } from './down.ts'
import { type Live, othersMoved, shownLevel } from './level.ts'
import { lockFindings } from './locks.ts'
import { lostByGoingDown } from './lost.ts'
import { misfitFindings, misfitLoss, misfitsOf } from './misfits.ts'
import { shown } from './propose-leave.ts'
import { candidates, dataFor, findRenames } from './renames.ts'
import { isState, measuredOnce, tellState } from './site.ts'
import { backupStep, estimate, type Look, omitted, withFindings } from './steps.ts'
import { wayBackFindings } from './ways-back.ts'

/** Undoes the migrations that lie between, one a step, with the project's own tool. */
export async function proposeDown(look: Look, live: Live, differences: readonly SchemaDifference[]): Promise<Proposal> {
  const { site, question, say } = look
  const { to } = question
  const gap = between(to.level.applied, live.level.applied, live.tool?.headOnly === true)
  const others = otherFindings(look, live)
  if (gap.extra.length + gap.missing.length === 0) {
    const halfDone = unfinishedFindings(live, say)
    if (others.length + halfDone.length > 0) return withFindings(...halfDone, ...others)
    return differences.length === 0 ? NOTHING : withFindings(byHand(look, live, differences))
  }
  const runIn = site.settings.migrations.runIn
  const needs = writersOf(site, question)
  const { findings, whole, found } = await lookBack(look, live)
  findings.push(...others, ...writerFindings(site, question, say), ...(await downFindings(site, live, gap, say)))
  findings.push(...(await wayBackFindings(site, live, gap.extra, differences, say)))
  findings.push(...goneFindings(differences, found.renames, say))
  const { loss, bytes, more } = await measured(look, live, differences, gap, found)
  findings.push(...more)
  const by = whole ? 'the backup' : 'the fingerprint in the release'
  findings.push(...renameFindings(found, new Set(loss.map(l => l.what)), by, say))
  const backup = backupStep(look, bytes, toJson(releaseOf(look, live)))
  const downs = downSteps(look, live, gap.extra)
  return {
    ...NOTHING,
    change: { from: shownLevel(live.level), to: shownLevel(to.level) },
    findings,
    impact: { ...NO_IMPACT, downtimeMs: estimate(backup, ...downs), loss },
    needs: runIn === undefined ? needs : [...needs, { of: runIn, what: 'exec-from' }],
    steps: [backup, ...downs],
    phases: { backup: { step: backup.id }, data: { seq: downs.map((s): Node => ({ step: s.id })) } },
    omits: omitted(question),
  }
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
  gap: Between,
  found: Renames,
) {
  const declared = site.settings.loses.filter(l => gap.extra.includes(l.migration))
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

/** One database, several tools: only one of them is asked to undo. */
function otherFindings({ question, say }: Look, live: Live): Finding[] {
  const moved = othersMoved(question.to.level, live.level)
  if (moved.length === 0) return []
  const what = `${moved.join('; ')}, and \`migrations.down\` undoes what ${live.level.tool} applied`
  const remedy = 'name the tool that is to be undone in `migrations.tool`, undo the rest by hand, or take `restore`'
  return [say('blocker', 'other_tool_between', what, remedy)]
}

function byHand({ say }: Look, live: Live, differences: readonly SchemaDifference[]): Finding {
  const known = live.level.tool === null ? 'No migration tool is known here' : 'No migration lies between'
  const what = `${known}, yet the schema differs: ${shown(differences)}`
  return say('blocker', 'schema_changed_by_hand', what, 'undo it by hand, set `migrations.applied`, or take `restore`')
}

function downSteps({ site, question }: Look, live: Live, extra: readonly string[]): Step[] {
  const { component } = site.ctx
  const { to } = question
  return extra.map((migration, i) => {
    const before = live.level.applied.filter(name => !extra.slice(0, i).includes(name))
    const after = before.filter(name => name !== migration)
    const head = live.tool?.headOnly === true ? to.level.applied.at(-1) : after.at(-1)
    const args: DownArgs = {
      migration,
      before,
      level: head ?? '',
      release: to.level.applied,
      schema: to.schema,
      first: i === 0,
      last: i === extra.length - 1,
      backup: to.backup,
    }
    return {
      id: `${component}/migrate-down/${migration}`,
      component,
      title: `undo migration ${migration}`,
      args: toJson(args),
      limitMs: site.settings.migrations.downLimit + 30_000,
      retries: 0,
      estimateMs: 5_000,
      onUnknown: 'ask',
      destructive: true,
      recheck: true,
    }
  })
}
