import type { Finding, Question, Unwell } from '../../core/contract.ts'
import { unwellFinding } from '../../core/unwell.ts'
import type { Host } from './host.ts'
import type { Container, View } from './look.ts'
import { runs } from './observe.ts'
import type { UpArgs } from './steps.ts'
import { lastWords } from './verify.ts'

/** A container has outlived its own past once it runs so many times as long as it did between two deaths. */
const OUTLIVES = 2

/** Containers that run as they should, and are not believed to go on. `step`: the one that would make them anew. */
export function unwellIn({ config }: Host, { services }: UpArgs, { containers, now }: View, step: string): Unwell[] {
  return containers
    .filter(c => services.some(s => s.name === c.service) && diesAgain(c, now, config.limits.up))
    .map(c => ({
      step,
      why: `${c.service} was started anew ${c.restarts} times, the last time at ${c.state.StartedAt.replace(/\.\d+/, '')} (${lastWords(c)})`,
    }))
}

/** Started anew by the engine more than once, and up for no longer since than before, nor than `within` milliseconds. */
function diesAgain(c: Container, now: number, within: number): boolean {
  if (!runs(c) || c.restarts < 2) return false
  const [created, started] = [Date.parse(c.created), Date.parse(c.state.StartedAt)]
  const age = now - started
  return !(age >= within || age >= (OUTLIVES * (started - created)) / c.restarts)
}

export function containersUnwell(
  { component }: Host,
  { release }: Pick<Question<never>, 'release'>,
  one: Unwell,
): Finding {
  const remedy = 'look at `docker compose ps` and `docker compose logs` there'
  return unwellFinding({ component, code: 'containers_unwell', remedy }, release, one)
}
