import type { Adapter } from '../../core/contract.ts'
import { targetOf } from '../../kubernetes/target.ts'
import { type KubernetesPin, pin } from '../../kubernetes/pin.ts'
import { type ArgoRolloutsConfig, config } from './config.ts'

/** Rollouts of Argo: what is in flight is aborted, the template put back, and the promoted state proven by the pods. */
export const argoRollouts: Adapter<ArgoRolloutsConfig, KubernetesPin> = {
  kind: 'argo-rollouts',
  config,
  pin,
  pinVersion: 1,
  open: async ({ rollouts, ...settings }, ctx) => {
    const objects = rollouts.map(name => `rollout/${name}`)
    return targetOf({ ...settings, objects, selector: undefined }, ctx)
  },
}
