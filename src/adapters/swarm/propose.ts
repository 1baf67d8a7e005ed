import {
  type Finding,
  type Impact,
  NO_IMPACT,
  NOTHING,
  type Proposal,
  type Question,
  type Step,
  type Unwell,
} from '../../core/contract.ts'
import { span } from '../../core/impact-text.ts'
import { unwellFinding } from '../../core/unwell.ts'
import { lostVariables, nameOf, type Say, saySwarm, type Way, wayOf } from './check.ts'
import { execUnclear, nameOne } from './exec.ts'
import { goesOn } from './halt.ts'
import { lookAtServices, lookAtSwarm, type Swarm, type View } from './look.ts'
import { updateOf } from './observe.ts'
import { stopsAll, waitsOf } from './pace.ts'
import type { PinnedService, SwarmPin } from './pin.ts'
import type { Site } from './site.ts'
import { isJob, modeOf, shortName } from './spec.ts'
import {
  type BringArgs,
  bringStep,
  configStep,
  type Expect,
  haltStep,
  stepId,
  stopStep,
  together,
  typicalMs,
} from './steps.ts'
import { isStopped } from './stopped.ts'

interface Asked {
  readonly stop: boolean
  readonly redeploy: boolean
}

const SERVED: ReadonlySet<string> = new Set(['stopped', 'redeployed', 'exec-from'])

export async function propose(site: Site, question: Question<SwarmPin>): Promise<Proposal> {
  const { component } = site
  const findings: Finding[] = []
  const say: Say = (level, code, what, remedy) => void findings.push({ level, code, component, what, remedy })
  const { from, to, needs, signal } = question
  if (from.identity !== to.identity) {
    sayForeign(question, say)
    return { ...NOTHING, findings }
  }
  const serves = needs.filter(need => need.of === component && SERVED.has(need.what))
  const asked = { stop: serves.some(n => n.what === 'stopped'), redeploy: serves.some(n => n.what === 'redeployed') }
  const swarm = await lookAtSwarm(site, signal)
  saySwarm(swarm, say)
  const views = await lookAtServices(site, swarm, signal)
  const unclear = serves.some(n => n.what === 'exec-from') ? execUnclear(site, views) : []
  if (unclear.length > 1) {
    const what = `Down-scripts are to run in an image of ${component}, and its services have different ones: nobody says which`
    say('blocker', 'exec_unclear', what, nameOne(unclear))
  }
  const ways: Way[] = []
  for (const pinned of caredFor(site, to, say)) {
    const way = await wayOf(site, swarm, pinned, question, say)
    if (way !== null) ways.push(way)
  }
  const added = addedOf(site, to, views, question, say)
  const changing = ways.filter(way => way.differs || way.ill !== null)
  const bring = asked.stop || asked.redeploy ? ways : changing
  for (const way of bring) {
    sayRung(site, question.rung, way, asked, say)
    saySlow(site, question.rung, swarm, way, asked, say)
  }
  if (findings.some(f => f.level === 'blocker')) return { ...NOTHING, findings, serves }
  const unwell = ways.filter(way => !bring.includes(way)).flatMap(way => unwellOf(site, question, way))
  const ill = { component, code: 'tasks_unwell', remedy: PS }
  findings.push(...unwell.map(one => unwellFinding(ill, question.release, one)))
  const halts = [...changing.flatMap(way => (way.differs ? (way.view ?? []) : [])), ...added]
    .filter(view => goesOn(site, view))
    .map(view => haltOf(site, view, say))
  const code = [
    ...bring.map(way => bringOf(site, swarm, question, way, asked)),
    ...added.map(view => stopOf(site, view)),
  ]
  const made = new Map(bring.flatMap(way => way.goal.renamed.made.map(config => [config.name, config] as const)))
  const configs = [...made.values()].map(config => configStep(site, config))
  const stops = asked.stop ? ways.flatMap(way => (way.view === null ? [] : [stopOf(site, way.view)])) : []
  if (code.length === 0 && stops.length === 0) return { ...NOTHING, findings, serves, unwell }
  const fewer = added.length === 0 && changing.every(way => way.more) ? { fewer: true as const } : {}
  return {
    ...NOTHING,
    change: changing.length + added.length === 0 ? null : { from: from.summary, to: nameOf(ways), ...fewer },
    findings,
    impact: impactOf(question.rung, swarm, bring, asked, added),
    needs: needsOf(question, asked),
    serves,
    steps: [...halts, ...stops, ...configs, ...code],
    phases: phasesOf(site, { preflight: halts, stop: stops, config: configs, code }),
    unwell,
    settles: settled(site, [...changing.flatMap(way => way.view ?? []), ...added]),
  }
}

