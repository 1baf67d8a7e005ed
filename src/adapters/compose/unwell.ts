import type { Finding, Question, Unwell } from '../../core/contract.ts'
import { unwellFinding } from '../../core/unwell.ts'
import { diesAgain, startedAnew } from './dying.ts'
import type { Host } from './host.ts'
import type { View } from './look.ts'
import type { UpArgs } from './steps.ts'
import { lastWords } from './verify.ts'

/** Containers that run as they should, and are not believed to go on. `step`: the one that would make them anew. */
export function unwellIn({ config }: Host, { services }: UpArgs, { containers, now }: View, step: string): Unwell[] {
  return containers
    .filter(c => services.some(s => s.name === c.service) && diesAgain(c, now, config.limits.up))
    .map(c => ({
      step,
      why: `${startedAnew(c)} (${lastWords(c)})`,
    }))
}

export function containersUnwell(
  { component }: Host,
  { release }: Pick<Question<never>, 'release'>,
  one: Unwell,
): Finding {
  const remedy = 'look at `docker compose ps` and `docker compose logs` there'
  return unwellFinding({ component, code: 'containers_unwell', remedy }, release, one)
}
