import { BackoutError, EXIT } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import type { Backup } from '../../core/contract.ts'
import { person } from '../../ledger/releases.ts'
import type { Judged } from '../../ledger/retention.ts'
import type { Globals } from '../program.ts'
import { typed } from '../prompt.ts'
import { type Session, withSession } from '../session.ts'
import { bytes, table } from '../text.ts'
import { alone } from '../wiring/carry.ts'
import { judgeBackups } from '../wiring/needed.ts'

/** Every backup: what it is of, where it lies, and why it stays. */
export function list(globals: Globals): Promise<number> {
  return withSession(globals, async session => {
    const { out } = session
    const judged = await judgedBackups(session)
    out.data(judged.map(({ backup, stays }) => ({ ...told(backup), stays })))
    if (judged.length === 0) out.line('There are no backups yet: backout capture RELEASE')
    else show(session, judged)
    return EXIT.ok
  })
}

/** Says what would go, asks, and removes it: what no rule keeps and nothing relies on, and what a person names. */
export function prune(globals: Globals, options: { yes: boolean; also?: string[] }): Promise<number> {
  return withSession(globals, session =>
    alone(session, 'prune', async job => {
      const { environment, out } = session
      if (environment.config.backups.keep === undefined) throw noRule()
      await refuseRuns(session)
      const also = options.also ?? []
      const judged = await judgedBackups(session)
      refuseNeeded(judged, also)
      const going = judged.filter(j => j.stays === null || also.includes(j.backup.id))
      const size = going.reduce((sum, { backup }) => sum + backup.bytes, 0)
      out.data(going.map(({ backup }) => told(backup)))
      if (going.length === 0) {
        out.line('No backup is to go.')
        return EXIT.ok
      }
      show(session, going)
      const spite = going.filter(j => j.stays !== null).length
      const named = spite === 0 ? '' : `, ${spite} of them in spite of what it is kept for`
      out.line(`\n${going.length} backups, ${bytes(size)}, are to go for good${named}.`)
      if (!options.yes) await confirmed(session)
      for (const { backup, stays } of going) {
        job.signal.throwIfAborted()
        job.guard()
        await record(session, backup, stays)
        await environment.ledger.backups.remove(backup.id)
      }
      out.line(`Removed: ${going.length} backups, ${bytes(size)}.`)
      return EXIT.ok
    }),
  )
}

/** What a list says of a backup: not what is in it. */
function told({ id, component, reason, release, createdAt, bytes: size, dir, held, proof }: Backup) {
  return { id, component, reason, release, createdAt, bytes: size, dir, stored: held !== undefined, proof }
}

async function judgedBackups(session: Session): Promise<Judged[]> {
  const { config, ledger } = session.environment
  const lists = await Promise.all(Object.keys(config.components).map(id => ledger.backups.list(id)))
  const all = lists.flat()
  const { keep } = config.backups
  if (keep === undefined) return all.map(backup => ({ backup, stays: 'backups.keep is not set', firm: false }))
  return judgeBackups(session, all, keep)
}

function show({ environment, out }: Session, judged: readonly Judged[]): void {
  const away = environment.ledger.backups.storage
  const rows = judged.map(({ backup: b, stays }) => [
    b.id,
    b.reason,
    b.release ?? '',
    bytes(b.bytes),
    b.proof === null ? 'unproven' : b.proof.ok ? 'proven' : 'NOT PROVEN',
    b.held === undefined ? (away === null ? 'home' : 'home only') : 'storage',
    stays ?? 'may go',
  ])
  for (const line of table(rows, out.tableWidth)) out.raw(line)
}

/** What a run relies on may be any of them. */
async function refuseRuns({ environment }: Session): Promise<void> {
  const engine = await environment.engine({ worker: false })
  const runs = await engine.list({ exclusive: environment.config.environment })
  const open = runs.find(r => !['succeeded', 'failed', 'aborted'].includes(r.state))
  if (open === undefined) return
  throw new BackoutError({
    code: 'run_not_over',
    what: `The run ${open.id} is ${open.state}, and may still need any backup; nothing was removed`,
    next: 'backout status; once it is over: backout backups prune',
    exit: 'busy',
  })
}

/** `spite`: what it was kept for, where a person named it all the same. */
async function record({ environment }: Session, backup: Backup, spite: string | null): Promise<void> {
  const { id, component, reason, release } = backup
  const engine = await environment.engine({ worker: false })
  const more = spite === null ? {} : { inSpiteOf: spite }
  await engine.record('backup-removed', toJson({ id, component, reason, release, by: person(), ...more }))
}

/** Only what can be missed goes by a person's word. */
function refuseNeeded(judged: readonly Judged[], also: readonly string[]): void {
  for (const id of also) {
    const found = judged.find(j => j.backup.id === id)
    if (found === undefined)
      throw new BackoutError({
        code: 'backup_unknown',
        what: `There is no backup ${id}; nothing was removed`,
        next: 'backout backups shows their names',
        exit: 'usage',
      })
    if (found.firm)
      throw new BackoutError({
        code: 'backup_needed',
        what: `The backup ${id} cannot be missed; nothing was removed`,
        cause: found.stays ?? '',
        next: 'where that release is not to be gone back to: backout release mark RELEASE bad; else leave it',
        exit: 'usage',
      })
  }
}

async function confirmed({ environment }: Session): Promise<void> {
  const { environment: name } = environment.config
  if ((await typed(`Type ${name} to remove them: `)) === name) return
  throw new BackoutError({
    code: 'not_confirmed',
    what: `No backup of ${name} was removed`,
    next: 'type the name of the environment, or give --yes',
    exit: 'aborted',
  })
}

function noRule(): BackoutError {
  return new BackoutError({
    code: 'no_retention',
    what: 'Nothing says which backups may go: `backups.keep` is not set',
    next: 'set it in backout.yaml, for example: backups: { keep: { last: 5, for: 30d } }',
    exit: 'usage',
  })
}
