import type { Plan } from '../../core/plan.ts'
import { isDatabase } from '../../data/engine.ts'

/**
 * How many migrations lie between what runs and the release that is gone back to, as far as a plan says. Null: it is not
 * known, for no database stands in the plan, or one is restored as a whole.
 */
export function migrationsIn({ steps, components, impact }: Pick<Plan, 'steps' | 'components' | 'impact'>) {
  const databases = components.filter(c => isDatabase(c.adapter))
  if (databases.length === 0 || databases.some(c => c.change !== null && c.rung === 'restore')) return null
  const undone = Object.keys(steps).filter(id => id.includes('/migrate-down/')).length
  const stay = impact.staysBehind.filter(text => /^migration .+ stays applied$/.test(text)).length
  return undone + stay
}
