import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { Step } from '../../core/contract.ts'
import type { Engine, RunInfo } from '../../core/engine.ts'
import type { RunInput } from '../../core/executor/world.ts'
import type { Plan } from '../../core/plan.ts'
import type { NeedWhat } from '../../core/words.ts'
import type { Environment } from './environment.ts'
import { eventsOf, LOOK_BACK } from './events.ts'
import type { Targets } from './targets.ts'

/**
 * What runs brought about for others and did not take back, by component: of each, the newest run that began or ended it
 * says. Only where the components cannot be asked themselves (`begins` of a step).
 */
export async function leftServed(environment: Environment, targets: Targets): Promise<Map<string, NeedWhat[]>> {
  const left = new Map<string, NeedWhat[]>()
  const { components, environment: exclusive } = environment.config
  const all = await Promise.all(Object.keys(components).map(id => targets.get(id).catch(() => null)))
  if (all.every(target => target === null || target.serves.length === 0)) return left
  if (!existsSync(join(environment.home, 'journal.db'))) return left
  const engine = await environment.engine({ worker: false })
  const said = new Map<string, boolean>()
  for (const run of (await engine.list({ exclusive })).slice(-LOOK_BACK).toReversed()) {
    for (const [key, open] of await openIn(engine, run, said)) if (!said.has(key)) said.set(key, open)
  }
  for (const [key, open] of said) {
    const [component = '', what] = key.split(' ')
    if (open) left.set(component, [...(left.get(component) ?? []), what as NeedWhat])
  }
  return left
}

/** Of what a run began or ended for others: whether it stood as the run ended. Of what is `known` nobody needs to know. */
async function openIn(
  engine: Engine,
  run: RunInfo,
  known: ReadonlyMap<string, boolean>,
): Promise<Map<string, boolean>> {
  const open = new Map<string, boolean>()
  const { plan } = run.input as unknown as RunInput
  const steps: Record<string, Step> = { ...plan.steps }
  for (const { data } of await eventsOf(engine, run.id, 'plan-successor')) {
    Object.assign(steps, (data as { next?: Plan }).next?.steps)
  }
  if (Object.values(steps).every(step => keysOf(step).every(key => known.has(key)))) return open
  for (const { type, data } of await eventsOf(engine, run.id)) {
    const step = steps[(data as { step?: string } | null)?.step ?? '']
    if (step === undefined) continue
    if (type === 'step-begun' && step.begins !== undefined) for (const key of keysOf(step)) open.set(key, true)
    if (type === 'step-done' && step.ends !== undefined) for (const key of keysOf(step)) open.set(key, false)
  }
  return open
}

function keysOf({ component, begins, ends }: Step): string[] {
  return [begins, ends].flatMap(what => (what === undefined ? [] : [`${component} ${what}`]))
}
