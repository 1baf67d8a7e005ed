import {
  type Change,
  type Finding,
  type Impact,
  NO_IMPACT,
  NOTHING,
  type Node,
  type Proposal,
  type Question,
  type Step,
  type Unwell,
} from '../core/contract.ts'
import { sameJson } from '../core/json.ts'
import { partitionOf } from './apply/partition.ts'
import { isAborted } from './apply/rollout.ts'
import { isLeftToScale } from './autoscalers.ts'
import { goesBack } from './capture.ts'
import { type Case, caseOf, replicasFor, restarts } from './case.ts'
import { check } from './check.ts'
import { syncs } from './gitops.ts'
import { digestsOf, exactImages, fingerprint, type Goal, isOther, leftover, revisionFor, towardGoal } from './goals.ts'
import { boundsOf, shortRef } from './observe.ts'
import type { KubernetesPin } from './pin.ts'
import { portsOf, portsToPut } from './ports.ts'
import type { Site } from './site.ts'
import { isLive, rolloutOf } from './status.ts'
import { makeStep, type RollArgs, stepId, typicalMs } from './steps.ts'
import { asReleased } from './stopped.ts'
import { RESTARTED, refsOf } from './template.ts'
import { asksForIt, podsUnwell, unwellIn } from './unwell.ts'

export async function propose(site: Site, question: Question<KubernetesPin>): Promise<Proposal> {
  const foreign = otherCluster(site, question)
  if (foreign !== null) return { ...NOTHING, findings: [foreign] }
  const it = await caseOf(site, question)
  const serves = question.needs.filter(need => need.of === site.component && SERVED.includes(need.what))
  const unwell = unwellIn(it)
  const findings = [...(await check(it)), ...illFindings(it, unwell)]
  if (findings.some(f => f.level === 'blocker')) return { ...NOTHING, findings, serves }
  const steps = stepsOf(it)
  const all = Object.values(steps).flat()
  const settles = question.from.inFlight.map(op => op.what)
  if (all.length === 0) return { ...NOTHING, findings, serves, settles, unwell }
  const changed = it.changing.length > 0 || [steps.config, steps.bounds, steps.after].some(s => s.length > 0)
  return {
    ...NOTHING,
    change: changed ? { from: question.from.summary, to: nameOf(it), ...kindOf(it, steps) } : null,
    findings,
    impact: impactOf(it),
    needs: needsOf(it),
    serves,
    // What came with the release that is left and is stuck itself must not keep the others from going back.
    settles,
    steps: all,
    phases: phasesOf(site, steps),
    omits: question.mode === 'emergency' ? ['rights, quotas and whether a node holds the images, asked ahead'] : [],
    unwell,
  }
}

/** What no step is done to, and does not run as it should. */
function illFindings({ site, question, changing }: Case, unwell: readonly Unwell[]): Finding[] {
  const steps = changing.map(({ seen }) => stepId(site, 'roll', seen.id))
  return unwell.filter(({ step }) => !steps.includes(step)).map(one => podsUnwell(site, question, one))
}

/** All objects ask for the release: some pods of it would be taken away again, or what is on its way there is followed. */
function kindOf(it: Case, { config, bounds, after }: Steps): Pick<Change, 'fewer' | 'coming'> {
  if (it.asked.stop || it.asked.redeploy || [config, bounds, after].some(steps => steps.length > 0)) return {}
  const there = (goal: Goal) =>
    asksForIt(it, goal) && (isMore(it, goal) || !isOther(goal, it.rung, replicasFor(it, goal)))
  if (!it.changing.every(there)) return {}
  return it.changing.some(goal => goal.rolling) ? { coming: true } : { fewer: true }
}

function isMore(it: Case, goal: Goal): boolean {
  const [wanted, now] = [replicasFor(it, goal) ?? 0, goal.seen.object?.spec.replicas ?? 0]
  return wanted > 0 && now > wanted
}

const SERVED: readonly string[] = ['stopped', 'redeployed', 'exec-from']

function otherCluster(site: Site, { to, from, release }: Question<KubernetesPin>): Finding | null {
  if (to.identity === from.identity) return null
  const { server, context } = site.client.session
  return {
    level: 'blocker',
    code: 'other_identity',
    component: site.component,
    what: `${release} was captured from ${to.identity} at ${to.server}, and this is ${from.identity} at ${server} (context ${context})`,
    remedy: 'set `context:` and `namespace:` of the component as they were, or use a release of this cluster',
  }
}

