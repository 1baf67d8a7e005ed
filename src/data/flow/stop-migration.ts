import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Finding, Proposal, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import { expectShape, halfWay, LOOK_MS, leavesAsIs, leftBehind, TYPICAL_MS } from './left-behind.ts'
import { type Live, type Running, readLive } from './level.ts'
import { nameOfBook } from './levels.ts'
import type { Site } from './site.ts'
import type { Look } from './steps.ts'
import { commandStop, commandStopVerdict, endByCommand, isCommandStop } from './stop-command.ts'
import { UNTOLD } from './under-way.ts'

const stopArgs = z.object({
  tool: z.string(),
  /** Its bookkeeping, where several of the tool's are there. */
  table: z.string().optional(),
  /** The server's number of the session that holds the tool's lock. */
  session: z.string(),
  expect: expectShape,
})
type StopArgs = z.infer<typeof stopArgs>

/** Whether all that is under way can be ended: by the command of the settings, or by the sessions that hold the tools' locks. */
export function stoppable({ engine, settings }: Site, { running, sessions }: Live): boolean {
  if (running.length === 0 || running.some(what => what.startsWith(UNTOLD))) return false
  if (settings.migrations.inFlight.stop !== undefined) return true
  return engine.end !== undefined && running.length === sessions.length
}

/** What the database says, without what runs right now and will have been stopped. */
export function calm(live: Live): Live {
  return {
    ...live,
    running: [],
    sessions: [],
    unfinished: live.unfinished.filter(what => !live.running.includes(what)),
  }
}

/** The same proposal, which first ends the migrations under way. `whatever`: it puts all that they leave in order. */
export async function withStops(look: Look, live: Live, proposal: Proposal, whatever = false): Promise<Proposal> {
  if (proposal.findings.some(f => f.level === 'blocker')) return proposal
  const { site, question } = look
  const expect = whatever ? null : leavesAsIs(live, question.to.level)
  const holders = await site.engine.holders(question.signal)
  const who = live.sessions.map(({ session }) => holders.find(h => h.id === session)?.text ?? `session ${session}`)
  const byCommand = site.settings.migrations.inFlight.stop !== undefined
  const steps = byCommand
    ? [commandStop(site, live, expect)]
    : live.sessions.map((running, i) => {
        // What the others do is under way still: the last step sees to what all of them leave.
        const left = i === live.sessions.length - 1 ? expect : null
        return stopStep(site, { ...heldBy(live, running), session: running.session, expect: left })
      })
  const told = byCommand
    ? [
        say(
          look,
          `What is under way (${[...live.running, ...who].join('; ')}) is ended first by \`migrations.inFlight.stop\``,
        ),
      ]
    : live.sessions.map((running, i) =>
        say(look, `The migration of ${called(heldBy(live, running))} under way is ended first (${who[i]})`),
      )
  return {
    ...proposal,
    findings: [...proposal.findings, ...told],
    settles: live.running,
    steps: [...steps, ...proposal.steps],
    phases: { ...proposal.phases, preflight: { seq: steps.map(({ id }) => ({ step: id })) } },
  }
}

function say({ site, say }: Look, what: string): Finding {
  const effect =
    site.engine.dialect.kind === 'mysql'
      ? 'statements that change tables stay done, so that it may be half-way then: the run stops there, and is planned again'
      : 'what its transaction did is taken back by the server'
  return say(
    'warning',
    'migration_ended',
    `${what}: ${effect}`,
    'stop what starts it too: a deployment that tries again migrates again',
  )
}

/** It keeps from reading what a plan needs. */
export function lockedBy({ site, say }: Look, { sessions }: Live, { message }: BackoutError): Finding {
  const what = `What going back would lose cannot be read, for the migration under way keeps its tables locked: ${message}`
  if (sessions.length === 0) {
    return say('blocker', 'migration_locks', what, 'end it as `migrations.inFlight.stop` does, and plan again')
  }
  const by =
    site.engine.dialect.kind === 'mysql'
      ? (id: string) => `KILL ${id}`
      : (id: string) => `SELECT pg_terminate_backend(${id})`
  const ends = sessions.map(({ session }) => `\`${by(session)}\``).join(' and ')
  return say('blocker', 'migration_locks', what, `stop the deployment, end its session (${ends}), and plan again`)
}

