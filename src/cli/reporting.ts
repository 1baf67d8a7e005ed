import type { Engine, Event, Head, RunInfo } from '../core/engine.ts'
import { markdownOf } from '../report/markdown.ts'
import { buildReport, type Report } from '../report/model.ts'
import type { Environment } from './wiring/environment.ts'

/** The report of a run, from the journal. */
export async function reportOf(
  environment: Environment,
  engine: Engine,
  run: RunInfo,
  head: Head,
): Promise<{ report: Report; markdown: string }> {
  const events = await all(engine, run.id)
  const extra = storyBefore(await all(engine, '-'), events)
  const report = buildReport({ run, events, extra, head, now: environment.clock.now() })
  return { report, markdown: markdownOf(report) }
}

async function all(engine: Engine, run: string): Promise<Event[]> {
  const out: Event[] = []
  for await (const event of engine.events(run)) out.push(event)
  return out
}

/** What happened outside runs and belongs to this one: all since the upgrade that it takes back began. */
function storyBefore(outside: readonly Event[], events: readonly Event[]): Event[] {
  const first = events[0]?.seq ?? 0
  const begun = outside.findLast(e => e.type === 'upgrade-begun' && e.seq < first)?.seq ?? first
  return outside.filter(e => e.seq >= begun)
}
