import { z } from 'zod'

export const pin = z.strictObject({
  identity: z.string(),
  /** How the API server was reached. */
  server: z.string(),
  /** As it was then; a later revision with the same content serves as well. */
  revision: z.number(),
  /** Name and version: "shop-1.3.0". */
  chart: z.string(),
  appVersion: z.string(),
  /** Keyed hash of the rendered manifest, which holds secrets. */
  manifest: z.string(),
  /**
   * What was not as Helm says already then, and a keyed hash of what was there: that is no change since. null: of an earlier
   * version of Backout, which did not look.
   */
  past: z.record(z.string(), z.string()).nullable().default(null),
})

export type HelmPin = z.infer<typeof pin>
