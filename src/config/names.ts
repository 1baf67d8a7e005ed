import { redact } from '../core/secret.ts'
import type { Config } from './load.ts'

/** What the file calls things: no secret, whatever the secrets are. */
export function namesIn({ environment, components, gates, probes }: Config): string[] {
  return [environment, ...Object.keys(components), ...Object.keys(gates), ...Object.keys(probes)]
}

/** Places of the secrets that are part of a name of the file; null where no name has a secret in it. */
export function secretsInNames(config: Config): string[] | null {
  const named = namesIn(config).filter(name => redact(name) !== name)
  if (named.length === 0) return null
  return config.secrets.flatMap(({ secret, place }) => {
    const value = secret.reveal().trim()
    return value.length >= 4 && named.some(name => name.includes(value)) ? [`${place} (${secret.source})`] : []
  })
}
