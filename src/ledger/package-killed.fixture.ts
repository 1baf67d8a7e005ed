import { randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { systemClock } from '../core/clock.ts'

/** Imports a package in a process that is killed when it is about to put the backup in place. */
const [home = '', file = '', identity = ''] = process.argv.slice(2)
const rename: (from: never, to: never) => Promise<void> = fs.rename
fs.rename = (async (from: string, to: string) => {
  if (to.startsWith(`${home}/environments/`)) process.kill(process.pid, 'SIGKILL')
  await rename(from as never, to as never)
}) as typeof fs.rename
syncBuiltinESMExports()
const { openLedger } = await import('./index.ts')
const { importPackage } = await import('./package.ts')
const keys = { identities: [identity], chain: randomBytes(32), vaultFile: null, folder: home }
await importPackage(openLedger(home, 'production', keys, systemClock), file, {
  unlock: { identities: [identity], passphrase: null },
})
