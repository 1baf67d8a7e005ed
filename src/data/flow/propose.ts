import type { Finding, Proposal } from '../../core/contract.ts'
import { compareSchemas } from '../schema.ts'
import { saying } from './checks.ts'
import { readLive } from './level.ts'
import { proposeDown } from './propose-down.ts'
import { proposeLeave } from './propose-leave.ts'
import { proposeRestore } from './propose-restore.ts'
import { isState, nounOf, readOrTell, type Site, type State, stampOf } from './site.ts'
import { type Ask, type Look, withFindings } from './steps.ts'

export async function propose(site: Site, question: Ask): Promise<Proposal> {
  const stamp = await stampOf(site, question.from, question.signal)
  const look: Look = { site, question, stamp, say: saying(site.ctx.component) }
  const identity = await site.engine.identity(question.signal)
  if (question.to.identity !== identity) return withFindings(otherDatabase(look, identity))
  if (question.rung === 'restore') return proposeRestore(look)
  const live = await readOrTell(site, question.signal, db => readLive(site, db))
  if (isState(live)) return withFindings(unreadable(look, live))
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
