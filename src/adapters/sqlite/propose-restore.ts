import { join } from 'node:path'
import type { Backup, Finding, Proposal, Step } from '../../core/contract.ts'
import { NO_IMPACT, NOTHING } from '../../core/contract.ts'
import { compareFingerprints } from '../../data/diff.ts'
import { fingerprintHash } from '../../data/fingerprint.ts'
import { compareSchemas, schemaHash } from '../../data/schema.ts'
import { COPY } from './backup.ts'
import { backupFindings, roomFindings, sizeOf, writerFindings, writersOf } from './checks.ts'
import { fingerprint } from './fingerprint.ts'
import { everything, measureSince } from './since.ts'
import type { Since } from './measure.ts'
import { backupStep, estimate, type Look, omitted, perMegabyte, withFindings } from './steps.ts'
import { type FileState, measuredOnce, readLive, readOrTell, shownLevel } from './site.ts'

/** The restore of the release's backup; nothing where the database is still what was backed up. */
export async function proposeRestore(look: Look): Promise<Proposal> {
  const { site, place, question, say } = look
  const { to } = question
  const same = await measuredOnce(site, `same as ${to.at}`, [place.file], () => asReleased(look))
  if (same === true) return NOTHING
  const { findings, backup } = await backupFindings(question, site, say, 'blocker')
  if (backup === null) return withFindings(...findings)
  const bytes = await sizeOf(place.file)
  findings.push(...writerFindings(site, question, say), ...(await roomFindings(place, backup.bytes, say)))
  const since = await sinceBackup(look, backup, findings)
  findings.push(...returning(look, since))
  const first = backupStep(look, bytes, null)
  const second = restoreStep(look, backup)
  return {
    ...NOTHING,
    change: { from: shownFrom(look), to: `${shownLevel(to.level)}, data of ${to.at}` },
    findings,
    impact: { ...NO_IMPACT, downtimeMs: estimate(first, second), loss: since.loss },
    needs: writersOf(site, question),
    steps: [first, second],
    phases: { backup: { step: first.id }, data: { step: second.id } },
    omits: omitted(question),
  }
}

function asReleased({ site, place, question }: Look): Promise<boolean | FileState> {
  const { to, signal } = question
  return readOrTell(place, async db => {
    const { schema } = readLive(site, db)
    if (compareSchemas(to.schema, schema).length > 0) return false
    return compareFingerprints(to.fingerprint, await fingerprint(db, schema, signal)).length === 0
  })
}

function shownFrom({ question }: Look): string {
  return question.from.summary
}

function restoreStep({ site, question }: Look, backup: Backup): Step {
  const { to } = question
  return {
    id: `${site.ctx.component}/restore`,
    component: site.ctx.component,
    title: `restore the backup ${backup.id}`,
    args: { backup: backup.id, schema: schemaHash(to.schema), data: fingerprintHash(to.fingerprint) },
    limitMs: site.config.limit,
    retries: 1,
    estimateMs: perMegabyte(backup.bytes, 30),
    onUnknown: 'ask',
    destructive: true,
    recheck: true,
  }
}

/** What changed since the backup, as far as both can be read. */
async function sinceBackup(look: Look, backup: Backup, findings: Finding[]): Promise<Since> {
  const { site, place, question } = look
  if (findings.some(f => f.code === 'backup_altered')) return { loss: [], returning: {} }
  const files = [place.file, join(backup.dir, COPY)]
  const since = await measuredOnce(site, `since ${backup.id}`, files, () =>
    measureSince(site, place, backup, question.to.schema),
  )
  if (typeof since !== 'string') return since
  findings.push(look.say('warning', `database_${since}`, uncounted(look, since), 'look for what is left of it first'))
  return { loss: [everything(question.to.at, since)], returning: {} }
}

function uncounted({ place, question }: Look, is: string): string {
  const why = is === 'missing' ? 'is gone' : 'cannot be read'
  return `${place.file} ${why}: what was written since ${question.to.at} cannot be counted`
}

function returning({ say }: Look, since: Since): Finding[] {
  return Object.entries(since.returning).map(([table, rows]) => {
    const what = `${rows} rows deleted from ${table} since the backup come back`
    return say('warning', 'deleted_rows_return', what, 'delete them again where people or the law asked for it')
  })
}
