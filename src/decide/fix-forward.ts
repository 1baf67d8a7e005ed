import type { Backup } from '../core/contract.ts'
import { byText } from '../core/order.ts'
import type { Evidence } from './assessment.ts'
import type { DataImpact } from './matrix.ts'

/** What is known when the answer is to fix forward. */
export interface FixForwardInput {
  readonly environment: string
  /** What runs now, and is mended. `commit`: of the repository, where its capture holds one. */
  readonly released: { readonly release: string; readonly commit: string | null }
  /** The release that was left; its backups show the data as it was. Null: not known. */
  readonly left: string | null
  readonly dataImpact: DataImpact
  readonly migrationsBetween: number | null
  readonly backups: readonly Pick<Backup, 'id' | 'component' | 'release' | 'createdAt' | 'proof'>[]
  /** Where the repair is tried out; null: none is set up. */
  readonly rehearsal: string | null
  readonly evidence: readonly Evidence[]
  /** Gates that must pass, by name. */
  readonly gates: readonly string[]
}

/** Fixing forward, with the same care as going back. */
export interface FixForward {
  readonly start: { readonly release: string; readonly commit: string | null; readonly how: string }
  /** For working out the repair of the data: what it was before, and what it is now. */
  readonly backups: readonly RepairBackup[]
  readonly workIn: string
  readonly checklist: readonly Check[]
}

interface RepairBackup {
  readonly component: string
  /** As it was before the release: the newest proven one, else the newest. */
  readonly before: ChosenBackup | null
  /** The newest of the released version: holds the damage that is to be repaired. */
  readonly now: ChosenBackup | null
}

interface ChosenBackup {
  readonly id: string
  readonly at: string
  readonly proven: boolean
}

interface Check {
  /** Stable name in snake_case. */
  readonly id: string
  readonly text: string
}

/** Works out what to start from and what to do. Pure. */
export function fixForward(input: FixForwardInput): FixForward {
  const { release, commit } = input.released
  const from =
    commit === null ? `what ${release} was built from (its commit is not known)` : `commit ${commit} (${release})`
  const how = `branch off ${from}, not off the main line: nothing may go out with the fix that is not running now`
  const backups = repairBackups(input)
  const workIn = input.rehearsal ?? `an empty environment made from ${release}; never in ${input.environment} itself`
  return { start: { release, commit, how }, backups, workIn, checklist: checklist(input, backups, how, workIn) }
}

function repairBackups({ backups, released, left }: FixForwardInput): RepairBackup[] {
  const components = [...new Set(backups.map(b => b.component))].sort()
  return components.map(component => {
    const own = backups.filter(b => b.component === component).toSorted((a, b) => byText(b.createdAt, a.createdAt))
    const before = left === null ? [] : own.filter(b => b.release === left)
    const now = own.filter(b => b.release === released.release)
    return { component, before: chosen(before.find(isProven) ?? before[0]), now: chosen(now[0]) }
  })
}

function isProven({ proof }: FixForwardInput['backups'][number]): boolean {
  return proof?.ok === true
}

function chosen(backup: FixForwardInput['backups'][number] | undefined): ChosenBackup | null {
  return backup === undefined ? null : { id: backup.id, at: backup.createdAt, proven: isProven(backup) }
}

