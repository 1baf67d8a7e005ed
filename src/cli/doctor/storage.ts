import { type Check, saying } from './check.ts'
import type { Environment } from '../wiring/environment.ts'

const say = saying('home')

/** Whether the storage for backups answers these keys; nothing where backups lie in the home alone. */
export async function storageChecks({ ledger, config }: Environment): Promise<Check[]> {
  const { storage } = ledger.backups
  if (storage === null) return []
  await storage.ready()
  const components = Object.keys(config.components)
  const all = (await Promise.all(components.map(id => ledger.backups.list(id)))).flat()
  const lacking = all.filter(b => b.held === undefined).length
  if (lacking === 0) return [say('ok', 'storage', `backups are copied to ${storage.name}, which answers`)]
  const what = `${lacking} backups lie in the home only: ${storage.name} did not take them when they were made`
  return [
    say('warning', 'storage_lacks', what, 'the next backup of the same component copies them too: backout capture'),
  ]
}
