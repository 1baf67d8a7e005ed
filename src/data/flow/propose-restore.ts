import type { Backup, Finding, Loss, Proposal, Step } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { isCarried } from '../carry/open.ts'
import { carryStep } from '../carry/verb.ts'
import { compareFingerprints } from '../diff.ts'
import { fingerprintHash } from '../fingerprint.ts'
import { compareSchemas, schemaHash } from '../schema.ts'
import { isKnown } from '../touched-targets.ts'
import { alteredIn, backupFindings, roomFindings, type Say, writerFindings, writersOf } from './checks.ts'
import { factsIn } from './facts.ts'
import { readLive } from './level.ts'
import { sameLevel, shownLevel } from './levels.ts'
import { everything, type Since } from './since.ts'
import { AT_MOST, sinceBackup } from './since-backup.ts'
import { backupStamp, isState, measuredOnce, nounOf, readOrTell, type Site, type State } from './site.ts'
import { backupStep, estimate, type Look, loadingMs, omitted, perMegabyte, withFindings } from './steps.ts'
import { calm } from './stop-migration.ts'
import { isUntoldBefore, toldOf, touchedSince, untoldSince } from './untold.ts'

/** The restore of the release's backup; nothing where the database is still what was backed up, or was restored and carried into. */
export async function proposeRestore(look: Look): Promise<Proposal> {
  const { site, question, say, stamp } = look
  const { to } = question
  const same = await measuredOnce(site, `same as ${to.at}`, stamp, () => asReleased(look))
  if (same === true) return NOTHING
  const { findings, backup } = await backupFindings(question, site, say, 'blocker')
  if (backup === null) return withFindings(...findings)
  findings.push(...writerFindings(site, question, say))
  findings.push(...(await roomFindings(site, backup.bytes, question.signal, say)))
  const bytes = await readOrTell(site, question.signal, db => db.bytes())
  // Nothing can be brought back out of a database that cannot be read.
  const carry = isState(bytes) ? null : carryStep(site, backup)
  const carried = carry !== null && site.settings.carryForward === 'apply'
  const since = await lossSince(look, backup, findings)
  findings.push(...returning(look, since, carried))
  if (carried) findings.push(...(await untoldFindings(look, backup)))
  const first = backupStep(look, isState(bytes) ? backup.bytes : bytes, null)
  const after = [...restoreSteps(look, backup), ...(carry === null ? [] : [carry])]
  return {
    ...NOTHING,
    change: { from: question.from.summary, to: `${shownLevel(to.level)}, data of ${to.at}` },
    findings,
    impact: { ...NO_IMPACT, downtimeMs: estimate(first, ...after), loss: lossAfter(since, carried) },
    needs: writersOf(site, question),
    steps: [first, ...after],
    phases: { backup: { step: first.id }, data: { seq: after.map(({ id }) => ({ step: id })) } },
    omits: omitted(question),
  }
}

/** What of the users' work cannot be told from that of the migrations is not brought back: said before anything is touched. */
async function untoldFindings({ site, question, say }: Look, backup: Backup): Promise<Finding[]> {
  const then = factsIn(backup, site.engine.dialect.kind)
  if (then === null) return []
  if (backup.reason === 'pre-rollback') return [takenBack(site, say, backup)]
  const untold = await readOrTell(site, question.signal, async db => {
    const now = await readLive(site, db, then.level)
    const between = (await site.ctx.backups.list(site.ctx.component)).filter(b => b.createdAt > backup.createdAt)
    const told = toldOf(site, now, between)
    if (told !== null && (await isAltered(site, told, question.signal))) return { altered: told.id }
    const since = told === null ? await untoldSince(site, now, { backup, facts: then }, null) : null
    if (told !== null && isUntoldBefore(site, told, backup, between)) {
      const own = factsIn(told, site.engine.dialect.kind)?.ownWorkSince === backup.id
      const touched = await touchedSince(site, now, { backup, facts: then }, told, between)
      if (touched === null && !own) return { where: ALL_ROWS, who: 'the last of them had ended only' }
    }
    if (since === null) return null
    const names = since.touched?.tables.filter(name => isKnown(then.schema, name) || isKnown(now.schema, name))
    if (names?.length === 0) return null
    return { where: names === undefined ? ALL_ROWS : `what differs in ${names.join(', ')}`, who: null }
  })
  if (untold === null || isState(untold)) return []
  if ('altered' in untold) {
    const what = `The backup ${untold.altered} of right after migrating is not as it was made: what the migrations of ${site.engine.name} may have written is listed in place of being brought back`
    return [say('warning', 'migrated_altered', what, 'bring a good copy of it back first')]
  }
  const said = untold.who === null ? 'nobody said when they had ended' : `somebody said when ${untold.who}`
  const what = `Migrations ran in ${site.engine.name}, and ${said}: ${untold.where} may be their work or users', and is listed in place of being brought back${NEW_ROWS}`
  return [say('warning', 'migrations_untold', what, UNTOLD)]
}

