import type { Say } from './beside.ts'
import { composeOf, docker, type Host, run } from './host.ts'

/**
 * Says where Compose can make no container anew: version 1 reads of an image what engines from 25 on no longer tell, and
 * ends in the middle, with `KeyError: 'ContainerConfig'`, when the old container has another name already.
 */
export async function saysOutdated(host: Host, signal: AbortSignal, say: Say): Promise<boolean> {
  const compose = await run(host, { argv: [...(await composeOf(host, signal)), 'version', '--short'] }, signal)
  const [version] = /^1\.\S+/m.exec(compose.stdout) ?? []
  if (version === undefined) return false
  const asked = [...docker(host), 'version', '--format', '{{.Server.Version}}']
  const engine = (await run(host, { argv: asked }, signal)).stdout.trim()
  if (!(Number.parseInt(engine, 10) >= 25)) return false
  const what = `docker-compose ${version} makes no container anew on the engine ${engine} of ${host.config.host}, and ends in the middle`
  say('blocker', 'compose_too_old', what, 'install Compose 2 there (`docker compose`), or name it in `compose`')
  return true
}
