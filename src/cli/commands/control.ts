import type { Engine, RunInfo } from '../../core/engine.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { person } from '../../ledger/releases.ts'
import { ownerOf } from '../open-runs.ts'
import type { Globals } from '../program.ts'
import { type Asked, subjectOf } from '../render/progress.ts'
import { findOpenRun, type Session, withSession } from '../session.ts'
import { openQuestions, unique } from './resume.ts'

export function pause(globals: Globals, _options: unknown, id?: string): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: false })
    const run = await findOpenRun(engine, session.environment, id)
    if (ownerOf(session) === null) {
      session.out.line(`No process is at work on run ${run.id}; it goes on with: backout resume`)
      session.out.data({ run: run.id, state: run.state, pausing: false })
      return EXIT.ok
    }
    await engine.signal(run.id, '$pause', { by: person() }, unique('pause'))
    session.out.line(`Run ${run.id} pauses after the step in progress. Go on with: backout resume`)
    session.out.data({ run: run.id, state: run.state, pausing: true })
    return EXIT.ok
  })
}

export function resolve(
  globals: Globals,
  options: { done?: boolean; notDone?: boolean; look?: boolean; reason?: string },
  step = '',
): Promise<number> {
  const [word] = [options.done && 'done', options.notDone && 'not-done', options.look && 'look'].filter(w => w)
  if (typeof word !== 'string') {
    const next = `look at the target, then: backout resolve ${step} --done, or --not-done; --look asks it again`
    throw new BackoutError({ code: 'no_word', what: 'Say what became of the step', next, exit: 'usage' })
  }
  return answer(globals, step, word, options.reason ?? null)
}

export function skip(globals: Globals, options: { reason: string }, step = ''): Promise<number> {
  return answer(globals, step, 'skip', options.reason)
}

export function approve(globals: Globals, options: { reason?: string }, id?: string): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: false })
    const run = await findOpenRun(engine, session.environment, id)
    const open = await openQuestions(engine, run)
    const wanted = (asked: Asked) => asked.answers.find(a => a === 'approve' || a === 'accept')
    const asked = open.findLast(q => wanted(q) !== undefined)
    const word = asked === undefined ? undefined : wanted(asked)
    if (asked === undefined || word === undefined) throw nothingAsked(run, 'an approval', open)
    return send(session, engine, run, { open, asked, word, reason: options.reason ?? null })
  })
}

function answer(globals: Globals, step: string, word: string, reason: string | null): Promise<number> {
  return withSession(globals, async session => {
    const engine = await session.environment.engine({ worker: false })
    const run = await findOpenRun(engine, session.environment, undefined)
    const open = await openQuestions(engine, run)
    const asked = open.find(q => q.step === step && q.answers.includes(word))
    if (asked === undefined) throw nothingAsked(run, `a word on ${step}`, open)
    return send(session, engine, run, { open, asked, word, reason })
  })
}

interface Answering {
  /** All questions; the one that is answered is among them. */
  readonly open: readonly Asked[]
  readonly asked: Asked
  readonly word: string
  readonly reason: string | null
}

async function send(
  session: Session,
  engine: Engine,
  run: RunInfo,
  { open, asked, word, reason }: Answering,
): Promise<number> {
  await engine.signal(run.id, `answer:${asked.token}`, { do: word, by: person(), reason }, unique(asked.token))
  const owner = ownerOf(session)
  session.out.line(`Journalled as the word of ${person()}: ${asked.step ?? asked.about} ${word}.`)
  const left = open.filter(q => q !== asked).map(subjectOf)
  if (left.length > 0) session.out.line(`It waits for your word on ${left.join(', ')} too: backout status`)
  else session.out.line(owner === null ? 'Go on with: backout resume' : `Process ${owner.pid} goes on.`)
  session.out.data({ run: run.id, step: asked.step, answer: word })
  return EXIT.ok
}

function nothingAsked(run: RunInfo, what: string, open: readonly Asked[]): BackoutError {
  const waits = open.map(asked => `it waits for a word on ${subjectOf(asked)}: ${asked.answers.join(', ')}`)
  const none = run.state === 'waiting' ? 'it was answered already' : `it is ${run.state} and waits for nobody`
  return new BackoutError({
    code: 'not_asked',
    what: `Run ${run.id} does not wait for ${what}`,
    cause: open.length === 0 ? none : waits.join('\n'),
    next: open.length === 0 && run.state === 'waiting' ? 'backout resume' : 'backout status',
    exit: 'usage',
  })
}
