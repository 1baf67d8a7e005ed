import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { type Host, refused, run } from './host.ts'
import { BORN, type Busy, look, type View } from './look.ts'

const LOOK_MS = 250
const WAY_MS = 30_000

const haltArgs = z.object({
  do: z.literal('halt'),
  processes: z.array(z.object({ pid: z.string(), born: z.string(), words: z.string() })),
})
type HaltArgs = z.infer<typeof haltArgs>

/** "`docker compose up -d`, process 4711" for people; a process of Backout's own carries its step. */
export function doing({ words, step, pid }: Busy): string {
  return `\`${words}\`${step === null ? '' : ` (step ${step})`}, process ${pid}`
}

/** The step that ends what somebody else's Compose is at; null: there is none, or it is not this user's to end. */
export function haltStep({ component, config }: Host, { busy }: View): { step: Step; settles: string[] } | null {
  if (busy.length === 0 || busy.some(b => !b.ours || b.step !== null)) return null
  const args: HaltArgs = { do: 'halt', processes: busy.map(({ pid, born, words }) => ({ pid, born, words })) }
  const step: Step = {
    id: `${component}/halt`,
    component,
    title: `end ${busy.map(doing).join(' and ')} on ${config.host}`,
    args,
    limitMs: config.limits.stop + WAY_MS,
    retries: 0,
    estimateMs: 2_000,
    onUnknown: 'ask',
  }
  return { step, settles: busy.map(doing) }
}

export function isHalt(step: Step): boolean {
  return haltArgs.safeParse(step.args).success
}

/** Asks them to end, which Compose does between two of its calls. Only the processes that the plan saw: a number may be used again. */
const END = `${BORN}
while [ $# -gt 1 ]; do
  [ "$(born "$1")" != "$2" ] || kill -TERM "$1" || [ "$(born "$1")" != "$2" ] || exit 1
  shift 2
done`

export async function halt(host: Host, step: Step, act: StepAct): Promise<void> {
  const { processes } = haltArgs.parse(step.args)
  act.signal.throwIfAborted()
  act.guard()
  const argv = ['sh', '-c', END, 'end', ...processes.flatMap(({ pid, born }) => [pid, born])]
  const result = await run(host, { argv, idem: act.idem }, act.signal)
  if (result.code !== 0) throw refused(host, 'ending the Compose that somebody else runs there', result)
  const until = performance.now() + host.config.limits.stop
  for (;;) {
    const { is, why } = await haltVerdict(host, step, act)
    if (is === 'done') return
    if (performance.now() > until) throw goesOn(host, why)
    act.progress({ text: why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
}

export async function haltVerdict(host: Host, step: Step, act: StepAct): Promise<Verdict> {
  const { processes } = haltArgs.parse(step.args)
  const { busy } = await look(host, act.signal)
  const left = busy.find(b => processes.some(p => p.pid === b.pid && p.born === b.born))
  return left === undefined
    ? { is: 'done', why: 'none of the processes is there any more' }
    : { is: 'not-done', why: `${doing(left)} is still there` }
}

function goesOn({ place, config }: Host, why: string): BackoutError {
  return new BackoutError({
    code: 'compose_busy',
    what: `Somebody else's Compose at ${place} does not end within ${config.limits.stop} ms of being asked to`,
    cause: why,
    next: 'look at what it waits for, end it by hand there, then resume',
    exit: 'failed',
  })
}
