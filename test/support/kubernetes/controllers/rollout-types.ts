import { type Condition, type LabelSelector, type Obj, type PodTemplate } from '../types.ts'

export interface Step {
  setWeight?: number
  pause?: { duration?: number | string }
}

export interface BlueGreen {
  activeService: string
  previewService?: string
  autoPromotionEnabled?: boolean
  scaleDownDelaySeconds?: number
}

/** argoproj.io/v1alpha1 Rollout, with the strategies and steps that the stand-in knows. */
export interface Rollout extends Obj {
  spec: {
    replicas?: number
    selector: LabelSelector
    template: PodTemplate
    strategy: { canary?: { steps?: Step[] }; blueGreen?: BlueGreen }
    paused?: boolean
    revisionHistoryLimit?: number
    progressDeadlineSeconds?: number
    minReadySeconds?: number
  }
  status?: RolloutStatus
}

export interface RolloutStatus {
  abort?: boolean
  abortedAt?: string
  promoteFull?: boolean
  controllerPause?: boolean
  pauseConditions?: { reason: string; startTime: string }[]
  currentPodHash?: string
  stableRS?: string
  currentStepIndex?: number
  currentStepHash?: string
  /** A string, unlike everywhere else. */
  observedGeneration?: string
  replicas?: number
  updatedReplicas?: number
  readyReplicas?: number
  availableReplicas?: number
  HPAReplicas?: number
  selector?: string
  phase?: string
  message?: string
  conditions?: Condition[]
  blueGreen?: { activeSelector?: string; previewSelector?: string }
}

export const HASH = 'rollouts-pod-template-hash'
export const REVISION = 'rollout.argoproj.io/revision'
