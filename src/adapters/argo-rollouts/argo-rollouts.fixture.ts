import { connect } from '../../../test/support/kubernetes/client.ts'
import type { Rollout } from '../../../test/support/kubernetes/controllers/rollout-types.ts'
import { type Options, rollout } from '../../../test/support/kubernetes/manifests.ts'
import type { Target } from '../../core/contract.ts'
import { stepAct } from '../../../test/conformance/walk.ts'
import { type Kube, type Space, startKube } from '../../../test/support/kubernetes/component.ts'
import type { KubernetesPin } from '../../kubernetes/pin.ts'
import { argoRollouts } from './index.ts'

/** A cluster whose Rollouts have a controller: the stand-in, or a real one that has Argo Rollouts installed. */
export function startArgo(): Promise<Kube> {
  return startKube({ definitions: ['rollouts', 'applications'] })
}

export interface Argo {
  readonly space: Space
  open(settings?: Record<string, unknown>): Promise<Target<KubernetesPin>>
  make(name: string, image: string, o?: Options & { strategy?: Record<string, unknown> }): Promise<void>
  /** Puts another image on it, as `kubectl argo rollouts set image` does. */
  setImage(name: string, image: string, more?: Record<string, unknown>): Promise<void>
  /** What `kubectl argo rollouts promote --full`, `abort` and the like write. */
  status(name: string, status: Record<string, unknown>): Promise<void>
  reached(name: string, phase: string): Promise<Rollout>
  get(name: string): Promise<Rollout>
  close(): void
}

export async function argoIn(kube: Kube): Promise<Argo> {
  const space = await kube.namespace()
  const client = await connect(kube.kubeconfig)
  const { vault, backups } = stepAct()
  const ctx = { environment: 'test', component: 'shop', baseDir: '/', stateDir: '/nowhere', vault, backups }
  const url = `/apis/argoproj.io/v1alpha1/namespaces/${space.name}/rollouts`
  const merge = async (path: string, body: object): Promise<void> => {
    await client.must('PATCH', path, body, 'application/merge-patch+json')
  }
  await client.until('/apis/argoproj.io/v1alpha1', () => true)
  return {
    space,
    open: (settings = {}) => {
      const base = {
        kubeconfig: kube.kubeconfig,
        namespace: space.name,
        rollouts: ['shop'],
        limits: { settle: '100ms' },
      }
      return argoRollouts.open(argoRollouts.config.parse({ ...base, ...settings }), ctx)
    },
    make: async (name, image, o) => void (await client.must('POST', url, rollout(name, image, o))),
    setImage: (name, image, more = {}) =>
      merge(`${url}/${name}`, { spec: { template: { spec: { containers: [{ name: 'app', image, ...more }] } } } }),
    status: (name, status) => merge(`${url}/${name}/status`, { status }),
    reached: async (name, phase) =>
      (await client.until(`${url}/${name}`, one => {
        const { status, metadata } = one as Rollout
        return status?.phase === phase && status.observedGeneration === String(metadata.generation)
      })) as Rollout,
    get: async name => (await client.must('GET', `${url}/${name}`)) as Rollout,
    close: () => client.close(),
  }
}
