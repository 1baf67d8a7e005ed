import { z } from 'zod'

const file = z.object({
  /** Relative to the folder of the project. */
  path: z.string(),
  /** Holds variables, of which secrets keep today's value. */
  variables: z.boolean(),
  /** Keyed hash of the content. */
  mac: z.string(),
  sealed: z.object({ id: z.string(), mac: z.string() }),
  mode: z.string(),
  owner: z.string(),
})
export type PinnedFile = z.infer<typeof file>

const service = z.object({
  name: z.string(),
  /** As the containers were made from it: "shop:v1". */
  ref: z.string(),
  /** What it was: the id of the image on that host. */
  id: z.string(),
  /** "registry/shop@sha256:…": where it can be pulled from again. Empty for an image that was built there. */
  digests: z.array(z.string()),
  /** How many containers ran. */
  count: z.number(),
})
export type PinnedService = z.infer<typeof service>

export const pin = z.object({
  identity: z.string(),
  files: z.array(file),
  services: z.array(service),
  /** Compose's own hashes said that the containers were made from these files. */
  hashes: z.boolean(),
})
export type ComposePin = z.infer<typeof pin>
