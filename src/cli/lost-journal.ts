import type { Engine } from '../core/engine.ts'
import { amount } from '../core/impact-text.ts'
import { announcedHeads } from '../ledger/heads.ts'
import type { Session } from './session.ts'

/** A journal that is shorter than it once was knows of no run that it lost: "there was none" would be no answer. */
export async function warnOfLoss({ environment, out }: Session, engine: Engine): Promise<void> {
  const { keys } = environment.ledger
  const announced = Math.max(0, ...(await announcedHeads(keys.folder)).map(head => head.length))
  const { length } = await engine.head()
  if (length >= announced) return
  out.warn(
    `The journal in ${environment.home} holds ${amount(length, 'events')}, and once held ${announced}: it was lost, cut or put aside, and with it what runs had begun. See docs/recovery.md, "The journal cannot be opened"`,
  )
}
