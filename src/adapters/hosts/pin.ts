import { z } from 'zod'

/** Checksums of a release folder: that of its manifest, or of the list of all its files' own. */
export const sums = z.strictObject({
  how: z.enum(['manifest', 'own', 'none']),
  sha256: z.string(),
  files: z.number(),
})
export type Sums = z.infer<typeof sums>
export const NO_SUMS: Sums = { how: 'none', sha256: '', files: 0 }

const pinnedHost = z.strictObject({
  release: z.string(),
  sums,
  /** What the version command said; null where there is none, or nothing ran. */
  version: z.string().nullable(),
  /** Units that did not run when this was captured: they are left alone. */
  stopped: z.array(z.string()),
})
export type PinnedHost = z.infer<typeof pinnedHost>

export const pin = z.strictObject({
  identity: z.string(),
  root: z.string(),
  strategy: z.enum(['symlink', 'blue-green']),
  /** The release that all reachable hosts had; null where they differed (a departure). */
  release: z.string().nullable(),
  /** Hosts that could not be reached at the capture are null: they get what the others have. */
  hosts: z.record(z.string(), pinnedHost.nullable()),
})
export type HostsPin = z.infer<typeof pin>

/** What a host goes back to: its own entry, or where it has none that of the others. */
export function pinnedFor(to: HostsPin, host: string): PinnedHost | null {
  const own = to.hosts[host]
  if (own) return own
  if (to.release === null) return null
  const alike = Object.values(to.hosts).filter(h => h !== null && h.release === to.release)
  const first = alike.find(h => h?.sums.how === 'manifest') ?? alike[0]
  return first ? { ...first, stopped: [] } : null
}
