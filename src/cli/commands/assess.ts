import { parseDuration } from '../../config/fields.ts'
import { iso } from '../../core/clock.ts'
import { BackoutError, EXIT, messageOf } from '../../core/errors.ts'
import { toJson } from '../../core/json.ts'
import type { Plan } from '../../core/plan.ts'
import {
  type Assessment,
  answerOf,
  assessmentLines,
  evidenceOf,
  assess as judge,
  overrule,
  weighedBy,
} from '../../decide/assessment.ts'
import { type FixForward, fixForward, fixForwardLines } from '../../decide/fix-forward.ts'
import type { Answer, DataImpact, Severity } from '../../decide/matrix.ts'
import { hex, stamp } from '../../ledger/files.ts'
import { person } from '../../ledger/releases.ts'
import type { Globals } from '../program.ts'
import { type Session, withSession } from '../session.ts'
import { wrap } from '../text.ts'
import { migrationsIn } from '../wiring/migrations.ts'
import { current } from '../wiring/standing.ts'
import { askAll } from './gates.ts'
import { newPlan } from './plan.ts'

interface Options {
  readonly severity: string
  readonly dataImpact: string
  readonly timeToFix?: string
  readonly affects?: readonly string[]
  readonly users?: readonly string[]
  readonly functions?: readonly string[]
  readonly note?: string
  readonly to?: string
  readonly overrule?: string
  readonly why?: string
}

export function assess(globals: Globals, options: Options): Promise<number> {
  return withSession(globals, async session => {
    const severity = oneOf<Severity>('--severity', options.severity, ['critical', 'high', 'medium', 'low'])
    const dataImpact = oneOf<DataImpact>('--data-impact', options.dataImpact, ['none', 'minor', 'major', 'corruption'])
    refuseUnreasoned(options)
    const { environment, out } = session
    const results = await askAll(session, Object.keys(environment.config.gates))
    const made = await planFor(session, options.to)
    const now = environment.clock.now()
    const decided = judge(
      {
        id: `${stamp(now)}-${hex(2)}`,
        at: iso(now),
        by: person(),
        severity,
        dataImpact,
        timeToFixMs: timeToFix(options.timeToFix),
        affected: { systems: options.affects ?? [], users: options.users ?? [], functions: options.functions ?? [] },
        note: options.note ?? null,
        evidence: results.flatMap(evidenceOf),
        migrationsBetween: made.plan === null ? null : migrationsIn(made.plan),
        ...(made.plan === null ? { rollbackMs: null, loss: null, blockers: [made.why] } : weighedBy(made.plan)),
      },
      environment.config.policy.matrix ?? null,
    )
    const final = overruled(decided, options)
    await (await environment.engine({ worker: false })).record('assessment', toJson(final))
    const fix = answerOf(final) === 'fix-forward' ? await fixOf(session, final) : null
    out.data({ ...final, fixForward: fix })
    for (const line of assessmentLines(final)) for (const l of wrap(line, out.width, '', '  ')) out.line(l)
    next(session, final, fix)
    return EXIT.ok
  })
}

function oneOf<T extends string>(option: string, said: string, known: readonly T[]): T {
  const found = known.find(k => k === said)
  if (found !== undefined) return found
  const next = `use one of ${known.join(', ')}`
  throw new BackoutError({ code: 'option_invalid', what: `${option} cannot be "${said}"`, next, exit: 'usage' })
}

function timeToFix(said: string | undefined): number | null {
  if (said === undefined) return null
  const ms = parseDuration(said)
  if (ms !== null) return ms
  const next = 'give it as 45m or 2h; leave it out where nobody can say'
  throw new BackoutError({ code: 'option_invalid', what: `--time-to-fix cannot be "${said}"`, next, exit: 'usage' })
}

/** What going back would cost is part of the decision; where no plan can be made, that is evidence too. */
async function planFor(session: Session, to: string | undefined): Promise<{ plan: Plan | null; why: string }> {
  try {
    return { plan: await newPlan(session, to, false), why: '' }
  } catch (error) {
    // A name that nothing has is a slip of the one who typed it.
    if (to !== undefined && error instanceof BackoutError && error.code === 'release_unknown') throw error
    return { plan: null, why: messageOf(error) }
  }
}

/** Before gates are asked, which takes its time. */
function refuseUnreasoned({ overrule: answer, why }: Options): void {
  if (answer === undefined) {
    if (why === undefined) return
    const next = 'say what counts instead: --overrule roll-back|consider|fix-forward; or put it into --note'
    throw new BackoutError({ code: 'option_invalid', what: '--why is about an overruling', next, exit: 'usage' })
  }
  oneOf<Answer>('--overrule', answer, ANSWERS)
  if (why !== undefined && why.trim() !== '') return
  const next = 'say why: --why "…"'
  const what = 'The decision can be overruled only for a reason'
  throw new BackoutError({ code: 'overrule_invalid', what, next, exit: 'usage' })
}

const ANSWERS = ['roll-back', 'consider', 'fix-forward'] as const

function overruled(assessment: Assessment, options: Options): Assessment {
  if (options.overrule === undefined) return assessment
  const answer = oneOf<Answer>('--overrule', options.overrule, ANSWERS)
  return overrule(assessment, { at: assessment.at, by: person(), why: options.why ?? '', answer })
}

function next({ out }: Session, assessment: Assessment, fix: FixForward | null): void {
  out.line()
  if (fix === null) {
    const offline = answerOf(assessment) === 'offline-first'
    out.line(offline ? 'next: take it offline, then: backout plan' : 'next: backout plan')
    return
  }
  for (const line of fixForwardLines(fix)) for (const l of wrap(line, out.width, '', '  ')) out.line(l)
}

async function fixOf({ environment }: Session, assessment: Assessment): Promise<FixForward> {
  const { config, ledger } = environment
  const release = (await current(environment)) ?? 'the running release'
  const known = await ledger.releases.find(release)
  const upgrade = (await ledger.releases.upgrades()).findLast(u => u.to === release)
  const backups = await Promise.all(Object.keys(config.components).map(id => ledger.backups.list(id)))
  return fixForward({
    environment: config.environment,
    released: { release, commit: known?.captures[0]?.commit ?? null },
    left: upgrade?.from ?? null,
    dataImpact: assessment.dataImpact,
    migrationsBetween: assessment.migrationsBetween,
    backups: backups.flat(),
    rehearsal: null,
    evidence: assessment.evidence,
    gates: Object.keys(config.gates),
  })
}
