import type { Backup } from '../core/contract.ts'
import { byText } from '../core/order.ts'

export interface Keep {
  /** So many of the newest of each component and reason. */
  readonly last: number
  /** And those that are younger. Milliseconds. */
  readonly for: number
}

/** A backup, and why it stays; null: nothing speaks for it any more. */
export interface Judged {
  readonly backup: Backup
  readonly stays: string | null
}

/** `needed`: ids of backups that something relies on, and what that is: those stay whatever their age and number. */
export function judge(
  backups: readonly Backup[],
  needed: ReadonlyMap<string, string>,
  keep: Keep,
  now: number,
): Judged[] {
  const seen = new Map<string, number>()
  return backups
    .toSorted((a, b) => byText(b.createdAt, a.createdAt))
    .map(backup => {
      const group = `${backup.component} ${backup.reason}`
      const place = (seen.get(group) ?? 0) + 1
      seen.set(group, place)
      return { backup, stays: needed.get(backup.id) ?? byRule(backup, place, keep, now) }
    })
}

function byRule({ createdAt }: Backup, place: number, keep: Keep, now: number): string | null {
  if (place <= keep.last) return place === 1 ? 'the newest' : `one of the newest ${keep.last}`
  const age = now - Date.parse(createdAt)
  // A time that cannot be read is no age.
  return age > keep.for ? null : 'not old enough'
}
