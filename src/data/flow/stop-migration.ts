import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { Finding, Proposal, Step, StepAct, Verdict } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { sameJson, toJson } from '../../core/json.ts'
import { schemaHash } from '../schema.ts'
import { type Live, readLive, type Running, shownLevel } from './level.ts'
import { levelShape } from './settings.ts'
import type { Site } from './site.ts'
import type { Look } from './steps.ts'

const LOOK_MS = 200
const TYPICAL_MS = 1_000

const stopArgs = z.object({
  tool: z.string(),
  /** The server's number of the session that holds the tool's lock. */
  session: z.string(),
  /** What the database must be once the session has ended, for the rest of the plan to hold; null: whatever it is. */
  expect: z.object({ level: levelShape, schema: z.string() }).nullable(),
})
type StopArgs = z.infer<typeof stopArgs>

/** Migrations under way that can be ended by the sessions that hold their tools' locks: all of them, or none. */
export function stoppable({ engine }: Site, { running, sessions }: Live): readonly Running[] {
  return engine.end !== undefined && running.length === sessions.length ? sessions : []
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
  const expect = whatever ? null : { level: live.level, schema: schemaHash(live.schema) }
  const holders = await site.engine.holders(question.signal)
  const steps = live.sessions.map(({ tool, session }) => stopStep(site, { tool, session, expect }))
  const told = live.sessions.map(({ tool, session }) => {
    const who = holders.find(h => h.id === session)?.text ?? `session ${session}`
    return say(look, tool, who)
  })
  return {
    ...proposal,
    findings: [...proposal.findings, ...told],
    settles: live.running,
    steps: [...steps, ...proposal.steps],
    phases: { ...proposal.phases, preflight: { seq: steps.map(({ id }) => ({ step: id })) } },
  }
}

function say({ site, say }: Look, tool: string, who: string): Finding {
  const effect =
    site.engine.dialect.kind === 'mysql'
      ? 'statements that change tables stay done, so that it may be half-way then: the run stops there, and is planned again'
      : 'what its transaction did is taken back by the server'
  const what = `The migration of ${tool} under way is ended first (${who}): ${effect}`
  return say(
    'warning',
    'migration_ended',
    what,
    'stop what starts it too: a deployment that tries again migrates again',
  )
}

/** It keeps from reading what a plan needs. */
export function lockedBy({ site, say }: Look, { sessions }: Live, { message }: BackoutError): Finding {
  const by =
    site.engine.dialect.kind === 'mysql'
      ? (id: string) => `KILL ${id}`
      : (id: string) => `SELECT pg_terminate_backend(${id})`
  const ends = sessions.map(({ session }) => `\`${by(session)}\``).join(' and ')
  const what = `What going back would lose cannot be read, for the migration under way keeps its tables locked: ${message}`
  return say('blocker', 'migration_locks', what, `stop the deployment, end its session (${ends}), and plan again`)
}

function stopStep({ ctx, settings }: Site, args: StopArgs): Step {
  return {
    id: `${ctx.component}/stop-migration/${args.tool}`,
    component: ctx.component,
    title: `end the migration of ${args.tool} (session ${args.session})`,
    args: toJson(args),
    limitMs: settings.migrations.downLimit + 30_000,
    retries: 0,
    estimateMs: TYPICAL_MS,
    onUnknown: 'ask',
  }
}

/** Ends the session, and only where it still holds the lock of the tool. Returns once the server has taken back what it did. */
export async function endMigration(site: Site, step: Step, act: StepAct): Promise<void> {
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
    if (is === 'not-done') throw halfWay(site, args, why)
    act.progress({ text: why })
    await sleep(LOOK_MS, undefined, { signal: act.signal })
  }
  if (now === null) return
  await act.tell({ kind: 'note', text: `The migration of ${args.tool} was ended (session ${args.session})` })
}

export async function stopVerdict(site: Site, step: Step, act: StepAct): Promise<Verdict> {
  const args = stopArgs.parse(step.args)
  const now = await holderOf(site, args, act)
  if (now === args.session) return { is: 'not-done', why: `session ${now} is still migrating` }
  return endVerdict(site, args, act)
}

async function holderOf(site: Site, { tool }: StopArgs, { signal }: StepAct): Promise<string | null> {
  const { sessions } = await site.engine.reading(signal, db => readLive(site, db))
  return sessions.find(s => s.tool === tool)?.session ?? null
}

/** What became of the session after it was told to end, and of the database. */
async function endVerdict(site: Site, { tool, session, expect }: StopArgs, { signal }: StepAct): Promise<Verdict> {
  const live = await site.engine.reading(signal, db => readLive(site, db))
  const now = live.sessions.find(s => s.tool === tool)?.session
  const there = (await site.engine.holders(signal)).find(h => h.id === session)
  if (now === session || there !== undefined) return { is: 'running', why: `${there?.text ?? session} is ending` }
  if (now !== undefined) return { is: 'not-done', why: `session ${now} migrates now` }
  const { unfinished, level, schema } = live
  if (expect === null) return { is: 'done', why: 'no migration is under way' }
  if (unfinished.length > 0) return { is: 'not-done', why: unfinished.join('; ') }
  if (!sameJson(toJson(level), toJson(expect.level))) {
    return {
      is: 'not-done',
      why: `it got further: ${shownLevel(level)}, where the plan reckons with ${shownLevel(expect.level)}`,
    }
  }
  const same = schemaHash(schema) === expect.schema
  return same
    ? { is: 'done', why: 'its session is gone' }
    : { is: 'not-done', why: 'it changed tables, and they stay so' }
}

function another({ tool, session }: StopArgs, now: string): BackoutError {
  return new BackoutError({
    code: 'migration_moved',
    what: `Another session (${now}) migrates with ${tool} than the one that the plan names (${session}); it was left alone`,
    next: 'stop what starts the migrations, then plan again',
    exit: 'moved',
  })
}

function halfWay({ engine }: Site, { tool }: StopArgs, why: string): BackoutError {
  return new BackoutError({
    code: 'migration_left_half',
    what: `The migration of ${tool} in ${engine.name} was ended, and the rest of the plan does not fit what it left`,
    cause: why,
    next: 'plan again: `backout plan`',
    exit: 'moved',
  })
}
