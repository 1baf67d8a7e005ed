import { until } from '../lib/processes.ts'

export interface Shares {
  readonly live: number
  readonly maintenance: number
}

export interface BalancerState {
  readonly weights: Shares
  readonly active: Shares
  readonly upstreams: readonly { name: string; up: boolean }[]
}

const DRAIN_MS = 10_000

export async function readBalancer(adminUrl: string): Promise<{ state: BalancerState; etag: string }> {
  const response = await fetch(`${adminUrl}/admin/state`)
  return { state: (await response.json()) as BalancerState, etag: response.headers.get('etag') ?? '' }
}

/** Shares the users out anew. Throws where somebody else did so in the meantime. */
export async function setWeights(adminUrl: string, weights: Shares): Promise<void> {
  const { etag } = await readBalancer(adminUrl)
  const response = await fetch(`${adminUrl}/admin/weights`, {
    method: 'PUT',
    headers: { 'if-match': etag, 'content-type': 'application/json' },
    body: JSON.stringify(weights),
  })
  if (!response.ok) throw new Error(`the balancer answers ${response.status}: ${await response.text()}`)
}

/** Nobody new to the live side; returns once everybody there is done. */
export async function drain(adminUrl: string): Promise<void> {
  await setWeights(adminUrl, { live: 0, maintenance: 100 })
  const empty = await until(async () => (await readBalancer(adminUrl)).state.active.live === 0, DRAIN_MS)
  if (!empty) throw new Error('the live side did not become empty')
}