interface Steps {
  readonly preflight: Step[]
  readonly stop: Step[]
  readonly config: Step[]
  readonly bounds: Step[]
  readonly code: Step[]
  readonly after: Step[]
}

function stepsOf(it: Case): Steps {
  const { site, goals, changing, asked } = it
  const [bounds, bounded] = [boundSteps(it, true), boundSteps(it, false)]
  const after = [...serviceSteps(it), ...bounded]
  const config = configSteps(it)
  const acts = changing.length + bounds.length + after.length + config.length > 0
  const halts = asked.stop || !acts ? [] : changing.filter(g => g.rolling && !towardGoal(g) && !halted(g))
  const stops = asked.stop ? goals.filter(g => g.seen.object !== null && !stopped(g)) : []
  return {
    preflight: [...(acts ? suspendSteps(it) : []), ...halts.map(g => haltStep(site, g))],
    stop: stops.map(({ seen }) => makeStep(site, seen.id, `stop ${seen.id}`, { do: 'stop', object: seen.id })),
    config,
    bounds,
    code: changing.map(goal => rollStep(it, goal)),
    after,
  }
}

function halted({ seen }: Goal): boolean {
  if (seen.object === null) return true
  if (seen.kind === 'Rollout') return isAborted(seen.object).is === 'done'
  const { paused, onDelete } = rolloutOf(seen.object)
  return paused || onDelete
}

function stopped({ seen }: Goal): boolean {
  return seen.kind !== 'DaemonSet' && seen.object?.spec.replicas === 0 && seen.pods.length === 0
}

function haltStep(site: Site, { seen }: Goal): Step {
  return makeStep(site, seen.id, `stop the rollout of ${seen.id}`, { do: 'halt', object: seen.id })
}

function suspendSteps({ site, owners }: Case): Step[] {
  if (site.config.gitops === 'warn') return []
  return owners.filter(syncs).map(({ path, title, tool }) => {
    const target = path.split('/').slice(-3).join('.')
    return makeStep(site, target, `suspend ${title}`, { do: 'suspend', path, title, tool })
  })
}

function configSteps(it: Case): Step[] {
  const { site, question, configs, added, changing } = it
  const { to, release } = question
  return [...configs].flatMap(([id, expect]) => {
    const { sealed, mac = '' } = to.configs[id] ?? {}
    if (!goesBack(site, id) || (sealed == null && !added.has(id))) return []
    const readers = changing
      .filter(g => g.seen.object !== null && g.pinned.configs.includes(id) && restarts(it, g))
      .map(g => g.seen.id)
    const content = sealed == null ? null : { sealed, mac }
    const title = content === null ? `empty ${id}, which ${release} did not have` : `put ${id} back as in ${release}`
    return [makeStep(site, id, title, { do: 'config', config: id, content, expect, readers })]
  })
}

function rollStep(it: Case, goal: Goal): Step {
  const { site, rung, question, asked } = it
  const { seen, pinned } = goal
  const { vault } = site.ctx
  const revision = rung === 'adopt' ? revisionFor(goal, vault) : null
  const write = revision === null ? exactImages(pinned) : pickRefs(refsOf(revision.template), pinned.images)
  const proof = Object.entries(pinned.images).map(([name, { ids }]): [string, string[]] => [name, digestsOf(ids)])
  const restart = restarts(it, goal) || (asked.redeploy && !asked.stop && towardGoal(goal))
  const replicas = replicasFor(it, goal) ?? (asked.stop ? (seen.object?.spec.replicas ?? null) : null)
  return makeStep(site, seen.id, titleOf(rung, seen.id, question.release), {
    do: 'roll',
    rung,
    object: seen.id,
    release: question.release,
    expect: seen.object === null ? null : fingerprint(asReleased(seen.object.spec.template), vault),
    template: pinned.template,
    write,
    proof: Object.fromEntries(proof),
    revision: revision?.name ?? null,
    sealed: question.to.manifests,
    replicas: replicas === 0 && pinned.replicas !== 0 ? (pinned.replicas ?? 1) : replicas,
    scaled: isLeftToScale(it, goal),
    restart,
    after: restart ? (seen.object?.spec.template.metadata?.annotations?.[RESTARTED] ?? null) : null,
    replace: leftover(goal),
    partition: goal.manifest === null ? null : partitionOf({ ...goal.manifest, kind: seen.kind }),
    promote: seen.kind === 'Rollout' && site.config.steps !== 'follow',
  })
}

