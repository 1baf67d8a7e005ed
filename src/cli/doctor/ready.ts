import type { Config } from '../../config/load.ts'
import type { Finding } from '../../core/contract.ts'
import type { Targets } from '../wiring/targets.ts'
import { type Check, guarded, type Level, saying } from './check.ts'

const say = saying('components')

const LEVEL_OF: Readonly<Record<Finding['level'], Level>> = { blocker: 'problem', warning: 'warning', note: 'note' }

/** Tools and rights that components need, as far as they can be asked. `told`: what was found before. */
export async function readyChecks(
  config: Config,
  targets: Targets,
  told: readonly Check[],
  signal: AbortSignal,
): Promise<Check[]> {
  const each = await Promise.all(
    Object.keys(config.components).map(async id => {
      const checks = await guarded('components', () => askedOf(id, targets, signal))
      // Why it cannot be asked stands there already.
      const silent = told.some(c => c.component === id && c.level === 'problem')
      return silent ? checks.filter(c => c.component !== null) : checks.map(c => ({ ...c, component: id }))
    }),
  )
  return each.flat()
}

async function askedOf(id: string, targets: Targets, signal: AbortSignal): Promise<Check[]> {
  const target = await targets.get(id)
  if (target.ready === undefined) return []
  const { well, findings } = await target.ready(signal)
  return [
    ...well.map(what => say('ok', 'ready', `${id}: ${what}`, '', id)),
    ...findings.map(f => say(LEVEL_OF[f.level], f.code, `${id}: ${f.what}`, f.remedy, id)),
  ]
}