const PS = 'look at `docker service ps --no-trunc` and `docker service logs` of it'

function unwellOf(site: Site, { rung }: Question<SwarmPin>, { pinned: { name }, doubt }: Way): Unwell[] {
  return doubt === null ? [] : [{ step: stepId(site, rung as BringArgs['do'], name), why: `${name}: ${doubt}` }]
}

function sayForeign({ from, to }: Question<SwarmPin>, say: Say): void {
  const what = `The pin belongs to ${to.identity}, and this is ${from.identity}`
  const remedy =
    'name a manager of that swarm in `engine`, and the services as they were captured; or use a release of this one'
  say('blocker', 'other_identity', what, remedy)
}

function caredFor({ config }: Site, to: SwarmPin, say: Say): PinnedService[] {
  const cared = to.services.filter(
    ({ name }) => (config.services?.includes(name) ?? true) && !config.except.includes(name),
  )
  for (const { name } of to.services.filter(s => !cared.includes(s))) {
    say(
      'warning',
      'service_left_out',
      `${name} was captured, and the settings leave it out now`,
      'take it back by hand',
    )
  }
  return cared
}

/** Services that the release did not have: it did not run with them. */
function addedOf(
  { config }: Site,
  to: SwarmPin,
  views: ReadonlyMap<string, View>,
  { release }: Question<SwarmPin>,
  say: Say,
): View[] {
  const others = [...views.values()].filter(v => !to.services.some(s => s.name === v.service.Spec.Name))
  const [jobs, added] = [others.filter(v => isJob(v.service.Spec)), others.filter(v => !isJob(v.service.Spec))]
  for (const { service } of jobs) sayJob(service.Spec.Name, say)
  const running = added.filter(v => !isStopped(v.service.Spec))
  for (const { service } of running) {
    const { Name: name } = service.Spec
    const what = `${release} did not have the service ${name}: ${config.added === 'stop' ? 'it is stopped' : 'it goes on as it is'}`
    const remedy =
      config.added === 'stop'
        ? `\`docker service rm ${name}\` once it is certain`
        : 'set `added: stop`, or see that it can live with the others'
    say('warning', 'service_added', what, remedy)
  }
  return config.added === 'stop' ? running : []
}

function sayJob(name: string, say: Say): void {
  const what = `${name} is a job, which is no state that could be gone back to: it is left alone`
  say('warning', 'service_is_job', what, `see whether it may go on: \`docker service ps ${name}\``)
}

function sayRung(site: Site, rung: string, { view, goal, spec, pinned }: Way, asked: Asked, say: Say): void {
  if (rung === 'recreate') {
    if (view === null) return
    const what = `${pinned.name} is removed and made again: it gets another id and another virtual address`
    return say('warning', 'service_recreated', what, 'log in to the registry on this manager if the image needs it')
  }
  if (view === null) {
    const remedy = 'the rung recreate makes it again'
    return say('blocker', 'service_gone', `There is no service ${pinned.name} any more`, remedy)
  }
  const [now, then] = [modeOf(view.service.Spec), modeOf(spec)]
  if (now !== then) {
    const what = `${pinned.name} is ${now} now and was ${then}: Swarm changes no service from one to the other`
    return say('blocker', 'mode_changed', what, 'the rung recreate removes it and makes it again')
  }
  if (rung !== 'previous') return
  const previous = view.service.PreviousSpec
  if (goal.renamed.made.length > 0) {
    const what = `${pinned.name} needs configs that are made again: Swarm's previous specification has the ones that are gone`
    return say('blocker', 'previous_is_other', what, 'the rung update takes the new ones')
  }
  if (asked.stop || asked.redeploy || goesOn(site, view)) {
    const what = `${pinned.name} is stopped or forced first, and then Swarm's previous specification is another one`
    return say('blocker', 'previous_is_other', what, 'the rung update does it')
  }
  const same =
    previous !== undefined &&
    site.shape(previous) === goal.shape &&
    previous.TaskTemplate.ContainerSpec.Image === goal.image.ref
  if (same) return
  const is =
    previous === undefined ? 'no previous specification' : `another one (${previous.TaskTemplate.ContainerSpec.Image})`
  const what = `Swarm's own rollback of ${pinned.name} would not lead to the release: it has ${is}`
  say('blocker', 'previous_is_other', what, 'the rung update does not depend on it')
}

function expectOf(site: Site, view: View | null): Expect {
  if (view === null) return null
  const { Spec: spec } = view.service
  return { shape: site.shape(spec), ref: spec.TaskTemplate.ContainerSpec.Image, id: view.service.ID }
}

