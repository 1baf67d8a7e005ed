import type { StepAct, Verdict } from '../../core/contract.ts'
import { sameJson } from '../../core/json.ts'
import type { PatchOp } from '../api/client.ts'
import { Conflict } from '../api/errors.ts'
import {
  type Autoscaler,
  type ConfigObject,
  corePath,
  parseId,
  type Service,
  type Workload,
  workloadPath,
} from '../api/objects.ts'
import { pathIn, versionIn } from '../api/served.ts'
import { configPath, currentOf, lookAt, type Seen } from '../look.ts'
import { openConfig } from '../manifests.ts'
import { boundsOf, configMac, isEmpty } from '../observe.ts'
import { portsFor, portsOf, samePorts } from '../ports.ts'
import type { Site } from '../site.ts'
import { ended, isLive } from '../status.ts'
import type { ConfigArgs, ScaleArgs, ServiceArgs, StopArgs } from '../steps.ts'
import { isHeldStopped, STOPPED, starting } from '../stopped.ts'
import { DUE, EMPTIED } from '../template.ts'
import { untilNoPods } from './wait.ts'
import { change, lastWriter, moved } from './write.ts'

/**
 * Scales to nothing, and waits until the last pod is gone. Where the run does not bring it back it stays so, also through what
 * is deployed later.
 */
export async function stop(site: Site, { object }: StopArgs, act: StepAct): Promise<void> {
  const { kind, name } = parseId(object)
  const decide = async (now: Workload): Promise<PatchOp[] | null> => {
    const { spec } = now
    if (isAskedToStop(kind, now)) return null
    const lift = starting(site.namespace, kind, now)
    const text = `${object} is stopped until it is put back; if this run does not do that, have it run again: ${lift}`
    await act.tell({ kind: 'note', text, data: { object, lift } })
    if (kind !== 'DaemonSet') return [{ op: 'add', path: '/spec/replicas', value: 0 }]
    const nodeSelector = spec.template.spec.nodeSelector ?? {}
    return [{ op: 'add', path: '/spec/template/spec/nodeSelector', value: { ...nodeSelector, [STOPPED]: 'true' } }]
  }
  const live = await change<Workload>(
    site,
    { path: workloadPath(site.namespace, kind, name), name: object, decide },
    act,
  )
  await untilNoPods(site, { id: object, kind, name, object: live, revisions: [], pods: [] }, act)
}

function isAskedToStop(kind: Workload['kind'], { spec }: Workload): boolean {
  return kind === 'DaemonSet' ? isHeldStopped(spec.template) : spec.replicas === 0
}

export async function isStopped(site: Site, { object }: StopArgs, act: StepAct): Promise<Verdict> {
  const { kind, name } = parseId(object)
  const live = await site.client.get<Workload>(workloadPath(site.namespace, kind, name), act.signal)
  if (live === null) return { is: 'not-done', why: `${object} is not there, and its pods may be` }
  if (!isAskedToStop(kind, live)) return { is: 'not-done', why: 'it is to run' }
  const { pods } = await lookAt(site, { id: object, kind, name, object: live }, act.signal)
  const left = pods.filter(pod => !ended(pod))
  if (left.length === 0) return { is: 'done', why: 'no pod is left' }
  return { is: 'running', why: `${left.length} pods are on their way out` }
}

/** Puts the content of a ConfigMap or Secret back, or takes it away; what was there is kept in the vault. */
export async function putConfig(site: Site, args: ConfigArgs, act: StepAct): Promise<void> {
  const path = configPath(site.namespace, args.config)
  const content = await contentFor(args, act)
  if (
    (await site.client.get(path, act.signal)) === null &&
    (content === null || (await made(site, args, content, act)))
  )
    return
  const decide = async (now: ConfigObject): Promise<PatchOp[] | null> => {
    if (isAs(now, args, act)) return null
    if (configMac(now, act.vault) !== args.expect) throw moved(args.config, lastWriter(now))
    const { data, binaryData } = now
    act.guard()
    const before = Buffer.from(JSON.stringify({ data, binaryData }))
    const { id } = await act.vault.seal(before, `${site.component}: ${args.config} before ${act.idem}`)
    const text = `${args.config} as it was is in the vault as ${id}`
    await act.tell({ kind: 'kept', text, data: { config: args.config, sealed: id } })
    await markReaders(site, args, act)
    const ops = [field('data', content?.data, data), field('binaryData', content?.binaryData, binaryData)]
    return [...ops.flat(), ...markEmptied(now, content === null ? act.idem : null)]
  }
  await change<ConfigObject>(site, { path, name: args.config, decide }, act)
}

