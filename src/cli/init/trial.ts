import { createHmac, randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { adapterOf } from '../../adapters/registry.ts'
import type { BackupStore, Observation, Vault } from '../../core/contract.ts'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { Secret } from '../../core/secret.ts'

interface Wish {
  readonly id: string
  readonly adapter: string
  readonly settings: Readonly<Record<string, unknown>>
  /** Values of the placeholders in them. */
  readonly secrets?: Readonly<Record<string, string>>
}

const LIMIT_MS = 20_000

/** Observes a component that is not in any file yet, as doctor will. Answers why where that cannot be done. */
export async function tryOut(wish: Wish, baseDir: string): Promise<Observation | string> {
  const stateDir = await mkdtemp(join(tmpdir(), 'backout-init-'))
  try {
    const adapter = await adapterOf(wish.adapter)
    const settings = adapter.config.safeParse(revealed(wish))
    if (!settings.success) return settings.error.issues.map(issue => issue.message).join('; ')
    await using target = await adapter.open(settings.data, {
      environment: 'init',
      component: wish.id,
      baseDir,
      stateDir,
      backups: noBackups,
      vault: noVault(),
    })
    return await target.observe(AbortSignal.timeout(LIMIT_MS))
  } catch (error) {
    return messageOf(error)
  } finally {
    await rm(stateDir, { recursive: true, force: true })
  }
}

function revealed({ settings, secrets = {} }: Wish): Record<string, unknown> {
  const read = (value: unknown) =>
    typeof value === 'string' && secrets[value] !== undefined ? new Secret(value, secrets[value]) : value
  return Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, read(value)]))
}

/** Observing hashes, and keeps nothing. */
function noVault(): Vault {
  const key = randomBytes(32)
  return { mac: content => createHmac('sha256', key).update(content).digest('hex'), seal: refuse, open: refuse }
}

const noBackups: BackupStore = {
  begin: refuse,
  get: refuse,
  list: async () => [],
  check: refuse,
  look: refuse,
  recordProof: refuse,
}

async function refuse(): Promise<never> {
  throw new BackoutError({ code: 'only_a_trial', what: 'Nothing is kept while init looks around' })
}
