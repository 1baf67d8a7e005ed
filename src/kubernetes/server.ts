import type { Finding } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import type { KubeObject } from './api/objects.ts'
import type { Site } from './site.ts'

/** The oldest minor version of Kubernetes 1 that all of it was run against. */
const OLDEST = 20

interface Version extends KubeObject {
  major?: string
  /** Some providers write "24+". */
  minor?: string
  gitVersion?: string
}

/** What is to be said of the version of the API server; null: nothing. */
export async function serverFinding(site: Site, signal: AbortSignal): Promise<Finding | null> {
  const { component, client } = site
  const version = await client.get<Version>('/version', signal).catch((error: unknown) => {
    if (error instanceof BackoutError && error.code === 'kubernetes_forbidden') return null
    throw error
  })
  const [major, minor] = [Number.parseInt(version?.major ?? ''), Number.parseInt(version?.minor ?? '')]
  if (Number.isNaN(major) || Number.isNaN(minor)) {
    return {
      level: 'warning',
      code: 'server_unknown',
      component,
      what: `The API server ${client.session.server} does not tell its version`,
      remedy: `see that it is 1.${OLDEST} or newer: \`kubectl version\``,
    }
  }
  if (major > 1 || minor >= OLDEST) return null
  return {
    level: 'blocker',
    code: 'server_too_old',
    component,
    what: `The API server runs Kubernetes ${version?.gitVersion ?? `${major}.${minor}`}, and 1.${OLDEST} is the oldest that going back was tried on`,
    remedy: 'bring the cluster up to date first, or go back by `kubectl rollout undo`',
  }
}