async function contentFor({ content }: ConfigArgs, { vault }: StepAct): Promise<ConfigObject | null> {
  return content === null ? null : openConfig(content.sealed, vault)
}

function isAs(now: ConfigObject, { content }: ConfigArgs, { vault }: StepAct): boolean {
  return content === null ? isEmpty(now) : configMac(now, vault) === content.mac
}

/** For people who find nothing in it. */
function markEmptied({ metadata: { annotations = {} } }: ConfigObject, by: string | null): PatchOp[] {
  const { [EMPTIED]: was, ...others } = annotations
  if (by === null && was === undefined) return []
  return [{ op: 'add', path: '/metadata/annotations', value: by === null ? others : { ...others, [EMPTIED]: by } }]
}

/** Before the content is written: a run that ends in between leaves pods that read the old one, and nothing else tells. */
async function markReaders(site: Site, { readers, config }: ConfigArgs, act: StepAct): Promise<void> {
  for (const object of readers) {
    const { kind, name } = parseId(object)
    const path = workloadPath(site.namespace, kind, name)
    if ((await site.client.get(path, act.signal)) === null) continue
    const decide = async (now: Workload): Promise<PatchOp[] | null> => {
      const { annotations = {} } = now.metadata
      const due = dueOf(await lookAt(site, { id: object, kind, name, object: { ...now, kind } }, act.signal), config)
      if (annotations[DUE] === due) return null
      return [{ op: 'add', path: '/metadata/annotations', value: { ...annotations, [DUE]: due } }]
    }
    await change<Workload>(site, { path, name: object, decide }, act)
  }
}

/** Pods that are of no revision any more might be of any: all that there are later are made anew then. */
function dueOf(seen: Seen, config: string): string {
  const { revisions, pods } = seen
  const running = revisions.filter(revision => revision.pods.some(isLive))
  const known = pods.filter(isLive).every(pod => running.some(revision => revision.pods.includes(pod)))
  // The one that is asked for may have pods in a moment, before the content is written.
  const current = currentOf(seen)
  const names = new Set([...running, ...(current === null ? [] : [current])].map(({ name }) => name))
  return known && current !== null ? [config, ...names].join(' ') : config
}

function field(
  name: string,
  then: Record<string, string> | undefined,
  now: Record<string, string> | undefined,
): PatchOp[] {
  const path = `/${name}`
  const empty = then === undefined || Object.keys(then).length === 0
  if (empty) return now === undefined ? [] : [{ op: 'remove', path }]
  return [{ op: 'add', path, value: then }]
}

/** Makes one that is gone; false where somebody else was quicker. */
async function made(site: Site, args: ConfigArgs, content: ConfigObject, act: StepAct): Promise<boolean> {
  if (args.expect !== null) throw moved(args.config, null)
  const [kind, name = ''] = args.config.split('/')
  const secret = kind === 'secret'
  const { data, binaryData, type, immutable } = content
  const metadata = { name, namespace: site.namespace }
  const body = {
    apiVersion: 'v1',
    kind: secret ? 'Secret' : 'ConfigMap',
    metadata,
    data,
    ...(secret ? { type } : { binaryData }),
    ...(immutable === true ? { immutable } : {}),
  }
  await markReaders(site, args, act)
  act.signal.throwIfAborted()
  act.guard()
  try {
    await site.client.post(corePath(site.namespace, secret ? 'secrets' : 'configmaps'), body, act.signal)
    return true
  } catch (error) {
    if (error instanceof Conflict) return false
    throw error
  }
}