function checklist(input: FixForwardInput, backups: readonly RepairBackup[], how: string, workIn: string): Check[] {
  const { environment, released, dataImpact, migrationsBetween, gates } = input
  const damaged = dataImpact !== 'none'
  const bad = input.evidence.filter(e => e.ok !== true)
  const first: Check[] = []
  if (dataImpact === 'corruption')
    first.push({ id: 'stop_damage', text: `Take ${environment} offline, so that no more data is damaged` })
  first.push({ id: 'start_from', text: upper(how) })
  first.push({
    id: 'reproduce',
    text: `Reproduce it in ${workIn}: ${bad.length === 0 ? 'nothing was measured as not well, so find a measurement first' : bad.map(e => `${e.what} (${e.text})`).join('; ')}`,
  })
  const data = damaged ? dataChecks(input, backups, workIn) : []
  const schema: Check[] =
    migrationsBetween === 0
      ? []
      : [
          {
            id: 'schema',
            text: `${migrationsText(migrationsBetween)}: the fix must live with the schema as it is, or bring a migration that was run on a copy first`,
          },
        ]
  return [
    ...first,
    ...data,
    ...schema,
    { id: 'review', text: 'Have the fix read by somebody who did not write it, however small it is' },
    {
      id: 'test',
      text: `Run the tests, and the gates ${namesOr(gates, 'that you would trust after a rollback: none is configured')}, against the fix in ${workIn}`,
    },
    {
      id: 'capture',
      text: `Capture ${released.release} (\`backout capture ${/\s/.test(released.release) ? 'RELEASE' : released.release}\`) before the fix goes out: it is what you come back to if the fix is worse`,
    },
    { id: 'release', text: 'Release the fix the usual way, to a part of the users first where that is possible' },
    {
      id: 'measure',
      text: `Measure again what was not well in ${environment}, and watch it as long as after a rollback`,
    },
    { id: 'limit', text: 'Set a time at which going back is decided again, and tell those who wait' },
  ]
}

function dataChecks(
  { environment, released }: FixForwardInput,
  backups: readonly RepairBackup[],
  workIn: string,
): Check[] {
  const missing = backups.filter(b => b.now === null).map(b => b.component)
  const none = backups.length === 0
  const take = none || missing.length > 0
  return [
    ...(take
      ? [
          {
            id: 'backup_now',
            text: `Back up ${none ? 'every database' : missing.join(', ')} as it is now: \`backout capture ${released.release}\``,
          },
        ]
      : []),
    ...(none
      ? [
          {
            id: 'no_backup',
            text: 'No backup is catalogued: what the data was before the release must be had from elsewhere',
          },
        ]
      : []),
    ...backups.map(b => ({ id: `restore_${b.component}`, text: backupText(b, workIn) })),
    { id: 'extent', text: 'Write down which rows are wrong, by a query that anybody can run again' },
    { id: 'repair', text: 'Write the repair so that it can be run twice, run it there, and count what it changed' },
    { id: 'repair_backup', text: `Back up ${environment} right before the repair is run on it, and prove that backup` },
  ]
}

function backupText({ component, before, now }: RepairBackup, workIn: string): string {
  const is = (b: ChosenBackup) => `${b.id}${b.proven ? '' : ' (unproven)'}`
  const damaged = now === null ? 'the backup taken now' : is(now)
  const compare =
    before === null ? 'there is no backup of before to compare with' : `compare with ${is(before)} of before`
  return `${component}: restore ${damaged} into ${workIn}; ${compare}`
}

function migrationsText(count: number | null): string {
  if (count === null) return 'How many migrations lie between is not known'
  return count === 1 ? 'One migration lies between' : `${count} migrations lie between`
}

function namesOr(names: readonly string[], none: string): string {
  return names.length === 0 ? none : names.join(', ')
}

function upper(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}

/** The checklist for people, as plain lines. */
export function fixForwardLines(fix: FixForward): string[] {
  const of = (b: ChosenBackup | null) =>
    b === null ? 'none' : `${b.id} (${b.at}, ${b.proven ? 'proven' : 'unproven'})`
  return [
    `Start from: ${fix.start.release}${fix.start.commit === null ? '' : `, commit ${fix.start.commit}`}`,
    `Work in: ${fix.workIn}`,
    ...fix.backups.map(b => `Backup of ${b.component}: before the release ${of(b.before)}; since ${of(b.now)}`),
    ...fix.checklist.map((c, i) => `${i + 1}. [ ] ${c.text}`),
  ]
}
