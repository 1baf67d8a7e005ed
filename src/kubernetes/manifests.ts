import type { Sealed, Vault } from '../core/contract.ts'
import type { ConfigObject, KubeObject, Workload } from './api/objects.ts'

type Bundle = Readonly<Record<string, Workload>>

/** All objects of a capture in one piece: sealing and opening take milliseconds each, and there may be hundreds. */
export async function sealManifests(
  manifests: Readonly<Record<string, KubeObject>>,
  about: string,
  vault: Vault,
): Promise<Sealed> {
  return vault.seal(Buffer.from(JSON.stringify(manifests)), about)
}

const opened = new WeakMap<Vault, { id: string; bundle: Promise<Bundle | null> }>()

/** The objects as they were captured; null: the vault does not have them any more. */
export function openManifests(sealed: Sealed, vault: Vault): Promise<Bundle | null> {
  const last = opened.get(vault)
  if (last?.id === sealed.id) return last.bundle
  const bundle = vault.open(sealed).then(
    content => JSON.parse(Buffer.from(content).toString('utf8')) as Bundle,
    () => null,
  )
  opened.set(vault, { id: sealed.id, bundle })
  // What is missing may be brought back.
  void bundle.then(found => found === null && opened.delete(vault))
  return bundle
}

/** What was captured of a ConfigMap or Secret. Throws where the vault does not have it any more. */
export async function openConfig(sealed: Sealed, vault: Vault): Promise<ConfigObject> {
  return JSON.parse(Buffer.from(await vault.open(sealed)).toString('utf8')) as ConfigObject
}