function heldBy({ sessions }: Live, { tool, table }: Running): Pick<StopArgs, 'tool' | 'table'> {
  return sessions.filter(s => s.tool === tool).length > 1 ? { tool, table } : { tool }
}

function called({ tool, table }: Pick<StopArgs, 'tool' | 'table'>): string {
  return nameOfBook({ tool, table: table ?? null }, true)
}

function isHeldBy({ tool, table }: StopArgs, session: Running): boolean {
  return session.tool === tool && (table === undefined || session.table === table)
}

function stopStep({ ctx, settings }: Site, args: StopArgs): Step {
  return {
    id: [ctx.component, 'stop-migration', args.tool, ...(args.table === undefined ? [] : [args.table])].join('/'),
    component: ctx.component,
    title: `end the migration of ${called(args)} (session ${args.session})`,
    args: toJson(args),
    limitMs: settings.migrations.downLimit + 30_000,
    retries: 0,
    estimateMs: TYPICAL_MS,
    onUnknown: 'ask',
  }
}

/** Ends what is under way. Returns once it is gone, and the server has taken back what it did. */
export async function endMigration(site: Site, step: Step, act: StepAct): Promise<void> {
  return isCommandStop(step) ? endByCommand(site, step, act) : endSession(site, step, act)
}

/** The session is ended only where it still holds the lock of the tool. */
async function endSession(site: Site, step: Step, act: StepAct): Promise<void> {
  const args = stopArgs.parse(step.args)
  const now = await holderOf(site, args, act)
  if (now !== null && now !== args.session) throw another(args, now)
  if (now !== null) {
    act.signal.throwIfAborted()
    act.guard()
    await site.engine.end?.(args.session, act.signal)
  }
  for (;;) {
    const { is, why } = await endVerdict(site, args, act)
    if (is === 'done') break
    if (is === 'not-done') throw halfWay(site, `The migration of ${called(args)}`, why)
    act.progress({ text: why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
  if (now === null) return
  await act.tell({ kind: 'note', text: `The migration of ${called(args)} was ended (session ${args.session})` })
}

export async function stopVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  if (isCommandStop(step)) return commandStopVerdict(site, step, act)
  const args = stopArgs.parse(step.args)
  const now = await holderOf(site, args, act)
  if (now === args.session) return { is: 'not-done', why: `session ${now} is still migrating` }
  return endVerdict(site, args, act)
}

async function holderOf(site: Site, args: StopArgs, { signal }: StepAct): Promise<string | null> {
  const { sessions } = await site.engine.reading(signal, db => readLive(site, db))
  return sessions.find(s => isHeldBy(args, s))?.session ?? null
}

/** What became of the session after it was told to end, and of the database. */
async function endVerdict(site: Site, args: StopArgs, { signal }: StepAct): Promise<Verdict> {
  const { session, expect } = args
  const live = await site.engine.reading(signal, db => readLive(site, db, expect?.than))
  const now = live.sessions.find(s => isHeldBy(args, s))?.session
  const there = (await site.engine.holders(signal)).find(h => h.id === session)
  if (now === session || there !== undefined) return { is: 'running', why: `${there?.text ?? session} is ending` }
  if (now !== undefined) return { is: 'not-done', why: `session ${now} migrates now` }
  return leftBehind(live, expect, 'its session is gone')
}

function another(args: StopArgs, now: string): BackoutError {
  return new BackoutError({
    code: 'migration_moved',
    what: `Another session (${now}) migrates with ${called(args)} than the one that the plan names (${args.session}); it was left alone`,
    next: 'stop what starts the migrations, then plan again',
    exit: 'moved',
  })
}
