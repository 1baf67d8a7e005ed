import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Backup, Finding, Need, Question } from '../../core/contract.ts'
import { messageOf } from '../../core/errors.ts'
import type { Between } from '../bookkeeping.ts'
import { notRestored } from '../loss.ts'
import { type Doubt, nameOf, type Rename, type Renames } from '../renames.ts'
import type { SchemaDifference } from '../schema.ts'
import { departedRun } from './departed.ts'
import { factsIn } from './facts.ts'
import type { Live } from './level.ts'
import { type Gap, nameOfBook } from './levels.ts'
import type { DatabasePin } from './settings.ts'
import { backupStamp, measuredOnce, nounOf, type Site } from './site.ts'
import { commandOf, says, type Task, type WaySettings } from './undoing.ts'

type Ask = Question<DatabasePin>
export type Say = (level: Finding['level'], code: string, what: string, remedy: string) => Finding

export function saying(component: string): Say {
  return (level, code, what, remedy) => ({ level, code, component, what, remedy })
}

/** The components that write and can be stopped, as needs. */
export function writersOf(site: Site, question: Ask): Omit<Need, 'by'>[] {
  if (site.settings.writers === 'none') return []
  const able = question.dependents.filter(d => d.serves.includes('stopped'))
  return able.map(d => ({ of: d.id, what: 'stopped' as const }))
}

export function writerFindings(site: Site, question: Ask, say: Say): Finding[] {
  if (site.settings.writers === 'none' || writersOf(site, question).length > 0) return []
  const what = `Nobody is known who writes ${site.engine.name} and could be stopped first`
  const remedy = `let the components that write depend on ${site.ctx.component} (dependsOn), or set \`writers: none\` if nothing writes`
  return [say('blocker', 'writers_unknown', what, remedy)]
}

/** Whether the release's backup is there, whole and proven. `level`: how grave it is where it is not. */
export async function backupFindings(
  question: Ask,
  site: Site,
  say: Say,
  level: 'blocker' | 'warning',
): Promise<{ findings: Finding[]; backup: Backup | null }> {
  const { to, release } = question
  const none = (code: string, what: string, remedy: string) => ({
    findings: [say(level, code, what, remedy)],
    backup: null,
  })
  const run = departedRun(question)
  if (to.backup === null) {
    if (run === null)
      return none('backup_missing', `The release ${release} has no backup of its own`, 'restore another release')
    const what = `The run ${run} made no backup of ${site.engine.name} that is there and can be restored`
    return none('backup_missing', what, 'go to a release that was captured: backout run --to RELEASE')
  }
  const backup = await site.ctx.backups.get(to.backup).catch((error: unknown) => messageOf(error))
  if (typeof backup === 'string') {
    const remedy = 'bring it back from where copies are kept, or go back to another release'
    return none('backup_missing', `The backup ${to.backup} of release ${release} is gone: ${backup}`, remedy)
  }
  const altered = await alteredIn(site, backup, question.signal)
  const findings: Finding[] = []
  if (altered.length > 0 || factsIn(backup, site.engine.dialect.kind) === null) {
    const what = `The backup ${backup.id} is not as it was made: ${altered.slice(0, 3).join(', ') || 'no facts'}`
    findings.push(say(level, 'backup_altered', what, 'bring a good copy back, or go back to another release'))
  }
  if (backup.proof?.ok !== true) {
    const never = backup.proof === null
    const what = `The backup ${backup.id} ${never ? 'was never proven' : 'failed its proof'}`
    // Nobody can make it again; and what is loaded is compared with what was backed up before anything is touched.
    const [grave, remedy] =
      run !== null && never
        ? (['warning', 'loading it proves it, before anything is touched'] as const)
        : ([level, 'capture the release again, or prove the backup'] as const)
    findings.push(say(grave, 'backup_unproven', what, remedy))
  }
  return { findings, backup }
}

/** What is not as it was made. What can be read where it lies is asked for what would be lost: then its files must be here. */
export async function alteredIn(site: Site, backup: Backup, signal: AbortSignal): Promise<readonly string[]> {
  const compare = site.engine.peek === undefined ? 'look' : 'check'
  return measuredOnce(site, `check ${backup.id}`, await backupStamp(backup), () =>
    site.ctx.backups[compare](backup.id, signal),
  )
}

/** What the tools and the settings say about undoing these migrations. */
export async function downFindings(site: Site, live: Live, tasks: readonly Task[], say: Say): Promise<Finding[]> {
  const several = live.books.length > 1
  const out = unfinishedFindings(live, say)
  for (const task of tasks) out.push(...(await taskFindings(site, task, several, say)))
  return out
}

