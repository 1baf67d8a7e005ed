import { randomBytes } from 'node:crypto'
import { kubernetes } from '../../../src/adapters/kubernetes/index.ts'
import type { Proposal, Question, Step, Target } from '../../../src/core/contract.ts'
import type { Json } from '../../../src/core/json.ts'
import type { KubernetesPin } from '../../../src/kubernetes/pin.ts'
import { ordered, stepAct } from '../../conformance/walk.ts'
import { definition } from './definitions.ts'
import { type Cluster, type ClusterOptions, startCluster } from './index.ts'
import { type Kubectl, kubectl } from './kubectl.ts'
import { IMAGES as PULLED } from './manifests.ts'
import { openNodes, withImages } from './real/images.ts'
import { type Names, namesOf, notOwn, type Powers, powersOver, REAL } from './real/index.ts'

const { old: good, new: bad, shell, missing } = PULLED
export const IMAGES = { good, bad, shell, missing }

export { noArgo, noPush, noStop, notOwn, onlyStandIn } from './real/index.ts'
export { openNodes }

export interface Kube extends AsyncDisposable, Powers, Names {
  readonly kubeconfig: string
  /** null: a real cluster. */
  readonly standIn: Cluster | null
  /** A namespace of its own, gone with the cluster or deleted in the end. */
  namespace(): Promise<Space>
}

export interface Space {
  readonly name: string
  readonly kubectl: Kubectl
  open(settings: Record<string, unknown>, more?: { kubeconfig?: string }): Promise<Target<KubernetesPin>>
}

/** The real cluster, or a stand-in; a stand-in beside the real one where another cluster is wanted. */
export async function startKube(options: ClusterOptions = {}, o: { another?: boolean } = {}): Promise<Kube> {
  const standIn = REAL === null || o.another === true ? await startCluster(options) : null
  const kubeconfig = standIn?.kubeconfig ?? REAL ?? ''
  const made: string[] = []
  const admin = kubectl(kubeconfig, 'default')
  if (standIn === null) await withImages(admin)
  // They stay: another test may be at them.
  if (standIn === null && notOwn === null)
    for (const name of options.definitions ?? []) await admin.apply(definition(name))
  return {
    ...powersOver(standIn),
    ...(await namesOf(kubeconfig)),
    kubeconfig,
    standIn,
    async namespace() {
      const name = `backout-test-${randomBytes(4).toString('hex')}`
      await admin.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name } })
      made.push(name)
      return spaceOf(kubeconfig, name)
    },
    async [Symbol.asyncDispose]() {
      if (standIn === null && made.length > 0)
        await admin('delete', 'namespace', '--wait=false', '--ignore-not-found', ...made)
      await standIn?.stop()
    },
  }
}

function spaceOf(kubeconfig: string, name: string): Space {
  const { vault, backups } = stepAct()
  const ctx = { environment: 'test', component: 'shop', baseDir: '/', stateDir: '/nowhere', vault, backups }
  return {
    name,
    kubectl: kubectl(kubeconfig, name),
    open: (settings, more = {}) =>
      kubernetes.open(kubernetes.config.parse({ kubeconfig, namespace: name, ...settings, ...more }), ctx),
  }
}

type Fields = Record<string, unknown>

interface Made {
  readonly image: string
  readonly replicas?: number
  readonly container?: Fields
  readonly pod?: Fields
  readonly spec?: Fields
  readonly metadata?: Fields
}

/** A workload as a team would write it, whose pods end at once. */
export function workload(
  kind: string,
  name: string,
  { image, replicas = 2, container, pod, spec, metadata }: Made,
): Fields {
  const labels = { app: name }
  const containers = [{ name: 'app', image, ...container }]
  const template = { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers, ...pod } }
  return {
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, labels, ...metadata },
    spec: {
      ...(kind === 'DaemonSet' ? {} : { replicas }),
      ...(kind === 'StatefulSet' ? { serviceName: name } : {}),
      selector: { matchLabels: labels },
      template,
      ...spec,
    },
  }
}

export function configMap(name: string, data: Record<string, string>): Fields {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data }
}

export function secret(name: string, stringData: Record<string, string>): Fields {
  return { apiVersion: 'v1', kind: 'Secret', metadata: { name }, stringData }
}

export function service(name: string, selector: Record<string, string>): Fields {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name }, spec: { selector, ports: [{ port: 80 }] } }
}

/** Of the workload of the same name. */
export function autoscaler(
  { autoscaling }: Pick<Kube, 'autoscaling'>,
  kind: string,
  name: string,
  { min, max }: { min: number; max: number },
): Fields {
  const scaleTargetRef = { apiVersion: 'apps/v1', kind, name }
  const spec = { scaleTargetRef, minReplicas: min, maxReplicas: max }
  return { apiVersion: autoscaling, kind: 'HorizontalPodAutoscaler', metadata: { name }, spec }
}

