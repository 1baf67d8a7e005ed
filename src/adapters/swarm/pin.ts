import { z } from 'zod'

const reference = z.object({ id: z.string(), name: z.string() })
export const sealed = z.object({ id: z.string(), mac: z.string() })

/** An image by what it is: the digest of its manifest, the id of its content on the engine; at least one, where it can be known. */
export const image = z.object({
  /** As the service has it: "registry/shop:v1@sha256:…". */
  ref: z.string(),
  digest: z.string().nullable(),
  id: z.string().nullable(),
})
export type Image = z.infer<typeof image>

const service = z.object({
  name: z.string(),
  /** Keyed hash of the specification. */
  mac: z.string(),
  /** The specification, in the vault: its variables may hold secrets. */
  sealed,
  image,
  /** null: one on each node. */
  replicas: z.number().nullable(),
  networks: z.array(reference),
  /** Their content in the vault, so that they can be made again; null: it was not there at the capture. */
  configs: z.array(reference.extend({ mac: z.string(), sealed: sealed.nullable().default(null) })),
  /** By name of the file below /run/secrets. */
  secrets: z.array(reference.extend({ file: z.string() })),
  /** Names only. */
  variables: z.array(z.string()),
})
export type PinnedService = z.infer<typeof service>

export const pin = z.object({ identity: z.string(), services: z.array(service) })
export type SwarmPin = z.infer<typeof pin>
