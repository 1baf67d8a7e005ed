import { isGated } from '../admission.ts'
import { type Api } from '../api.ts'
import { tell, write, writeStatus } from '../controllers/owned.ts'
import { withCondition } from '../controllers/pods.ts'
import { type Container, type Obj, type Pod } from '../types.ts'
import { parseQuantity } from './quantity.ts'

/** kube-scheduler: gives each pod a node with room, or says why none fits. */
export class Scheduler {
  readonly #api: Api
  #stopped = false

  constructor(api: Api) {
    this.#api = api
    api.store.listen(change => {
      if (change.key === '/pods' || change.key === '/nodes') setImmediate(() => this.#run())
    })
  }

  stop(): void {
    this.#stopped = true
  }

  #run(): void {
    if (this.#stopped) return
    for (const pod of this.#api.store.list(this.#api.resources.key('/pods')) as Pod[]) {
      if (pod.spec.nodeName === undefined && pod.metadata.deletionTimestamp === undefined && !isGated(pod))
        this.#place(pod)
    }
  }

  #place(pod: Pod): void {
    const nodes = this.#api.store.list(this.#api.resources.key('/nodes'))
    const reasons = nodes.map(node => this.#why(pod, node))
    const at = reasons.indexOf(null)
    const fitting = nodes.filter((_, i) => reasons[i] === null)
    if (at < 0) return this.#unschedulable(pod, nodes.length, reasons as string[])
    const [node] = fitting.sort((a, b) => this.#podsOn(a).length - this.#podsOn(b).length)
    const kind = this.#api.resources.key('/pods')
    const bound = write(this.#api, kind, { ...pod, spec: { ...pod.spec, nodeName: node?.metadata.name ?? '' } })
    const conditions = withCondition(bound.status.conditions, {
      type: 'PodScheduled',
      status: 'True',
      lastProbeTime: null,
      lastTransitionTime: this.#api.clock.stamp(),
    })
    writeStatus(this.#api, kind, { ...bound, status: { ...bound.status, conditions } })
    const text = `Successfully assigned ${pod.metadata.namespace}/${pod.metadata.name} to ${node?.metadata.name}`
    tell(this.#api, pod, 'Normal', 'Scheduled', text, 'default-scheduler')
  }

  #podsOn(node: Obj): Pod[] {
    const pods = this.#api.store.list(this.#api.resources.key('/pods')) as Pod[]
    return pods.filter(
      pod =>
        pod.spec.nodeName === node.metadata.name && pod.status.phase !== 'Succeeded' && pod.status.phase !== 'Failed',
    )
  }

  /** null: it fits. */
  #why(pod: Pod, node: Obj): string | null {
    const affinity = nodeNames(pod)
    if (affinity !== null && !affinity.includes(node.metadata.name))
      return "node(s) didn't match Pod's node affinity/selector"
    const wanted = Object.entries(pod.spec.nodeSelector ?? {})
    if (wanted.some(([key, value]) => node.metadata.labels?.[key] !== value))
      return "node(s) didn't match Pod's node affinity/selector"
    if ((node.spec as { unschedulable?: boolean }).unschedulable === true) return 'node(s) were unschedulable'
    const taint = untolerated(pod.spec, node)
    if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`
    const { allocatable } = node.status as { allocatable: Record<string, string> }
    for (const what of ['cpu', 'memory']) {
      const used = this.#podsOn(node).reduce((sum, other) => sum + requested(other, what), 0)
      if (requested(pod, what) + used > parseQuantity(allocatable[what] ?? '0')) return `Insufficient ${what}`
    }
    return null
  }

  #unschedulable(pod: Pod, nodes: number, reasons: readonly string[]): void {
    const counts = [...new Set(reasons)]
      .sort()
      .map(reason => `${reasons.filter(one => one === reason).length} ${reason}`)
    const message = `0/${nodes} nodes are available: ${counts.join(', ')}. preemption: 0/${nodes} nodes are available: ${nodes} Preemption is not helpful for scheduling.`
    const current = pod.status.conditions?.find(condition => condition.type === 'PodScheduled')
    if (current?.status === 'False' && current.message === message) return
    const conditions = withCondition(pod.status.conditions, {
      type: 'PodScheduled',
      status: 'False',
      reason: 'Unschedulable',
      message,
      lastProbeTime: null,
      lastTransitionTime: this.#api.clock.stamp(),
    })
    writeStatus(this.#api, this.#api.resources.key('/pods'), { ...pod, status: { ...pod.status, conditions } })
    tell(this.#api, pod, 'Warning', 'FailedScheduling', message, 'default-scheduler')
  }
}

interface Taint {
  readonly key: string
  readonly value?: string
  readonly effect: string
}

/** component-helpers/scheduling/corev1: FindMatchingUntoleratedTaint. */
export function untolerated(spec: Pod['spec'], node: Obj): Taint | undefined {
  const tolerations = (spec['tolerations'] ?? []) as Partial<Taint & { operator: string }>[]
  const taints = ((node.spec as { taints?: Taint[] }).taints ?? []).filter(one => one.effect !== 'PreferNoSchedule')
  return taints.find(
    ({ key, value = '', effect }) =>
      !tolerations.some(
        one =>
          (one.effect ?? effect) === effect &&
          (one.key === undefined || one.key === key) &&
          (one.operator === 'Exists' || (one.value ?? '') === value),
      ),
  )
}

/** component-helpers/resource: PodRequests. */
export function requested(pod: Pod, what: string): number {
  const asked = (one: Container): number => parseQuantity(one.resources?.requests?.[what] ?? '0')
  let [sidecars, most] = [0, 0]
  for (const one of pod.spec.initContainers ?? []) {
    most = Math.max(most, sidecars + asked(one))
    if (one.restartPolicy === 'Always') sidecars += asked(one)
  }
  return Math.max(
    most,
    pod.spec.containers.reduce((sum, one) => sum + asked(one), sidecars),
  )
}

/** The node that a DaemonSet's pod is meant for stands in its affinity. */
function nodeNames(pod: Pod): string[] | null {
  const affinity = pod.spec['affinity'] as
    | {
        nodeAffinity?: {
          requiredDuringSchedulingIgnoredDuringExecution?: {
            nodeSelectorTerms: { matchFields?: { values: string[] }[] }[]
          }
        }
      }
    | undefined
  const terms = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms
  const fields = terms?.flatMap(term => term.matchFields ?? []) ?? []
  return fields.length === 0 ? null : fields.flatMap(field => field.values)
}
