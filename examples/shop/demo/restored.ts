import type { Restored } from './finale.ts'
import { same } from './same.ts'

/** What was measured of the restore, in lines to be read. */
export function restoreLines(restored: Restored): string[] {
  const { written, carried, conflicts, acknowledged, archived } = restored
  const tables = Object.entries(written).filter(([, n]) => n > 0)
  return [
    `after the restore        ${acknowledged.length - missingAfter(restored)} of ${acknowledged.length} orders acknowledged before it are there`,
    `  rows written since the backup: ${total(written)} (${tables.map(([t, n]) => `${n} of ${t}`).join(', ')}); ${carried} carried forward, ${conflicts} left in conflict`,
    `  archived: ${archived.length} values of orders.discount, which the schema of the release has no place for`,
  ]
}

export interface Promised {
  readonly text: string
  readonly kept: boolean
}

/** What is promised of the restore, held against what was measured. */
export function restorePromises(restored: Restored): Promised[] {
  const { written, carried, proven, conflicts, differing, schemaMissing, discounts, archived } = restored
  return [
    {
      text: 'after the restore, too, every order that was acknowledged is there',
      kept: restored.acknowledged.length > 0 && missingAfter(restored) === 0,
    },
    {
      text: 'every row written since the backup was carried forward as it was, with no conflict left',
      kept: proven && carried > 0 && carried === total(written) && conflicts === 0 && differing === 0,
    },
    { text: 'the restored schema is the one of the release', kept: schemaMissing === 0 },
    {
      text: `what does not fit is archived: exactly ${discounts.length} values of orders.discount`,
      kept: discounts.length > 0 && same(discounts, archived),
    },
  ]
}

function missingAfter({ acknowledged, orders }: Restored): number {
  return acknowledged.filter(o => orders.get(o.id)?.total !== o.total).length
}

function total(written: Restored['written']): number {
  return Object.values(written).reduce((sum, n) => sum + n, 0)
}