/** Puts several objects there by one call of kubectl. */
export async function put({ kubectl }: Space, ...items: readonly Fields[]): Promise<void> {
  await kubectl.apply({ apiVersion: 'v1', kind: 'List', items }, '--validate=false')
}

/** The rollout of a DaemonSet has no middle where it has one node: its only pod is the last one, too. */
export async function skipOnOneNode(space: Space, ctx: { skip(why: string): void }): Promise<void> {
  if ((await openNodes(space.kubectl)).length < 2) ctx.skip('the cluster has one node for a DaemonSet')
}

/** Pods with claims get ready where somebody makes volumes for them: the stand-in asks for none. */
export async function skipWithoutVolumes(kube: Kube, { kubectl }: Space, ctx: { skip(why: string): void }) {
  const isDefault = 'jsonpath={.items[*].metadata.annotations.storageclass\\.kubernetes\\.io/is-default-class}'
  if (kube.standIn === null && !(await kubectl('get', 'storageclasses', '-o', isDefault)).includes('true'))
    ctx.skip('the cluster has no default StorageClass')
}

interface PodView {
  metadata: { name: string; deletionTimestamp?: string }
  spec: { containers: { image: string }[] }
  status: { conditions?: { type: string; status: string }[] }
}

/** `app`: the rest of a selector after the label `app`. */
export async function pods(space: Space, app = '=shop'): Promise<PodView[]> {
  const list = JSON.parse(await space.kubectl('get', 'pods', '-l', `app ${app}`.replace(' =', '='), '-o', 'json')) as {
    items: PodView[]
  }
  return list.items.filter(pod => pod.metadata.deletionTimestamp === undefined)
}

/** What the ready pods run, asked of them. */
export async function running(space: Space, app = '=shop'): Promise<string[]> {
  const isReady = (pod: PodView) => pod.status.conditions?.some(c => c.type === 'Ready' && c.status === 'True') === true
  const images = (await pods(space, app)).filter(isReady).map(pod => pod.spec.containers[0]?.image.split('@')[0] ?? '')
  return images.sort()
}

export const signal = new AbortController().signal

/** The release that the namespace serves now, as the pin of a capture. */
export async function captured(target: Target<KubernetesPin>): Promise<KubernetesPin> {
  return target.capture(await target.observe(signal), { ...stepAct(), purpose: 'release', release: 'v1' })
}

export async function proposed(
  target: Target<KubernetesPin>,
  pin: KubernetesPin,
  rung = 'adopt',
  more: Partial<Question<KubernetesPin>> = {},
): Promise<Proposal> {
  return target.propose({
    from: await target.observe(signal),
    to: pin,
    release: 'v1',
    rung,
    needs: [],
    dependents: [],
    dependencies: [],
    upgradedAt: null,
    mode: 'full',
    signal,
    ...more,
  })
}

/** Codes of the findings, blockers first in capitals. */
export function codes({ findings }: Proposal): string[] {
  return findings.map(f => (f.level === 'blocker' ? f.code.toUpperCase() : f.code)).sort()
}

/** Applies a proposal's steps in their order; answers what each was verified as. */
export async function applied(target: Target<KubernetesPin>, proposal: Proposal, run = 'r1'): Promise<string[]> {
  const verdicts: string[] = []
  const handles = new Map<string, Json>()
  for (const step of ordered(proposal)) {
    await target.apply(step, stepAct(step, run, handles))
    verdicts.push(`${step.id}: ${(await target.verify(step, stepAct(step, run, handles))).is}`)
  }
  return verdicts
}

export async function rolledOut(space: Space, object: string): Promise<void> {
  await space.kubectl('rollout', 'status', object, '--timeout=300s')
}

export function setImage({ kubectl }: Space, image: string): Promise<string> {
  return kubectl('set', 'image', 'deployment/shop', `app=${image}`)
}

/** The Deployment `shop`: good, captured, then bad. */
export async function released(
  space: Space,
  target: Target<KubernetesPin>,
  more: Partial<Made> = {},
): Promise<KubernetesPin> {
  await space.kubectl.apply(workload('Deployment', 'shop', { image: IMAGES.good, ...more }))
  await rolledOut(space, 'deployment/shop')
  const pin = await captured(target)
  await setImage(space, IMAGES.bad)
  await rolledOut(space, 'deployment/shop')
  return pin
}

/** The step that puts an object back. */
export function rollStep(proposal: Proposal): Step {
  const step = ordered(proposal).find(s => s.id.startsWith('shop/roll/'))
  if (step === undefined) throw new Error('nothing is rolled back')
  return step
}
