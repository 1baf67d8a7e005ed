import type { Finding, Proposal } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { compareSchemas } from '../schema.ts'
import { saying } from './checks.ts'
import { byOwnBackup } from './departed.ts'
import type { Live } from './level.ts'
import { proposeDown } from './propose-down.ts'
import { proposeLeave } from './propose-leave.ts'
import { proposeRestore } from './propose-restore.ts'
import { isState, nounOf, readOrTell, type Site, type State, stampOf } from './site.ts'
import { type Ask, type Look, withFindings } from './steps.ts'
import { calm, lockedBy, stoppable, withStops } from './stop-migration.ts'
import { readNow } from './under-way.ts'

export async function propose(site: Site, asked: Ask): Promise<Proposal> {
  const question = await byOwnBackup(site, asked)
  const stamp = await stampOf(site, question.from, question.signal)
  const look: Look = { site, question, stamp, say: saying(site.ctx.component) }
  const identity = await site.engine.identity(question.signal)
  if (question.to.identity !== identity) return withFindings(otherDatabase(look, identity))
  const live = await readOrTell(site, question.signal, db => readNow(site, db, question.signal, question.to.level))
  const restoring = question.rung === 'restore'
  if (isState(live)) return restoring ? proposeRestore(look) : withFindings(unreadable(look, live))
  if (!stoppable(site, live)) return restoring ? proposeRestore(look) : proposeBy(look, live)
  return proposeStopping(look, live)
}

/** Going back from the middle of a migration. Where that locks what must be read first, it has to be ended by hand. */
async function proposeStopping(look: Look, live: Live): Promise<Proposal> {
  try {
    if (look.question.rung === 'restore') return await withStops(look, live, await proposeRestore(look), true)
    return await withStops(look, live, await proposeBy(look, calm(live)))
  } catch (error) {
    look.question.signal.throwIfAborted()
    if (!(error instanceof BackoutError) || error.code !== 'database_busy') throw error
    return withFindings(lockedBy(look, live, error))
  }
}

function proposeBy(look: Look, live: Live): Proposal | Promise<Proposal> {
  const { question } = look
  const differences = compareSchemas(question.to.schema, live.schema)
  return question.rung === 'leave' ? proposeLeave(look, live, differences) : proposeDown(look, live, differences)
}

function otherDatabase({ question, say }: Look, identity: string): Finding {
  const what = `The release ${question.release} holds ${question.to.identity}, this is ${identity}`
  return say(
    'blocker',
    'other_identity',
    what,
    'see that the settings name the database that the release was captured from',
  )
}

function unreadable({ site, say }: Look, is: State): Finding {
  const [noun, name] = [nounOf(site), site.engine.name]
  const what = is === 'missing' ? `There is no ${noun} ${name}` : `The ${noun} ${name} is no readable database`
  return say('blocker', `database_${is}`, what, `take the rung \`restore\`, or put the right ${noun} there`)
}
