import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateIdentity } from 'age-encryption'
import { afterEach } from 'vitest'
import type { Clock } from '../../src/core/clock.ts'
import { systemClock } from '../../src/core/clock.ts'
import type { Keys } from '../../src/ledger/keys.ts'

const made: string[] = []
afterEach(async () => {
  for (const dir of made.splice(0)) await rm(dir, { recursive: true, force: true })
})

/** A folder that is gone after the test. */
export function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'backout-ledger-'))
  made.push(dir)
  return dir
}

/** Keys in a key file of their own. */
export async function keysIn(dir: string): Promise<Keys & { readonly vaultFile: string }> {
  const identity = await generateIdentity()
  const vaultFile = join(dir, 'vault.key')
  writeFileSync(vaultFile, `${identity}\n`)
  return { identities: [identity], chain: randomBytes(32), vaultFile, folder: dir }
}

/** A clock that says what the test sets. */
export function setClock(at = '2026-03-01T12:00:00.000Z'): Clock & { set(iso: string): void } {
  let now = Date.parse(at)
  return { ...systemClock, now: () => now, set: iso => void (now = Date.parse(iso)) }
}