async function taskFindings(site: Site, task: Task, several: boolean, say: Say): Promise<Finding[]> {
  const { gap, book, way } = task
  const { extra, missing } = gap
  const [tool, of] = [nameOfBook(gap, several), several ? ` (${nameOfBook(gap, true)})` : '']
  const out: Finding[] = []
  if (missing.length > 0) {
    const what = `Migrations of the release are not applied any more${of}: ${missing.join(', ')}`
    out.push(say('blocker', 'migrations_missing', what, 'apply them again by hand, or take the rung `restore`'))
  }
  if (extra.length === 0) return out
  out.push(say('note', 'migrations_between', `To undo${of}, newest first: ${extra.join(', ')}`, ''))
  const final = book?.undoable == null ? [] : extra.filter(name => !book.undoable?.includes(name))
  if (final.length > 0) {
    const what = `${tool} completed ${final.join(', ')}, and has no way back then`
    out.push(say('blocker', 'migration_without_down', what, 'take the rung `restore`, or undo it by hand'))
  }
  if (way === null) return out
  if (way.down === undefined) out.push(noDown(task, way, say))
  else if (!isNewest(gap) && !says(way, 'BACKOUT_MIGRATION')) {
    const what = `${extra.join(', ')} ${extra.length > 1 ? 'are' : 'is'} older than migrations that stay${of}`
    const remedy = `let \`${commandOf(way)}\` undo the migration named in $BACKOUT_MIGRATION, not just the newest`
    out.push(say('blocker', 'migrations_interleaved', what, remedy))
  }
  if (way.downScripts !== undefined) out.push(...(await scriptFindings(site, way.downScripts, gap, say)))
  return out
}

/** A migration that runs, or that ended in the middle, is no place to go back from. */
export function unfinishedFindings(live: Live, say: Say): Finding[] {
  if (live.unfinished.length === 0) return []
  const way = live.running.length > 0 ? 'say by `migrations.inFlight.stop` how it is ended, or ' : ''
  const remedy = `${way}finish or repair it with ${live.level.tool ?? 'the migration tool'}, or take the rung \`restore\``
  return [say('blocker', 'migration_half_done', live.unfinished.join('; '), remedy)]
}

function noDown({ book }: Task, way: WaySettings, say: Say): Finding {
  const own = book?.tool.down
  const hint =
    own == null ? 'a command that undoes the migration named in $BACKOUT_MIGRATION' : `for example \`${own}\``
  const lacks = own === null ? `${book?.tool.tool} has no way to undo a migration, and ` : ''
  return say('blocker', 'no_down_command', `${lacks}\`${commandOf(way)}\` is not set`, `set it: ${hint}`)
}

function isNewest({ now, extra }: Gap): boolean {
  return (
    now
      .slice(now.length - extra.length)
      .toReversed()
      .join('\0') === extra.join('\0')
  )
}

async function scriptFindings(site: Site, template: string, { extra }: Between, say: Say): Promise<Finding[]> {
  const gone: string[] = []
  for (const name of extra) {
    const file = resolve(site.ctx.baseDir, template.replaceAll('{name}', name))
    await access(file).catch(() => gone.push(name))
  }
  if (gone.length === 0) return []
  const what = `No down-script is there for ${gone.join(', ')} (${template})`
  return [say('blocker', 'migration_without_down', what, 'write it, or take the rung `restore`')]
}

/** What going back cannot give back because the release destroyed it. */
export function goneFindings(
  differences: readonly SchemaDifference[],
  renames: readonly Rename[],
  say: Say,
): Finding[] {
  return notRestored(differences, renames).map(d => {
    const what = `${d.text}, or was renamed: undoing the migration brings back the ${d.object}, its content only if the down-script does`
    return say('warning', 'content_gone', what, 'the rung `restore` brings the content back as it was at the release')
  })
}

/** What was taken for a rename, and what was not though it looks like one and is counted as lost. `by`: "the backup". */
export function renameFindings(
  { renames, doubts }: Renames,
  lost: ReadonlySet<string>,
  by: string,
  say: Say,
): Finding[] {
  const taken = renames.map(r => {
    if (r.known === true) {
      const what = `${nameOf(r.now)} is ${nameOf(r.was)} under another name, as the database itself knows; checked again after undoing`
      return say('note', 'renamed', what, '')
    }
    const held = `${nameOf(r.now)} holds what ${nameOf(r.was)} held in ${r.equal} of ${r.rows} rows of ${by}`
    return say('note', 'renamed', `${held}: taken for a rename; checked again after undoing`, '')
  })
  const counted = doubts.filter(d => lost.has(nameOf(d.now)))
  const doubtful = counted.map(d => say('note', 'rename_unproven', `${doubtText(d, by)}: counted as lost`, ''))
  return [...taken, ...doubtful]
}

function doubtText(doubt: Doubt, by: string): string {
  const [from, to] = [nameOf(doubt.was), nameOf(doubt.now)]
  if (doubt.why === 'differs') {
    return `${to} holds what ${from} held in no more than ${doubt.equal} of ${doubt.rows} rows of ${by}, so that it is no rename`
  }
  if (doubt.why === 'ambiguous') {
    const others = doubt.rivals.map(r => `${nameOf(r.now)} what ${nameOf(r.was)} held`)
    return `${to} holds what ${from} held, and ${others.join(' and ')}, so that nobody can tell what was renamed`
  }
  const because = doubt.why === 'untold' ? doubt.untold : `no row of ${by} has a value to compare`
  return `Whether ${to} is ${from} under another name cannot be told, for ${because}`
}

/** Room for what will be written beside the database. */
export async function roomFindings(site: Site, bytes: number, signal: AbortSignal, say: Say): Promise<Finding[]> {
  const free = await site.engine.freeBytes(signal)
  const needed = Math.ceil(bytes * 1.1)
  if (free === null || free >= needed) return []
  const what = `The disk of the ${nounOf(site)} ${site.engine.name} has ${megabytes(free)} free, the restore needs ${megabytes(needed)}`
  return [say('blocker', 'disk_full', what, 'free space there')]
}

function megabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1_048_576)} MB`
}
