import type { Event, Head } from '../../core/engine.ts'
import { BackoutError, EXIT } from '../../core/errors.ts'
import { amount } from '../../core/impact-text.ts'
import { firstBreak } from '../../engine/chain.ts'
import { announcedHeads, parseHead } from '../../ledger/heads.ts'
import type { Globals } from '../program.ts'
import { comparedRuns, uncoveredLines, wholeJournal } from '../sealed-runs.ts'
import { withSession } from '../session.ts'

export function verify(globals: Globals, options: { head?: string }): Promise<number> {
  return withSession(globals, async ({ environment, out }) => {
    const said = options.head === undefined ? null : parseHead(options.head)
    if (options.head !== undefined && said === null) {
      const next = 'give it as a report shows it: --head 120:9f0c…'
      throw new BackoutError({ code: 'head_invalid', what: `"${options.head}" is no head`, next, exit: 'usage' })
    }
    const { keys } = environment.ledger
    const engine = await environment.engine({ worker: false })
    // Before the events: what is announced while they are read is not among them.
    const heads = [...(await announcedHeads(keys.folder)), ...(said === null ? [] : [said])]
    const { runs, events } = await wholeJournal(engine)
    const broken = firstBreak(keys.chain, events)
    if (broken !== null) throw tampered(broken.what)
    for (const head of heads) checkHead(events, head)
    const { altered, uncovered } = comparedRuns(environment, runs, events)
    if (altered !== null) throw tampered(altered)
    out.data({ events: events.length, heads: heads.length, uncovered, intact: true })
    const written = `${amount(events.length, 'events')} ${events.length === 1 ? 'is as it was' : 'are as they were'} written`
    out.line(`${written}; ${amount(heads.length, 'announced heads')} ${heads.length === 1 ? 'is' : 'are'} among them.`)
    for (const line of uncoveredLines(uncovered)) out.line(line)
    return EXIT.ok
  })
}

function checkHead(events: readonly Event[], head: Head): void {
  if (head.length === 0) return
  const there = events[head.length - 1]
  if (there === undefined) {
    throw tampered(
      `the journal ends at event ${events.length}, and a head of ${head.length} events was announced: its end was cut off`,
    )
  }
  if (there.mac !== head.mac)
    throw tampered(`event ${head.length} is not the one that was announced: the journal was rewritten`)
}

function tampered(what: string): BackoutError {
  return new BackoutError({
    code: 'journal_tampered',
    what: 'The journal is not as it was written',
    cause: what,
    next: 'keep the home as it is for whoever investigates; compare it with a copy',
    exit: 'tampered',
  })
}