function pickRefs(
  refs: Record<string, string>,
  images: KubernetesPin['objects'][string]['images'],
): Record<string, string> {
  return Object.fromEntries(Object.keys(images).map(name => [name, refs[name] ?? '']))
}

function titleOf(rung: RollArgs['rung'], id: string, release: string): string {
  if (rung === 'adopt') return `bring ${id} back to its revision of ${release}`
  if (rung === 'template') return `put the template of ${release} back on ${id}`
  return rung === 'image' ? `set the images of ${release} on ${id}` : `apply ${id} as captured with ${release}`
}

/** Services, once the pods that they are for are there. */
function serviceSteps({ site, world, question: { to } }: Case): Step[] {
  return world.services.flatMap(service => {
    const { name } = service.metadata
    const expect = service.spec.selector ?? {}
    const selector = to.services[name]
    const then = portsToPut(to, service)
    if (selector === undefined || (then === null && sameJson(expect, selector))) return []
    const ports = then === null ? null : { then, expect: portsOf(service) }
    const title = `point service/${name} at the ${then === null ? '' : 'ports of the '}pods of the release`
    return [makeStep(site, name, title, { do: 'service', service: name, selector, expect, ports })]
  })
}

/** Bounds of autoscalers: of those that came since before the pods, which they would not let be, and else after them. */
function boundSteps({ site, boundings }: Case, first: boolean): Step[] {
  return boundings
    .filter(one => one.first === first)
    .map(({ scaler, bounds }) => {
      const { name } = scaler.metadata
      const title = `bound autoscaler ${name} to ${bounds.min} to ${bounds.max} pods`
      return makeStep(site, name, title, { do: 'autoscaler', autoscaler: name, bounds, expect: boundsOf(scaler) })
    })
}

function phasesOf(site: Site, { preflight, stop, config, bounds, code, after }: Steps): Proposal['phases'] {
  const par = (steps: readonly Step[]): Node | null => {
    const [only] = steps
    if (steps.length === 1 && only !== undefined) return { step: only.id }
    if (only === undefined) return null
    const items = steps.map(step => ({ id: step.id.split('/').slice(1).join('.'), after: [], node: { step: step.id } }))
    return { par: items, limit: Math.min(site.config.concurrency, items.length), maxFailures: 0 }
  }
  const codes = [par(bounds), par(code), par(after)].filter(node => node !== null)
  const all = codes.length > 1 ? { seq: codes } : (codes[0] ?? null)
  const phases = { preflight: par(preflight), stop: par(stop), config: par(config), code: all }
  return Object.fromEntries(Object.entries(phases).filter(([, node]) => node !== null))
}

function needsOf({ site, question, asked }: Case): Proposal['needs'] {
  if (!asked.stop && !site.config.drain) return []
  return question.dependents
    .filter(d => d.serves.includes('drained'))
    .map(d => ({ of: d.id, what: 'drained' as const }))
}

function nameOf({ question: { to } }: Case): string {
  const all = Object.entries(to.objects)
  const parts = all.slice(0, 3).map(([id, { images }]) => {
    const refs = Object.values(images).map(i => shortRef(i.ref))
    return all.length > 1 ? `${id.split('/')[1]}: ${refs.join(', ')}` : refs.join(', ')
  })
  return [...parts, ...(all.length > 3 ? [`and ${all.length - 3} more`] : [])].join('; ')
}

/** Users are served by the pods that are there while others are replaced; not where all go at once. */
function impactOf({ changing, asked, world, question }: Case): Impact {
  if (asked.stop) return { ...NO_IMPACT, downtimeMs: typicalMs('roll') + typicalMs('stop') }
  const gap = changing.some(({ seen, sameTemplate, manifest }) => {
    if (seen.object === null) return true
    if (sameTemplate) return false
    const once = manifest?.spec.strategy?.type === 'Recreate'
    const serving = seen.pods.filter(isLive).length
    return once || (seen.kind === 'StatefulSet' && serving <= 1)
  })
  // Pods of the release are there before its Services lead to their ports.
  const closed = world.services.some(service => portsToPut(question.to, service) !== null)
  return { ...NO_IMPACT, downtimeMs: gap || closed ? typicalMs('roll') : 0 }
}
