import type { Loss } from './contract.ts'
import { accepts, isOf, type Plan } from './plan.ts'

/** One thing that people should know before anything is touched. */
export interface ImpactPoint {
  readonly topic: 'Downtime' | 'Data lost' | 'Cannot be undone' | 'Stays behind' | 'Disappears' | 'Left out'
  readonly text: string
}

type Told = Pick<Plan, 'impact' | 'envelope' | 'omitted' | 'steps'>

/** What going back costs, for people: nothing is left unsaid, "none" included. */
export function impactPoints(plan: Told): ImpactPoint[] {
  const { downtimeMs, loss, staysBehind, disappears } = plan.impact
  const lost = loss.filter(l => l.count > 0)
  const final = Object.values(plan.steps).filter(s => s.destructive === true)
  return [
    { topic: 'Downtime', text: downtimeMs > 0 ? `about ${span(downtimeMs)} in which users are not served` : 'none' },
    ...points('Data lost', lost.length === 0 ? ['none'] : lost.map(l => lossText(l, plan.envelope))),
    ...points(
      'Cannot be undone',
      final.map(s => s.title),
    ),
    ...points('Stays behind', staysBehind.length === 0 ? ['nothing'] : staysBehind),
    ...points('Disappears', disappears.length === 0 ? ['nothing that is known'] : disappears),
    ...points('Left out', plan.omitted),
  ]
}

/** The same as plain lines: "Downtime: about 2 min in which users are not served". */
export function impactLines(plan: Told): string[] {
  return impactPoints(plan).map(({ topic, text }) => `${topic}: ${text}`)
}

function points(topic: ImpactPoint['topic'], texts: readonly string[]): ImpactPoint[] {
  return texts.map(text => ({ topic, text }))
}

function lossText(loss: Loss, envelope: Plan['envelope']): string {
  const since = loss.since === null ? 'written since a time that is not known' : `written since ${loss.since}`
  const max = envelope.loss.find(a => isOf(a, loss))?.max
  const accepted = max !== undefined && accepts(envelope.loss, [loss]) ? `accepted up to ${max}` : 'not accepted'
  const note = loss.note === '' ? '' : `; ${loss.note}`
  return `${amount(loss.count, loss.unit)} of ${loss.what}, ${since} (${accepted})${note}`
}

/** "1 row", "14 values". Units are plural. */
export function amount(count: number, unit: string): string {
  return `${count} ${count === 1 ? unit.replace(/s$/, '') : unit}`
}

/** "11.4 KiB". */
export function bytes(n: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = n
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`
}

const SCALES = [
  ['d', 86_400_000, 'h', 3_600_000],
  ['h', 3_600_000, 'min', 60_000],
  ['min', 60_000, 's', 1000],
] as const

/** Milliseconds as people say them, in two units at the most: "340 ms", "4.2 s", "2 min 5 s", "1 h". */
export function span(ms: number): string {
  if (ms < 0) return `-${span(-ms)}`
  if (ms < 999.5) return ms === 0 ? '0 s' : `${Math.max(1, Math.round(ms))} ms`
  if (ms < 9950) return `${Math.round(ms / 100) / 10} s`
  for (const [unit, size, small, part] of SCALES) {
    const parts = Math.round(ms / part)
    const whole = Math.floor((parts * part) / size)
    const rest = parts - (whole * size) / part
    if (whole > 0) return rest === 0 ? `${whole} ${unit}` : `${whole} ${unit} ${rest} ${small}`
  }
  return `${Math.round(ms / 1000)} s`
}
