import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** `checkout.json` of the live configuration, which is checked out of Git. */
export interface CheckoutConfig {
  readonly version: string
  readonly taxPercent: number
  readonly maxQty: number
  readonly pageSize: number
  readonly coupon?: { readonly code: string; readonly percentOff: number; readonly limit: number }
}

export interface Settings {
  readonly checkout: CheckoutConfig
  /** `sqlite:PATH`, or that of a server with a password in it. Never shown. */
  readonly databaseUrl: string
  /** Signs the users' tokens. Never shown. */
  readonly sessionSecret: string
  readonly theme: string
  readonly logLevel: string
  /** Asks the flag file as it is now. Off where the file or the flag is missing. */
  flag(name: string): boolean
}

/** Reads what lies under the shop's home. Throws where the configuration, the database's URL or the secret is missing. */
export function readSettings(home: string, env: NodeJS.ProcessEnv): Settings {
  const sessionSecret = env.SESSION_SECRET ?? ''
  if (sessionSecret.length < 16) throw new Error('SESSION_SECRET is missing or too short: see etc/shop.env')
  const databaseUrl = env.DATABASE_URL ?? ''
  if (databaseUrl === '') throw new Error('DATABASE_URL is missing: see etc/shop.env')
  return {
    checkout: JSON.parse(readFileSync(join(home, 'config', 'checkout.json'), 'utf8')) as CheckoutConfig,
    databaseUrl,
    sessionSecret,
    theme: env.SHOP_THEME ?? 'plain',
    logLevel: env.LOG_LEVEL ?? 'info',
    flag: flagsOf(join(home, 'etc', 'flags.json')),
  }
}

interface FlagFile {
  flags?: Record<string, { state?: string; defaultVariant?: string; variants?: Record<string, unknown> }>
}

/** flagd's file format, without targeting. A disabled flag gives the code's own default: off. */
function flagsOf(path: string): (name: string) => boolean {
  let seen = ''
  let file: FlagFile = {}
  return name => {
    const stat = statSync(path, { throwIfNoEntry: false })
    const stamp = `${stat?.mtimeMs}:${stat?.ino}`
    if (stamp !== seen) {
      file = stat === undefined ? {} : (JSON.parse(readFileSync(path, 'utf8')) as FlagFile)
      seen = stamp
    }
    const flag = file.flags?.[name]
    return flag?.state === 'ENABLED' && flag.variants?.[flag.defaultVariant ?? ''] === true
  }
}
