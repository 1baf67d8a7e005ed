import type { Engine, Event, Head, RunInfo } from '../core/engine.ts'
import { redact, redactJson } from '../core/secret.ts'
import { around } from '../report/around.ts'
import { markdownOf } from '../report/markdown.ts'
import { buildReport, type Report } from '../report/model.ts'
import { intactRun } from './sealed-runs.ts'
import { type Environment, outsideOf } from './wiring/environment.ts'

/** The report of a run, from the journal. */
export async function reportOf(
  environment: Environment,
  engine: Engine,
  of: RunInfo,
  head: Head,
): Promise<{ report: Report; markdown: string }> {
  const { run, events: all } = await intactRun(environment, engine, of, () => journalOf(environment, engine))
  const { events, extra } = around(all, run.id)
  const report = buildReport({ run, events, extra, head, now: environment.clock.now() })
  // Both are written to files that leave this machine.
  return { report: redactJson(report) as unknown as Report, markdown: redact(markdownOf(report)) }
}

/** What the journal has of this environment, which may share its home with others. */
async function journalOf({ config }: Environment, engine: Engine): Promise<Event[]> {
  const runs = await engine.list({ exclusive: config.environment })
  const own = new Set([outsideOf(config.environment), ...runs.map(r => r.id)])
  const out: Event[] = []
  for await (const event of engine.events('*')) if (own.has(event.run)) out.push(event)
  return out
}
