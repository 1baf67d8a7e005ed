import type { Adapter } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'

/** Every adapter, loaded only when a component uses it. */
const ADAPTERS: Record<string, () => Promise<Adapter>> = {
  'argo-rollouts': async () => (await import('./argo-rollouts/index.ts')).argoRollouts as Adapter,
  command: async () => (await import('./command/index.ts')).command as Adapter,
  compose: async () => (await import('./compose/index.ts')).compose as Adapter,
  'env-file': async () => (await import('./env-file/index.ts')).envFile as Adapter,
  'flag-file': async () => (await import('./flag-file/index.ts')).flagFile as Adapter,
  'git-config': async () => (await import('./git-config/index.ts')).gitConfig as Adapter,
  haproxy: async () => (await import('./haproxy/index.ts')).haproxy as Adapter,
  helm: async () => (await import('./helm/index.ts')).helm as Adapter,
  hosts: async () => (await import('./hosts/index.ts')).hosts as Adapter,
  kubernetes: async () => (await import('./kubernetes/index.ts')).kubernetes as Adapter,
  mysql: async () => (await import('./mysql/index.ts')).mysql as Adapter,
  outsystems: async () => (await import('./outsystems/index.ts')).outsystems as Adapter,
  postgres: async () => (await import('./postgres/index.ts')).postgres as Adapter,
  sqlite: async () => (await import('./sqlite/index.ts')).sqlite as Adapter,
  swarm: async () => (await import('./swarm/index.ts')).swarm as Adapter,
  'traffic-http': async () => (await import('./traffic-http/index.ts')).trafficHttp as Adapter,
}

export const KINDS: readonly string[] = Object.keys(ADAPTERS)

export async function adapterOf(kind: string): Promise<Adapter> {
  const load = ADAPTERS[kind]
  if (load === undefined) {
    throw new BackoutError({ code: 'adapter_unknown', what: `There is no adapter "${kind}"`, next: 'backout adapters' })
  }
  return load()
}
