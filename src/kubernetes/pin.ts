import { z } from 'zod'
import { servicePort } from './ports.ts'

const sealed = z.strictObject({ id: z.string(), mac: z.string() })

const pinnedObject = z.strictObject({
  /** Keyed hash of its template, but for the images. */
  template: z.string(),
  /** What each container was called, and what it ran: as nodes say, empty where nothing ran. */
  images: z.record(z.string(), z.strictObject({ ref: z.string(), ids: z.array(z.string()) })),
  /** null: as many as there are; a HorizontalPodAutoscaler decides, or it is a DaemonSet. */
  replicas: z.number().nullable(),
  /** As many as it had, whoever decided that; null: of an earlier version of Backout, which did not keep it. */
  ran: z.number().nullable().default(null),
  /** For people. */
  revision: z.string().nullable(),
  /** Name of a Rollout's ReplicaSet: its own template has no defaults, and cannot be told by them. */
  keeper: z.string().nullable().default(null),
  /** ConfigMaps and Secrets that it reads: "configmap/shop". */
  configs: z.array(z.string()),
})
export type PinnedObject = z.infer<typeof pinnedObject>

const pinnedConfig = z.strictObject({
  /** Keyed hash of its content. */
  mac: z.string(),
  /** The content, in the vault; null: it is not kept, and today's is used. */
  sealed: sealed.nullable(),
  /** Names only. */
  keys: z.array(z.string()),
})
export type PinnedConfig = z.infer<typeof pinnedConfig>

export const pin = z.strictObject({
  identity: z.string(),
  /** How the API server was reached. */
  server: z.string(),
  objects: z.record(z.string(), pinnedObject),
  /** All of them whole, as they were, in the vault. */
  manifests: sealed,
  configs: z.record(z.string(), pinnedConfig),
  /** Selectors of the Services that sent users to these pods. */
  services: z.record(z.string(), z.record(z.string(), z.string())),
  /** Their ports; null: of an earlier version of Backout, which did not keep them. */
  ports: z.record(z.string(), z.array(servicePort)).nullable().default(null),
  /** Who else had pods that these Services sent users to; null: of an earlier version of Backout, which did not look. */
  beside: z.record(z.string(), z.array(z.string())).nullable().default(null),
  autoscalers: z.record(
    z.string(),
    z.strictObject({
      min: z.number(),
      max: z.number(),
      /** "deployment/shop"; null: of an earlier version of Backout, which did not keep it. */
      target: z.string().nullable().default(null),
    }),
  ),
})
export type KubernetesPin = z.infer<typeof pin>
