import { resolve } from 'node:path'
import { adapterOf, KINDS } from '../../adapters/registry.ts'
import { type Catalogue, type Config, loadConfig } from '../../config/load.ts'
import { namesIn } from '../../config/names.ts'
import { resolveSecrets } from '../../config/secrets.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { Engine } from '../../core/engine.ts'
import { spare } from '../../core/secret.ts'
import { Runtime } from '../../engine/runtime.ts'
import { sqliteStore } from '../../engine/sqlite/store.ts'
import { runLocal } from '../../exec/local.ts'
import { type Ledger, openLedger } from '../../ledger/index.ts'
import { openKeys } from '../../ledger/keys.ts'
import { probeConfig } from '../../probes/config.ts'
import { orphansGone } from './orphans.ts'

/** Everything a command works with, opened once. */
export interface Environment extends AsyncDisposable {
  readonly config: Config
  readonly home: string
  readonly clock: Clock
  readonly ledger: Ledger
  /** The journal, opened on first use. */
  engine(options: { worker: boolean }): Promise<Engine>
}

export const catalogue: Catalogue = { kinds: KINDS, adapter: adapterOf, probe: probeConfig }

export { findConfig } from './find-config.ts'

/** The home of a configuration: BACKOUT_HOME overrules the file, as on the machine of an `ssh://` home. */
export function homeOf(config: Config): string {
  const said = process.env['BACKOUT_HOME']
  return resolve(config.baseDir, said === undefined || said === '' ? config.home.at : said)
}

/** Under what the journal keeps what happens in an environment outside its runs: captures, marks, upgrades. */
export function outsideOf(environment: string): string {
  return `-${environment}`
}

/** Its client is loaded where it is named. */
async function storageOf({ backups: { s3, keepLocal } }: Config, clock: Clock) {
  if (s3 === undefined) return null
  const { S3Files } = await import('../../ledger/s3.ts')
  return { remote: new S3Files(s3, clock), keepLocal }
}

export async function openEnvironment(configFile: string, clock: Clock = systemClock): Promise<Environment> {
  const config = await loadConfig(configFile, catalogue)
  await resolveSecrets(config.secrets, config.baseDir, line =>
    runLocal({ argv: ['sh', '-c', line], cwd: config.baseDir, limitMs: 30_000 }),
  )
  spare(namesIn(config))
  const home = homeOf(config)
  const keys = await openKeys(home, config.keys)
  const ledger = openLedger(home, config.environment, keys, clock, await storageOf(config, clock))
  let engine: Runtime | null = null
  return {
    config,
    home,
    clock,
    ledger,
    async engine(options) {
      if (engine === null) {
        const store = sqliteStore({ home, key: keys.chain })
        const outside = outsideOf(config.environment)
        engine = new Runtime(store, { clock, outside, beforeTakeover: runId => orphansGone(runId, clock) })
      }
      await engine.open(options)
      return engine
    },
    async [Symbol.asyncDispose]() {
      await engine?.close()
    },
  }
}
