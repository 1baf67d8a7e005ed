import type { Backup } from '../core/contract.ts'
import { byText } from '../core/order.ts'

export interface Keep {
  /** So many of the newest of each component and reason. */
  readonly last: number
  /** And those that are younger. Milliseconds. */
  readonly for: number
}

/** What relies on a backup. */
export interface Need {
  readonly why: string
  /** There is no way back, or no carrying forward, without it; else it can be missed, by a person's word on that very backup. */
  readonly firm: boolean
}

/** A backup, and why it stays; null: nothing speaks for it any more. `firm`: and nobody's word removes it. */
export interface Judged {
  readonly backup: Backup
  readonly stays: string | null
  readonly firm: boolean
}

/** `needed`: ids of backups that something relies on: those stay whatever their age and number. */
export function judge(
  backups: readonly Backup[],
  needed: ReadonlyMap<string, Need>,
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
      const need = needed.get(backup.id)
      const stays = need?.why ?? byRule(backup, place, keep, now)
      return { backup, stays, firm: need?.firm === true }
    })
}

function byRule({ createdAt }: Backup, place: number, keep: Keep, now: number): string | null {
  if (place <= keep.last) return place === 1 ? 'the newest' : `one of the newest ${keep.last}`
  const age = now - Date.parse(createdAt)
  // A time that cannot be read is no age.
  return age > keep.for ? null : 'not old enough'
}
