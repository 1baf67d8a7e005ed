import type { Sealed } from '../../core/contract.ts'
import type { Say } from './check.ts'
import { orNull } from './engine.ts'
import { configOf, contentMac } from './observe.ts'
import type { PinnedService } from './pin.ts'
import type { Site } from './site.ts'
import type { Renamed } from './spec.ts'
import type { MadeConfig } from './steps.ts'
import type { Network, Secret, Spec } from './types.ts'

/**
 * What the pin's networks, configs and secrets are called today. null where one is gone: said as a blocker. Something of the
 * same name counts where it is the same: a config by its content; a secret's content nobody can read.
 */
export async function renamedOf(
  site: Site,
  pinned: PinnedService,
  today: Spec | null,
  say: Say,
  signal: AbortSignal,
): Promise<Renamed | null> {
  const found = {
    networks: await networksOf(site, pinned, say, signal),
    configs: await configsOf(site, pinned, say, signal),
    secrets: await secretsOf(site, pinned, today, say, signal),
  }
  const { networks, configs, secrets } = found
  if (networks === null || configs === null || secrets === null) return null
  return { networks, configs: configs.ids, secrets, made: configs.made }
}

async function networksOf(site: Site, { name: service, networks }: PinnedService, say: Say, signal: AbortSignal) {
  const out: Record<string, string> = {}
  for (const { id, name } of networks) {
    if ((await networkOf(site, id, signal)) !== null) continue
    const again = await networkOf(site, name, signal)
    if (again === null) {
      const remedy = `make it again: \`docker network create --driver overlay ${name}\`, with the settings it had`
      say('blocker', 'network_gone', `The network ${name} of ${service} is gone`, remedy)
      return null
    }
    out[id] = again.Id
  }
  return out
}

function networkOf({ engine }: Site, key: string, signal: AbortSignal): Promise<Network | null> {
  return orNull(engine.ask<Network>(`the network ${key}`, (docker, o) => docker.getNetwork(key).inspect(o), signal))
}

async function configsOf(site: Site, { name: service, configs }: PinnedService, say: Say, signal: AbortSignal) {
  const ids: Record<string, string> = {}
  const made: MadeConfig[] = []
  for (const { id, name, mac, sealed } of configs) {
    if ((await configOf(site, id, signal)) !== null) continue
    const again = await configOf(site, name, signal)
    if (again === null && sealed !== null && (await isKept(site, sealed))) {
      made.push({ id, name, mac, sealed })
      const what = `The config ${name} of ${service} is gone: it is made again with the content that it had`
      say('note', 'config_made_again', what, `keep it for as long as the release is one to go back to`)
    } else if (again === null || contentMac(site, again) !== mac) {
      const what = again === null ? 'is gone' : 'was made again with other content'
      const remedy = `make it again with the content of the release: \`docker config create ${name} FILE\``
      say('blocker', 'config_gone', `The config ${name} of ${service} ${what}`, remedy)
      return null
    } else ids[id] = again.ID
  }
  return { ids, made }
}

async function isKept({ vault }: Site, sealed: Sealed): Promise<boolean> {
  return vault.open(sealed).then(
    () => true,
    () => false,
  )
}

async function secretsOf(
  site: Site,
  { name: service, secrets }: PinnedService,
  today: Spec | null,
  say: Say,
  signal: AbortSignal,
) {
  const now = new Map((today?.TaskTemplate.ContainerSpec.Secrets ?? []).map(s => [s.File?.Name ?? s.SecretName, s]))
  const out: Record<string, { id: string; name: string }> = {}
  for (const { id, name, file } of secrets) {
    const current = now.get(file)
    const keeps = current !== undefined && !site.config.pinned.includes(file)
    if (keeps && current.SecretID !== id) out[id] = { id: current.SecretID, name: current.SecretName }
    if (keeps || (await secretOf(site, id, signal)) !== null) continue
    const again = await secretOf(site, name, signal)
    if (again === null) {
      const remedy = `make it again: \`docker secret create ${name} -\`; or deploy with today's secret and capture that`
      say('blocker', 'secret_gone', `The secret ${name} of ${service} is gone`, remedy)
      return null
    }
    out[id] = { id: again.ID, name }
    const remedy = 'make sure that it holds what the release needs'
    say(
      'warning',
      'secret_made_again',
      `The secret ${name} of ${service} was made again since: nobody can read it`,
      remedy,
    )
  }
  return out
}

function secretOf({ engine }: Site, key: string, signal: AbortSignal): Promise<Secret | null> {
  return orNull(engine.ask<Secret>(`the secret ${key}`, (docker, o) => docker.getSecret(key).inspect(o), signal))
}
