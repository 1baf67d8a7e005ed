import {
  NOTHING,
  type Observation,
  type Proposal,
  type Question,
  type Step,
  type Target,
} from '../src/core/contract.ts'
import type { Json } from '../src/core/json.ts'
import type { Candidate } from '../src/core/negotiate.ts'
import { interleave, median, timed } from './support/measure.ts'
import { planned } from './support/planned.ts'
import { ms, type Row } from './support/row.ts'

const COMPONENTS = 1000
const ROUNDS = 9
const LIMIT_MS = 1000
/** Components of one system: a database, what works on it, and the traffic in front. */
const GROUP = 10

/** Planning for 1,000 components that depend on and ask one another, against the same number that stand alone. */
export async function bench(): Promise<Row[]> {
  const together = candidates(true)
  const alone = candidates(false)
  const { plan, flat } = await interleave(ROUNDS, {
    plan: () => timed(() => planned(together, 50)),
    flat: () => timed(() => planned(alone, 50)),
  })
  const made = await planned(together, 50)
  const needs = together.filter(c => c.id.startsWith('db')).length
  return [
    {
      what: `plan of 1,000 components (${needs} databases ask what stands before them to stop, that asks the traffic to drain; ${Object.keys(made.steps).length} steps)`,
      backout: ms(median(plan)),
      compared: `the same without dependencies and needs: ${ms(median(flat))}`,
      ratio: `${(median(plan) / median(flat)).toFixed(1)}x`,
      goal: { text: 'under 1 s', met: median(plan) < LIMIT_MS },
    },
  ]
}

/** Per group a database, eight applications in two layers upon it, and the traffic upon those; each group on the one before. */
function candidates(together: boolean): Candidate[] {
  return Array.from({ length: COMPONENTS }, (_, i) => {
    const [group, place] = [Math.floor(i / GROUP), i % GROUP]
    const name = (n: number) => `${n === 0 ? 'db' : n === GROUP - 1 ? 'traffic' : `app-${n}`}.${group}`
    const below = place === 0 ? [] : place <= 4 ? [0] : place < GROUP - 1 ? [place - 4] : [5, 6, 7, 8]
    const neighbour = group > 0 && place === 1 ? [`app-5.${group - 1}`] : []
    const dependsOn = together ? [...below.map(name), ...neighbour] : []
    return {
      id: name(place),
      adapter: 'bench',
      dependsOn,
      target: targetOf(name(place)),
      from: OBSERVED,
      pin: { version: 'A' },
    }
  })
}

const OBSERVED: Observation = { identity: 'bench', state: { version: 'B' }, detail: null, summary: 'B', inFlight: [] }

function targetOf(id: string): Pick<Target<Json>, 'rungs' | 'serves' | 'propose'> {
  const kind = id.slice(0, 2)
  return {
    rungs: [
      { id: 'set', tier: 'platform', title: 'set the version' },
      { id: 'restore', tier: 'restore', title: 'restore the backup' },
    ],
    serves: kind === 'tr' ? ['drained'] : ['stopped', 'redeployed'],
    propose: async question => proposalOf(id, kind, question),
  }
}

function proposalOf(id: string, kind: string, { needs, dependents }: Question<Json>): Proposal {
  const asks = (what: 'drained' | 'stopped') =>
    dependents.filter(d => d.serves.includes(what)).map(d => ({ of: d.id, what }))
  const change = { from: 'B', to: 'A' }
  if (kind === 'tr') {
    const [drain, back] = [stepOf(id, 'drain'), stepOf(id, 'return')]
    const phases = { drain: { step: drain.id }, return: { step: back.id } }
    return { ...NOTHING, change, serves: needs, steps: [drain, back], phases }
  }
  const set = stepOf(id, kind === 'db' ? 'restore' : 'switch')
  if (kind === 'db')
    return { ...NOTHING, change, needs: asks('stopped'), steps: [set], phases: { data: { step: set.id } } }
  if (needs.length === 0) return { ...NOTHING, change, steps: [set], phases: { code: { step: set.id } } }
  const stop = stepOf(id, 'stop')
  const phases = { stop: { step: stop.id }, code: { step: set.id } }
  return { ...NOTHING, change, needs: asks('drained'), serves: needs, steps: [stop, set], phases }
}

function stepOf(component: string, verb: string): Step {
  return {
    id: `${component}/${verb}`,
    component,
    title: `${verb} ${component}`,
    args: { do: verb, to: 'A' },
    limitMs: 60_000,
    retries: 1,
    estimateMs: 1_000,
    onUnknown: 'ask',
  }
}
