import type { StandsOn, Step, StepAct } from '../../core/contract.ts'
import { hostOf } from './apply.ts'
import type { Fleet } from './fleet.ts'
import { type HostView, look, releaseOf, type UnitView } from './look.ts'
import { argsOf, argsOn, type StepArgs } from './steps.ts'

/** What a host that was fenced is on now, by its link and by all of its units that were to be brought along. */
export async function standsOn(fleet: Fleet, step: Step, steps: readonly Step[], act: StepAct): Promise<StandsOn> {
  const args = argsOf(step)
  const view = await look(fleet, hostOf(fleet, args.host), act.signal)
  if (view.silent !== null) return { is: 'unknown', why: `${args.host} does not answer: ${view.silent.why}` }
  const [busy] = view.alive
  if (busy !== undefined) return { is: 'unknown', why: `${busy.idem} is still at it (process ${busy.pid})` }
  const held = releaseOf(fleet, view)
  if (held !== args.release) {
    const is = held !== null && view.there && putThere(fleet, args.host, held, steps) ? 'other' : 'left'
    return { is, why: `the link leads to ${held ?? view.link ?? 'nothing'}` }
  }
  if (!view.there) return { is: 'left', why: 'the link leads to a folder that is not there' }
  if (fleet.config.reload !== undefined && view.reload.due === held)
    return { is: 'left', why: `the link leads to ${held}, and \`reload\` did not end well since` }
  const [wrong] = unitsOf(view, argsOn(args.host, steps)).flatMap(([label, unit]) =>
    wrongWith(fleet, args, label, unit),
  )
  return (
    wrong ?? {
      is: 'release',
      why: `the link leads to ${held}${Object.keys(view.units).length > 0 ? ', and that is what runs' : ''}`,
    }
  )
}

/** Neither what the plan left anywhere nor anything that this host can have had from before. */
function putThere(fleet: Fleet, host: string, held: string, steps: readonly Step[]): boolean {
  const switches = argsOn(null, steps).filter(a => a.do === 'switch')
  const left = new Set(switches.map(a => (fleet.config.strategy === 'symlink' ? a.expect : (a.left ?? null))))
  if (left.has(held)) return false
  // A host that did not answer when the plan was made has whatever the others had; where nobody said, anything.
  return [...left].some(name => name !== null) || !switches.some(a => a.host === host)
}

/** The units that the plan brings to the release here; all of them where the link alone is switched. */
function unitsOf(view: HostView, here: readonly StepArgs[]): [string, UnitView | undefined][] {
  const named = here.flatMap(a => (a.do === 'switch' ? a.stale : a.do === 'stop' ? [] : [a.label]))
  const labels = named.length > 0 ? new Set(named) : Object.keys(view.units)
  return [...labels].map(label => [label, view.units[label]])
}

function wrongWith(fleet: Fleet, args: StepArgs, label: string, unit: UnitView | undefined): StandsOn[] {
  const which = label === 'main' ? 'it' : label
  const left = (why: string): StandsOn[] => [{ is: 'left', why: `${which} ${why}` }]
  if (fleet.config.service !== undefined) {
    if (unit === undefined || unit.is === 'unknown' || unit.is === 'busy')
      return [{ is: 'unknown', why: `${which} cannot say whether it runs` }]
    if (unit.is === 'stopped') return left('does not run')
    if (unit.stale === args.release) return left('runs since before the switch')
  }
  const served = unit?.version ?? 'nothing'
  return args.version !== null && served !== args.version ? left(`says version ${served}`) : []
}
