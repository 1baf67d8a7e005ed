import { z } from 'zod'
import { duration } from '../config/fields.ts'

const NAME = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/
const CONFIG = /^(configmap|secret)\/[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/i

const configObject = z
  .string()
  .regex(CONFIG, 'expected configmap/NAME or secret/NAME')
  .transform(text => text.toLowerCase())

const limits = z
  .strictObject({
    api: duration().prefault('15s').describe('For one request to the API server'),
    away: duration().prefault('60s').describe('How long the API server may be away while a step waits'),
    rollout: duration().prefault('10m').describe('Until all pods of an object run the release'),
    stuck: duration()
      .prefault('90s')
      .describe('How long pods of the release may keep failing before a rollout counts as stuck'),
    settle: duration()
      .prefault('3s')
      .describe(
        'How long pods without a readiness probe must stay up before they count: a container that starts is ready at once',
      ),
    stop: duration().prefault('5m').describe('Until all pods of an object are gone'),
    exec: duration().prefault('30m').describe('For a command that runs as a Job'),
  })
  .prefault({})

/** Where the cluster is. */
export const place = {
  kubeconfig: z
    .string()
    .min(1)
    .optional()
    .describe('A kubeconfig, relative to backout.yaml; what kubectl uses, if not given'),
  context: z.string().min(1).optional().describe('Its context; the current one, if not given'),
  namespace: z.string().regex(NAME).optional().describe("The namespace; the context's, if not given"),
}

/** What goes back with the objects, and how. */
export const common = {
  replicas: z
    .enum(['pinned', 'current'])
    .default('pinned')
    .describe('pinned: as many as at the capture, where no HorizontalPodAutoscaler decides. current: as many as now'),
  pinned: z
    .array(configObject)
    .default([])
    .describe(
      "Secrets that go back with the release, sealed in the vault. The others keep today's content: secrets get rotated",
    ),
  current: z.array(configObject).default([]).describe("ConfigMaps that keep today's content"),
  gitops: z
    .enum(['suspend', 'warn'])
    .default('suspend')
    .describe('suspend: what Argo CD or Flux would put back is held for them until somebody lifts it. warn: only said'),
  argocd: z.string().regex(NAME).default('argocd').describe("The namespace of Argo CD's Applications"),
  container: z
    .string()
    .regex(NAME)
    .optional()
    .describe('The container whose image commands run in; the first one, if not given'),
  drain: z.boolean().default(false).describe('Take traffic away before pods are replaced, even when rolling'),
  concurrency: z
    .number()
    .int()
    .positive()
    .default(20)
    .describe('How many objects are worked on at the same time at most'),
  limits: limits.describe('Time limits'),
}

export const site = z.object({ ...place, ...common })

/** What a component made of Kubernetes' workloads is opened with. */
export type SiteConfig = z.output<typeof site> & {
  readonly objects?: readonly string[] | undefined
  readonly selector?: string | undefined
  /** What becomes of a Rollout's steps on the way back. */
  readonly steps?: 'skip' | 'follow'
}
