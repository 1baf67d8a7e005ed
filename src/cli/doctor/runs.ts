import type { Engine, RunInfo } from '../../core/engine.ts'
import { ENDED } from '../../core/words.ts'
import { firstBreak } from '../../engine/chain.ts'
import { lockOwner } from '../../engine/sqlite/lock.ts'
import { announcedHeads } from '../../ledger/heads.ts'
import { comparedRuns, wholeJournal } from '../sealed-runs.ts'
import { type Abort, progressOf, toldToAbort } from '../render/progress.ts'
import type { Environment } from '../wiring/environment.ts'
import { type Check, plural, saying } from './check.ts'

const say = saying('runs')

/** The journal, and what was begun and has not ended. */
export async function runChecks(environment: Environment): Promise<Check[]> {
  const engine = await environment.engine({ worker: false })
  return [
    await chainCheck(environment, engine),
    ...(await openRuns(environment, engine)),
    ...(await upgrades(environment)),
  ]
}

async function chainCheck(environment: Environment, engine: Engine): Promise<Check> {
  const { ledger } = environment
  // Before the events: what is announced while they are read is not among them.
  const heads = await announcedHeads(ledger.keys.folder)
  const { runs, events } = await wholeJournal(engine)
  const lost = heads.find(head => head.length > 0 && events[head.length - 1]?.mac !== head.mac)
  const why =
    firstBreak(ledger.keys.chain, events)?.what ??
    (lost === undefined ? null : `the announced head of ${lost.length} events is not in it`) ??
    comparedRuns(environment, runs, events).altered
  if (why === null) return say('ok', 'journal', `the journal is intact, ${plural(events.length, 'event')}`)
  const remedy = 'keep the home as it is for whoever investigates; compare it with a copy: backout audit verify'
  return say('problem', 'journal_tampered', `the journal is not as it was written: ${why}`, remedy)
}

async function openRuns({ config, home }: Environment, engine: Engine): Promise<Check[]> {
  const all = await engine.list({ exclusive: config.environment })
  const owner = lockOwner(`${home}/locks`, config.environment)
  const open = all.filter(run => !ENDED.has(run.state))
  return Promise.all(
    open.map(async run =>
      openRun(run, owner?.run === run.id ? owner.pid : null, (await progressOf(engine, run)).abort),
    ),
  )
}

function openRun({ id, state }: RunInfo, pid: number | null, abort: Abort | null): Check {
  if (pid !== null && state === 'running') {
    return say('warning', 'run_open', `run ${id} is going on (process ${pid})`, 'backout status --follow')
  }
  if (state === 'waiting') {
    return say('problem', 'run_open', `run ${id} waits for somebody's word`, 'backout status says for what')
  }
  if (abort !== null)
    return say(
      'problem',
      'run_aborting',
      `run ${id} was ${toldToAbort(abort)}, and has not ended`,
      'backout resume ends it',
    )
  if (state === 'paused') return say('problem', 'run_open', `run ${id} is paused`, 'backout resume, or backout abort')
  const what = `run ${id} was interrupted: its process is gone, nothing is lost`
  return say('problem', 'run_interrupted', what, 'backout resume, or backout abort')
}

async function upgrades({ ledger }: Environment): Promise<Check[]> {
  const open = (await ledger.releases.upgrades()).at(-1)
  if (open === undefined || open.endedAt !== null || open.undoneAt !== null) return []
  const what = `the upgrade from ${open.from} to ${open.to}, begun ${open.begunAt}, was never told to have ended`
  return [say('warning', 'upgrade_open', what, `once it has: backout upgrade end ${open.to}`)]
}
