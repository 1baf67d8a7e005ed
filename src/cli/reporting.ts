import type { Engine, Event, Head, RunInfo } from '../core/engine.ts'
import { around } from '../report/around.ts'
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
  const { events, extra } = around(await all(engine, '*'), run.id)
  const report = buildReport({ run, events, extra, head, now: environment.clock.now() })
  return { report, markdown: markdownOf(report) }
}

async function all(engine: Engine, run: string): Promise<Event[]> {
  const out: Event[] = []
  for await (const event of engine.events(run)) out.push(event)
  return out
}
