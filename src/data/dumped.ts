import { z } from 'zod'
import type { Backup } from '../core/contract.ts'
import type { Dumped } from './engine.ts'

export const dumpedShape = z.object({
  made: z.string(),
  covers: z.array(z.string()),
  leaves: z.array(z.string()),
  facts: z.json(),
})

const facts = z.object({ dump: dumpedShape })

/** What the dump in a backup said of itself; null where the backup says nothing of it. */
export function dumpedIn(backup: Backup): Dumped | null {
  const dump = facts.safeParse(backup.facts).data?.dump
  return dump === undefined ? null : (dump as Dumped)
}
