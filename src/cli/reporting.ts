import type { Engine, Event, Head, RunInfo } from '../core/engine.ts'
import type { Environment } from './wiring/environment.ts'

export async function reportOf(_environment: Environment, engine: Engine, run: RunInfo, head: Head) {
  const events: Event[] = []
  for await (const event of engine.events(run.id)) events.push(event)
  return { report: { run, events, head }, markdown: `# ${run.id}\n` }
}
