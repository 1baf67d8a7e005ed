import { readFile } from 'node:fs/promises'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { canonical, toJson } from '../../core/json.ts'
import { blockersOf, PLAN_FORMAT, type Plan, planHash } from '../../core/plan.ts'
import { ENDED } from '../../core/words.ts'
import { quote } from '../../exec/ssh-script.ts'
import { macWith } from '../../ledger/keys.ts'
import { warnOfLoss } from '../lost-journal.ts'
import { writeNamed } from '../out-file.ts'
import type { Globals } from '../program.ts'
import { planLines } from '../render/plan.ts'
import { type Session, withSession } from '../session.ts'
import { chooseRelease } from '../wiring/choose.ts'
import { makePlan } from '../wiring/planning.ts'

interface Options {
  readonly to?: string
  readonly out?: string
  readonly emergency: boolean
}

export function plan(globals: Globals, options: Options): Promise<number> {
  return withSession(globals, async session => {
    const made = await newPlan(session, options.to, options.emergency)
    showPlan(session, made)
    await tellOpenRun(session)
    if (options.out !== undefined) {
      const kept = { ...made, seal: sealOf(session, made) }
      await writeNamed(options.out, `${JSON.stringify(kept, null, 2)}\n`, 0o600)
      session.out.line('Kept. To go back by it:')
      session.out.raw(`  backout run ${quote(options.out)}`)
    }
    return blockersOf(made).length > 0 ? EXIT.blocked : EXIT.ok
  })
}

/** A plan shows the world as it is, and a run may be about to change it. */
async function tellOpenRun({ environment, out }: Session): Promise<void> {
  const engine = await environment.engine({ worker: false })
  const runs = await engine.list({ exclusive: environment.config.environment })
  for (const run of runs.filter(r => !ENDED.has(r.state))) {
    out.warn(`Run ${run.id} has not ended: ${run.state}. Look at it before you run this plan: backout status`)
  }
}

export async function newPlan(session: Session, to: string | undefined, emergency: boolean): Promise<Plan> {
  await warnOfLoss(session, await session.environment.engine({ worker: false }))
  const { why, ...destination } = await chooseRelease(session.environment, session.targets, to)
  if (why !== null) session.out.line(`${why}\n`)
  return makePlan(session.environment, session.targets, {
    ...destination,
    mode: emergency ? 'emergency' : 'full',
    parent: null,
    exclude: [],
    accepted: null,
    signal: new AbortController().signal,
  })
}

/** `among`: it is one line of several that a machine reads, and says what it is. */
export function showPlan({ out }: Session, made: Plan, { among = false } = {}): void {
  out.data(among ? { type: 'plan', plan: made } : made)
  for (const line of planLines(made, out.width)) out.line(line)
}

/** Of all of a plan, also of what its hash leaves out because it moves by itself: that is what was read before it was approved. */
function sealOf({ environment }: Session, made: Plan): string {
  return macWith(environment.ledger.keys.chain, Buffer.from(canonical(['plan', toJson(made)])))
}

/** Reads a kept plan. One that was altered is refused: what was approved is what is run, and shown. */
export async function readPlan(session: Session, path: string): Promise<Plan> {
  const text = await readFile(path, 'utf8').catch((error: Error) => {
    const next = 'backout plan --out FILE keeps one'
    throw new BackoutError({
      code: 'plan_unreadable',
      what: `${path} cannot be read`,
      cause: (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'it is not there' : error.message,
      next,
      exit: 'usage',
    })
  })
  let kept: (Plan & { seal?: string }) | null
  try {
    kept = JSON.parse(text) as Plan | null
  } catch (error) {
    throw notAPlan(path, error instanceof Error ? error.message : String(error))
  }
  if ((kept?.format as number | undefined) !== PLAN_FORMAT || kept === null) {
    throw notAPlan(path, 'its format is another one')
  }
  const { seal, ...made } = kept
  const { hash, ...rest } = made
  if (typeof hash !== 'string') throw notAPlan(path, 'it has no hash')
  if (hashed(rest) !== hash) throw altered(path, `its content no longer has the hash ${hash.slice(0, 16)}`)
  if (seal === undefined)
    throw altered(path, 'it carries no seal: it was taken away, or an older Backout kept the plan')
  if (seal !== sealOf(session, made)) {
    throw altered(
      path,
      "its steps are those of its hash, but its words or numbers are not those that were sealed with this home's key: it was altered, or another home kept it",
    )
  }
  return made
}

function altered(path: string, cause: string): BackoutError {
  return new BackoutError({
    code: 'plan_altered',
    what: `${path} is not as it was kept`,
    cause,
    next: 'make a new one: backout plan --out FILE',
    exit: 'tampered',
  })
}

/** Null where parts are missing that every plan has. */
function hashed(rest: Omit<Plan, 'hash'>): string | null {
  try {
    return planHash(rest)
  } catch {
    return null
  }
}

function notAPlan(path: string, cause: string): BackoutError {
  const next = 'backout plan --out FILE keeps one'
  return new BackoutError({ code: 'not_a_plan', what: `${path} is not a plan`, cause, next, exit: 'usage' })
}
