import { systemClock } from '../../core/clock.ts'
import type { StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import type { Text } from '../../core/secret.ts'
import { runFor } from '../../exec/command-step.ts'
import { groupAlive } from '../../exec/local.ts'
import { lastLines } from '../../exec/words.ts'
import { noteEnded } from './ended.ts'
import { isLeft, isPending, type Place } from './look.ts'
import type { SettleArgs } from './steps.ts'

const POLL_MS = 500

/** Ends another client's operation by the command of the settings, or waits: what it does last would come last. */
export async function settle(place: Place, args: SettleArgs, act: StepAct): Promise<void> {
  const { halt } = place.config
  if (halt !== undefined && (await isSettled(place, args, act)).is === 'not-done')
    await haltClient(place, halt, args, act)
  for (;;) {
    const { is, why } = await isSettled(place, args, act)
    if (is === 'done') return
    act.progress({ text: why })
    await systemClock.sleep(POLL_MS, act.signal)
  }
}

export async function isSettled(place: Place, { revision }: SettleArgs, act: StepAct): Promise<Verdict> {
  const begun = act.handle as { pgid?: number } | null
  if (begun?.pgid !== undefined && (await groupAlive(begun.pgid, act.idem))) {
    return { is: 'running', why: `\`halt\` is still at work (process group ${begun.pgid})` }
  }
  const one = (await place.helm.history(act.signal)).find(found => found.revision === revision)
  if (one === undefined || !isPending(one)) {
    const why = one === undefined ? `revision ${revision} is gone` : `revision ${revision} is ${one.status}`
    return { is: 'done', why }
  }
  if (await isLeft(place, one)) {
    return { is: 'done', why: `revision ${revision} is ${one.status}, and no client is at it any more` }
  }
  return { is: 'not-done', why: `revision ${revision} is ${one.status} since ${one.updated}` }
}

/** Helm's record stays pending where its client is ended: that nobody is at it any more is known by this alone. */
async function haltClient(place: Place, halt: readonly Text[], { revision }: SettleArgs, act: StepAct): Promise<void> {
  const { ctx, config } = place
  const command = { argv: halt, cwd: ctx.baseDir, limitMs: config.limits.halt }
  const { code, stdout, stderr } = await runFor(act, command)
  if (code !== 0) throw refused(place, code, lastLines(stderr || stdout, 1_000))
  const one = (await place.helm.history(act.signal)).find(found => found.revision === revision)
  if (one !== undefined && isPending(one)) await noteEnded(ctx, one)
}

function refused({ config }: Place, code: number, said: string): BackoutError {
  return new BackoutError({
    code: 'command_failed',
    what: `The client that is at ${config.release} could not be ended: \`halt\` ended with code ${code}`,
    cause: said || 'it said nothing',
    next: 'end it where it was started (the deploy job of CI), then resume',
    exit: 'failed',
  })
}
