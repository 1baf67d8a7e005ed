import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeJson, writeWhole } from '../lib/files.ts'
import { FLAG, NEW, OLD, type Paths, type Version } from './paths.ts'
import { run } from './run.ts'

/** What each release's tag holds. Prices and tax stay: what an order must cost is the same before and after. */
const CHECKOUT: Record<Version, object> = {
  [OLD]: { version: OLD, taxPercent: 8, maxQty: 10, pageSize: 20 },
  [NEW]: {
    version: NEW,
    taxPercent: 8,
    maxQty: 10,
    pageSize: 50,
    coupon: { code: 'LAUNCH40', percentOff: 10, limit: 40 },
  },
}
const ENV: Record<Version, Record<string, string>> = {
  [OLD]: { LOG_LEVEL: 'info', SHOP_THEME: 'summer' },
  [NEW]: { LOG_LEVEL: 'debug', SHOP_THEME: 'launch', COUPON_PARTNER: 'https://coupons.example.test' },
}
/** This machine's own Git settings have no say. */
const GIT = {
  GIT_CONFIG_GLOBAL: '/dev/null',
  GIT_CONFIG_NOSYSTEM: '1',
  GIT_AUTHOR_NAME: 'Shop team',
  GIT_AUTHOR_EMAIL: 'team@shop.example.test',
  GIT_COMMITTER_NAME: 'Shop team',
  GIT_COMMITTER_EMAIL: 'team@shop.example.test',
}

/** Makes the repository with one tag a release, and the live checkout at the old one. */
export async function makeConfigRepository(paths: Paths): Promise<void> {
  const draft = join(paths.root, 'config.draft')
  const git = (...args: string[]) => run(['git', '-C', draft, ...args], paths.root, GIT)
  await mkdir(draft)
  await git('init', '-q', '-b', 'main')
  for (const version of [OLD, NEW] as const) {
    await writeFile(join(draft, 'checkout.json'), `${JSON.stringify(CHECKOUT[version], null, 2)}\n`)
    await git('add', 'checkout.json')
    await git('commit', '-q', '-m', `Settings of ${version}`)
    await git('tag', version)
  }
  await run(['git', 'clone', '-q', '--bare', draft, paths.configOrigin], paths.root, GIT)
  await run(['git', 'clone', '-q', '--branch', OLD, paths.configOrigin, paths.config], paths.root, GIT)
  await rm(draft, { recursive: true })
}

export async function checkOutConfig(paths: Paths, version: Version): Promise<void> {
  await run(['git', '-C', paths.config, 'checkout', '-q', version], paths.root, GIT)
}

export interface Secrets {
  readonly secret: string
  readonly databaseUrl: string
}

/** The secret is made once and stays: users stay logged in over a release and its rollback. */
export function newSecret(): string {
  return randomBytes(24).toString('base64url')
}

export function writeEnv(paths: Paths, version: Version, { secret, databaseUrl }: Secrets): void {
  const all = { SESSION_SECRET: secret, DATABASE_URL: databaseUrl, ...ENV[version] }
  const lines = Object.entries(all).map(([name, value]) => `${name}=${value}\n`)
  writeWhole(paths.envFile, `# What the shop's processes are started with.\n${lines.join('')}`, 0o600)
}

/** flagd's format. */
export function writeFlags(paths: Paths, newCheckout: boolean): void {
  const flag = (on: boolean) => ({
    state: 'ENABLED',
    variants: { on: true, off: false },
    defaultVariant: on ? 'on' : 'off',
  })
  writeJson(paths.flagFile, {
    $schema: 'https://flagd.dev/schema/v0/flags.json',
    flags: { [FLAG]: flag(newCheckout), 'gift-wrap': flag(true) },
  })
}