function takenBack({ engine }: Site, say: Say, { createdAt }: Backup): Finding {
  const what = `${engine.name} was taken back since ${createdAt}: what differs in rows of then, and those that are gone, may be by that or by users, and is listed in place of being brought back; new rows come`
  return say('warning', 'taken_back_since', what, 'look at it afterwards: backout data plan')
}

async function isAltered(site: Site, backup: Backup, signal: AbortSignal): Promise<boolean> {
  return (await alteredIn(site, backup, signal)).length > 0
}

const ALL_ROWS = 'rows of the release that differ'

const NEW_ROWS = '; so are rows that came since with a value in a column where those of the release became others'

const UNTOLD =
  'say afterwards that it was users (`backout data apply --settle ambiguous=theirs`), or name `migrations.upScripts`; next time let the deployment call `backout upgrade migrated`'

function asReleased({ site, question }: Look): Promise<boolean | State> {
  const { to, signal } = question
  return readOrTell(site, signal, async db => {
    const live = calm(await readLive(site, db, to.level))
    const { schema } = live
    if (compareSchemas(to.schema, schema).length > 0) return false
    // What a migration tool still holds for begun or done keeps it from working with the old release.
    if (live.unfinished.length > 0 || !sameLevel(live.level, to.level)) return false
    const data = await db.fingerprint(schema, undefined, to.fingerprint.method)
    if (to.fingerprint.method === data.method && compareFingerprints(to.fingerprint, data).length === 0) return true
    return to.backup !== null && isCarried(site, to.backup, fingerprintHash(data))
  })
}

/** Loading beside touches nothing; only the swap destroys. */
function restoreSteps({ site, question }: Look, backup: Backup): readonly [Step, Step] {
  const { to } = question
  const { component } = site.ctx
  const common = {
    component,
    args: {
      backup: backup.id,
      schema: schemaHash(to.schema),
      data: fingerprintHash(to.fingerprint),
      method: to.fingerprint.method,
    },
    limitMs: site.settings.limit,
    retries: 1,
  }
  const load: Step = {
    ...common,
    id: `${component}/restore/load`,
    title: `load the backup ${backup.id} beside ${site.engine.name}, and compare it with what was backed up`,
    estimateMs: loadingMs(backup),
    onUnknown: 'repeat',
  }
  const swap: Step = {
    ...common,
    id: `${component}/restore/swap`,
    title: `put the backup ${backup.id} in the place of ${site.engine.name}`,
    estimateMs: perMegabyte(backup.bytes, 5),
    onUnknown: 'ask',
    destructive: true,
    recheck: true,
    rewinds: { what: site.engine.name, since: to.at },
  }
  return [load, swap]
}

/** What changed since the backup, as far as both can be read. */
async function lossSince(look: Look, backup: Backup, findings: Finding[]): Promise<Since> {
  const { site, question, stamp } = look
  if (findings.some(f => f.code === 'backup_altered')) return { loss: [], returning: {} }
  const both = `${stamp} ${await backupStamp(backup)}`
  const since = await measuredOnce(site, `since ${backup.id}`, both, () => sinceBackup(look, backup))
  if (!isState(since)) return since
  findings.push(look.say('warning', `database_${since}`, uncounted(look, since), 'look for what is left of it first'))
  return { loss: [everything(site, question.to.at, since)], returning: {} }
}

function uncounted({ site, question }: Look, is: State): string {
  const why = is === 'missing' ? 'is gone' : 'cannot be read'
  return `The ${nounOf(site)} ${site.engine.name} ${why}: what was written since ${question.to.at} cannot be counted`
}

const CARRIED = 'brought back right after the restore as far as it fits; the rest is listed and kept'

/** What is said of the same loss where it is carried forward: how much of it fits shows only then. */
const MOST_NOW = 'at most: counted exactly right before the restore'

function lossAfter({ loss }: Since, carried: boolean): readonly Loss[] {
  if (!carried) return loss
  const noteOf = (l: Loss) => (l.note === AT_MOST ? `${MOST_NOW}; ${CARRIED}` : CARRIED)
  return loss.map(l => (/ \((added|changed)\)$/.test(l.what) ? { ...l, note: noteOf(l) } : l))
}

function returning({ say }: Look, since: Since, carried: boolean): Finding[] {
  return Object.entries(since.returning).map(([table, rows]) => {
    const what = `${rows} rows deleted from ${table} since the backup come back`
    if (carried) {
      const again = `${what} with the restore, and are deleted again after it where nothing hangs on them`
      return say('note', 'deleted_rows_return', again, '')
    }
    return say('warning', 'deleted_rows_return', what, 'delete them again where people or the law asked for it')
  })
}