function bringOf(site: Site, swarm: Swarm, { rung, release }: Question<SwarmPin>, way: Way, asked: Asked): Step {
  const { view, goal, pinned } = way
  const name = pinned.name
  // An update that is on its way there is let go on.
  const again = way.ill === 'stuck' || (asked.redeploy && !asked.stop)
  const force = again && view !== null ? (view.service.Spec.TaskTemplate.ForceUpdate ?? 0) + 1 : null
  const verb = rung === 'recreate' ? 'make' : rung === 'previous' ? 'roll back' : 'update'
  const title = `${verb} ${name} ${rung === 'recreate' ? 'again as' : 'to'} ${shortName(goal.image)} of ${release}`
  const own: BringArgs = {
    do: rung as BringArgs['do'],
    service: name,
    goal,
    expect: expectOf(site, view),
    force: rung === 'update' ? force : null,
    anew: rung === 'recreate' && again,
  }
  return bringStep(site, title, own, waitsMs(rung, swarm, way, asked))
}

/** What Swarm waits between tasks, where they are replaced one after the other. */
function waitsMs(rung: string, swarm: Swarm, { spec }: Way, asked: Asked): number {
  return rung === 'recreate' || asked.stop ? 0 : waitsOf(spec, paceFor(rung), swarm)
}

/** Swarm's own rollback has settings of its own. */
function paceFor(rung: string): 'update' | 'rollback' {
  return rung === 'previous' ? 'rollback' : 'update'
}

const LONG_MS = 60_000

function saySlow(site: Site, rung: string, swarm: Swarm, way: Way, asked: Asked, say: Say): void {
  const ms = waitsMs(rung, swarm, way, asked)
  if (rung === 'previous' && ms > site.config.limits.update) {
    const what = `Swarm's own rollback of ${way.pinned.name} waits ${span(ms)} between its tasks (\`--rollback-delay\`, \`--rollback-monitor\`), longer than \`limits.update\``
    return say('blocker', 'previous_is_slow', what, 'the rung update does not depend on it')
  }
  if (ms < LONG_MS) return
  const what = `${way.pinned.name} waits between its tasks, as in the release (\`--${paceFor(rung)}-delay\`, \`--${paceFor(rung)}-monitor\`): going back takes ${span(ms)} at least`
  say('warning', 'update_slow', what, 'the rung recreate waits for nothing: the service is down meanwhile')
}

function stopOf(site: Site, view: View): Step {
  return stopStep(site, { do: 'stop', service: view.service.Spec.Name, expect: expectOf(site, view) })
}

/** Stops an update that leads elsewhere, before anything else. */
function haltOf(site: Site, view: View, say: Say): Step {
  const { Name: name } = view.service.Spec
  const what = `The update of ${name} is stopped where it is. Until it is brought to the release, Swarm makes no new task for one that dies`
  say(
    'note',
    'update_stopped',
    what,
    'should the run end before that, `backout status` has the command that lets it go on',
  )
  return haltStep(site, { do: 'halt', service: name, expect: expectOf(site, view) })
}

function phasesOf(site: Site, steps: Readonly<Record<string, readonly Step[]>>): Proposal['phases'] {
  const nodes = Object.entries(steps).map(([phase, own]) => [phase, together(site, own)] as const)
  return Object.fromEntries(nodes.filter(([, node]) => node !== null)) as Proposal['phases']
}

/** Updates under way that these steps stop, or that lead to the release by themselves. */
function settled(site: Site, views: readonly View[]): string[] {
  return views
    .filter(view => goesOn(site, view))
    .map(({ service }) => updateOf(service.Spec.Name, service.UpdateStatus?.State ?? ''))
}

function needsOf({ dependents, rung }: Question<SwarmPin>, asked: Asked): Proposal['needs'] {
  if (!asked.stop && rung !== 'recreate') return []
  return dependents.filter(d => d.serves.includes('drained')).map(d => ({ of: d.id, what: 'drained' as const }))
}

function impactOf(rung: string, swarm: Swarm, bring: readonly Way[], asked: Asked, added: readonly View[]): Impact {
  const disappears = [
    ...bring.flatMap(way => lostVariables(way).map(name => `variable ${name} of ${way.pinned.name}`)),
    ...added.map(view => `service ${view.service.Spec.Name}`),
  ]
  const all = bring.some(way => stopsAll(way.spec, paceFor(rung), swarm))
  const down = asked.stop ? typicalMs('stop') + typicalMs('update') : rung === 'recreate' ? typicalMs('recreate') : 0
  return { ...NO_IMPACT, disappears, downtimeMs: down > 0 ? down : all ? 5_000 : 0 }
}
