import { join } from 'node:path'
import type { Finding, Node, Proposal, Step } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { toJson } from '../../core/json.ts'
import { between } from '../../data/bookkeeping.ts'
import { NO_RENAMES, type Renames } from '../../data/renames.ts'
import { compareSchemas, type SchemaDifference } from '../../data/schema.ts'
import { COPY, type Release } from './backup.ts'
import {
  backupFindings,
  downFindings,
  goneFindings,
  renameFindings,
  saying,
  sizeOf,
  writerFindings,
  writersOf,
} from './checks.ts'
import type { DownArgs } from './down.ts'
import { lostByGoingDown } from './measure.ts'
import { candidates, dataFor, findRenames } from './renames.ts'
import {
  type FileState,
  type Live,
  measuredOnce,
  placeOf,
  readLive,
  readOrTell,
  shownLevel,
  type Site,
} from './site.ts'
import { proposeRestore } from './propose-restore.ts'
import { type Ask, backupStep, estimate, type Look, omitted, withFindings } from './steps.ts'

export async function propose(site: Site, question: Ask): Promise<Proposal> {
  const place = await placeOf(site, question.signal)
  const look: Look = { site, place, question, say: saying(site.ctx.component) }
  if (question.to.identity !== place.identity) return withFindings(otherDatabase(look))
  if (question.rung === 'restore') return proposeRestore(look)
  const live = await readOrTell(place, db => readLive(site, db))
  if (typeof live === 'string') return withFindings(unreadable(look, live))
  return question.rung === 'leave' ? proposeLeave(look, live) : proposeDown(look, live)
}

function otherDatabase({ place, question, say }: Look): Finding {
  const what = `The release ${question.release} holds ${question.to.identity}, this is ${place.identity}`
  return say(
    'blocker',
    'other_identity',
    what,
    'see that `path:` names the database that the release was captured from',
  )
}

function unreadable({ place, say }: Look, is: FileState): Finding {
  const what = is === 'missing' ? `There is no file ${place.file}` : `The file ${place.file} is no readable database`
  return say('blocker', `database_${is}`, what, 'take the rung `restore`, or put the right file there')
}

function proposeLeave({ site, question, say }: Look, live: Live): Proposal {
  const differences = compareSchemas(question.to.schema, live.schema)
  const { extra, missing } = between(question.to.level.applied, live.level.applied, live.tool?.headOnly === true)
  if (differences.length + extra.length + missing.length === 0) return NOTHING
  const findings: Finding[] = []
  const bad = differences.filter(d => !d.additive)
  if (site.config.compatible === 'never' || (site.config.compatible === 'additive' && bad.length > 0)) {
    const why = site.config.compatible === 'never' ? differences : bad
    const what = `The old release cannot be left with this schema: ${shown(why) || `migrations ${extra.join(', ')}`}`
    const remedy = 'take the rung `migrate-down`, or set `compatible: always` where you know better'
    findings.push(say('blocker', 'schema_not_compatible', what, remedy))
  }
  if (live.tool?.refusesUnknown === true && extra.length > 0) {
    const what = `${live.tool.tool} of the old release does not know ${extra.join(', ')} and refuses to migrate`
    findings.push(say('warning', 'tool_behind', what, 'let the old release start without migrating'))
  }
  const staysBehind = [...differences.map(d => d.text), ...extra.map(name => `migration ${name} stays applied`)]
  return { ...NOTHING, findings, impact: { ...NO_IMPACT, staysBehind } }
}

function shown(differences: readonly SchemaDifference[]): string {
  return differences.map(d => d.text).join('; ')
}

async function proposeDown(look: Look, live: Live): Promise<Proposal> {
  const { site, place, question, say } = look
  const { to } = question
  const differences = compareSchemas(to.schema, live.schema)
  const gap = between(to.level.applied, live.level.applied, live.tool?.headOnly === true)
  if (gap.extra.length + gap.missing.length === 0) {
    return differences.length === 0 ? NOTHING : withFindings(byHand(look, live, differences))
  }
  const runIn = site.config.migrations.runIn
  const needs = writersOf(site, question)
  const { findings, backup: kept } = await backupFindings(question, site, say, 'warning')
  const whole = kept !== null && !findings.some(f => f.code === 'backup_altered')
  const found = await renamesSince(look, live, whole ? join(kept.dir, COPY) : null)
  findings.push(...writerFindings(site, question, say), ...(await downFindings(site, live, gap, say)))
  findings.push(...goneFindings(differences, found.renames, say))
  const declared = site.config.loses.filter(l => gap.extra.includes(l.migration))
  const read = await readOrTell(place, db => lostByGoingDown(db, to.schema, live.schema, declared, found.renames))
  const loss = typeof read === 'string' ? [] : read
  const by = whole ? 'the backup' : 'the fingerprint in the release'
  findings.push(...renameFindings(found, new Set(loss.map(l => l.what)), by, say))
  const backup = backupStep(look, await sizeOf(place.file), toJson(releaseOf(look, live)))
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

/** What the backup step needs to find out by itself what was renamed. */
function releaseOf({ question: { to } }: Look, live: Live): Release {
  const data = dataFor(candidates(to.schema, live.schema), to.fingerprint)
  return { schema: to.schema, backup: to.backup, data }
}

/** `copy`: the file of the release's backup, where it is whole. */
async function renamesSince({ site, place, question }: Look, live: Live, copy: string | null): Promise<Renames> {
  const { to, signal } = question
  if (candidates(to.schema, live.schema).length === 0) return NO_RENAMES
  const base = { schema: to.schema, data: to.fingerprint, copy }
  const files = [place.file, ...(copy === null ? [] : [copy])]
  return measuredOnce(site, `renames since ${to.at}`, files, async () => {
    const found = await readOrTell({ ...place, beside: copy }, db => findRenames(db, base, live.schema, signal))
    return typeof found === 'string' ? NO_RENAMES : found
  })
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
      limitMs: site.config.migrations.downLimit + 30_000,
      retries: 0,
      estimateMs: 5_000,
      onUnknown: 'ask',
      destructive: true,
      recheck: true,
    }
  })
}