export async function isConfigThere(site: Site, args: ConfigArgs, act: StepAct): Promise<Verdict> {
  const now = await site.client.get<ConfigObject>(configPath(site.namespace, args.config), act.signal)
  if (now === null && args.content === null) return { is: 'done', why: `${args.config} is not there` }
  if (now === null) return { is: 'not-done', why: `${args.config} is not there` }
  if (isAs(now, args, act)) return { is: 'done', why: 'its content is that of the release' }
  return { is: 'not-done', why: 'its content is another one' }
}

function servicePath(site: Site, name: string): string {
  return corePath(site.namespace, 'services', name)
}

/** Its selector, and its ports where they are others: whatever the plan saw, or is back already. */
export async function point(site: Site, args: ServiceArgs, act: StepAct): Promise<void> {
  const { service, selector, expect, ports } = args
  const decide = (now: Service): PatchOp[] | null => {
    const selects = sameJson(now.spec.selector ?? {}, selector)
    const leads = leadsThere(now, args)
    if (selects && leads) return null
    const known = selects || sameJson(now.spec.selector ?? {}, expect)
    if (!known || !(leads || samePorts(portsOf(now), ports?.expect ?? [])))
      throw moved(`service/${service}`, lastWriter(now))
    const value = portsFor(now, ports?.then ?? [])
    return [
      ...(selects ? [] : [{ op: 'add' as const, path: '/spec/selector', value: selector }]),
      ...(leads ? [] : [{ op: 'add' as const, path: '/spec/ports', value }]),
    ]
  }
  await change<Service>(site, { path: servicePath(site, service), name: `service/${service}`, decide }, act)
}

function leadsThere(now: Service, { ports }: ServiceArgs): boolean {
  return ports === null || samePorts(portsOf(now), portsFor(now, ports.then))
}

export async function isPointed(site: Site, args: ServiceArgs, act: StepAct): Promise<Verdict> {
  const { service, selector } = args
  const now = await site.client.get<Service>(servicePath(site, service), act.signal)
  if (now === null) return { is: 'not-done', why: `service/${service} is not there` }
  if (!sameJson(now.spec.selector ?? {}, selector)) return { is: 'not-done', why: 'its selector is another one' }
  if (!leadsThere(now, args)) return { is: 'not-done', why: 'its ports are others' }
  return { is: 'done', why: 'it is as in the release' }
}

async function scalerPath({ client, namespace }: Site, name: string, signal: AbortSignal): Promise<string> {
  const version = (await versionIn(client, 'autoscaling', signal)) ?? 'v2'
  return pathIn('autoscaling', version, namespace, 'horizontalpodautoscalers', name)
}

export async function bound(site: Site, { autoscaler, bounds, expect }: ScaleArgs, act: StepAct): Promise<void> {
  const decide = (now: Autoscaler): PatchOp[] | null => {
    if (sameJson(boundsOf(now), bounds)) return null
    if (!sameJson(boundsOf(now), expect)) throw moved(`autoscaler ${autoscaler}`, lastWriter(now))
    return [
      { op: 'add', path: '/spec/minReplicas', value: bounds.min },
      { op: 'replace', path: '/spec/maxReplicas', value: bounds.max },
    ]
  }
  const path = await scalerPath(site, autoscaler, act.signal)
  await change<Autoscaler>(site, { path, name: `autoscaler ${autoscaler}`, decide }, act)
}

export async function isBound(site: Site, { autoscaler, bounds }: ScaleArgs, act: StepAct): Promise<Verdict> {
  const now = await site.client.get<Autoscaler>(await scalerPath(site, autoscaler, act.signal), act.signal)
  if (now === null) return { is: 'not-done', why: `the autoscaler ${autoscaler} is not there` }
  if (sameJson(boundsOf(now), bounds)) return { is: 'done', why: 'its bounds are those of the release' }
  return { is: 'not-done', why: 'its bounds are others' }
}
