import type { Adapter } from '../../core/contract.ts'
import { type KubernetesPin, pin } from '../../kubernetes/pin.ts'
import { targetOf } from '../../kubernetes/target.ts'
import { config, type KubernetesConfig } from './config.ts'

/** Deployments, StatefulSets and DaemonSets with what they refer to, through the user's own kubeconfig. */
export const kubernetes: Adapter<KubernetesConfig, KubernetesPin> = {
  kind: 'kubernetes',
  config,
  pin,
  pinVersion: 1,
  open: async (settings, ctx) => targetOf(settings, ctx),
}
