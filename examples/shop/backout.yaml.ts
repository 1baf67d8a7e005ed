import { join } from 'node:path'
import { stringify } from 'yaml'
import { FLAG, INSTANCES } from './world/paths.ts'
import { dbmateArgv, type World } from './world.ts'

/** What three packets of tea cost with tax: the same in every release that counts right. */
const TEA_FOR_THREE = 4001

const POLICY = {
  verify: ['shop-well'],
  watch: { gates: ['shop-well'], for: '4s' },
  bake: { gates: ['shop-well'], for: '1s' },
}

/** The text of this world's backout.yaml, to be written into its folder. */
export function backoutYaml(world: World): string {
  const config = { environment: 'shop', components: componentsOf(world), ...checksOf(world), policy: POLICY }
  return `# How the shop is taken back.\n${stringify(config)}`
}

/** The environment of the same database by itself, where no other way back is left than its backup. */
export const RESTORE_ENVIRONMENT = 'shop-db'

/** The text of its configuration. */
export function restoreYaml({ store }: World): string {
  const settings = { ...store.settings, migrations: { tool: 'dbmate' }, writers: 'none', rungs: ['restore'] }
  const config = { environment: RESTORE_ENVIRONMENT, components: { db: { adapter: store.adapter, settings } } }
  return `# How the shop's database is taken back where only its backup is left.\n${stringify(config)}`
}

function componentsOf(world: World): object {
  const { paths, store, adminUrl } = world
  const service = (verb: string) => [paths.service, verb, '{instance}']
  return {
    db: {
      adapter: store.adapter,
      settings: {
        ...store.settings,
        migrations: { tool: 'dbmate', down: dbmateArgv(paths, store, 'rollback'), runIn: 'app' },
      },
    },
    config: {
      adapter: 'git-config',
      settings: {
        repository: paths.configOrigin,
        paths: { 'checkout.json': join(paths.config, 'checkout.json') },
        check: [
          'node',
          '-e',
          'JSON.parse(require("fs").readFileSync(process.argv[1] + "/checkout.json", "utf8"))',
          '{dir}',
        ],
      },
    },
    env: { adapter: 'env-file', settings: { path: paths.envFile } },
    flags: { adapter: 'flag-file', settings: { path: paths.flagFile, format: 'flagd', off: [FLAG] } },
    app: {
      adapter: 'hosts',
      dependsOn: ['db', 'config', 'env', 'flags'],
      settings: {
        hosts: ['local'],
        root: paths.app,
        manifest: 'MANIFEST.sha256',
        instances: [...INSTANCES],
        service: { start: service('start'), stop: service('stop'), status: service('status') },
        version: service('version'),
        batch: INSTANCES.length,
      },
    },
    traffic: {
      adapter: 'traffic-http',
      dependsOn: ['app'],
      settings: {
        read: { url: `${adminUrl}/admin/state`, weights: '/weights' },
        write: { url: `${adminUrl}/admin/weights` },
        ifMatch: true,
        live: 'live',
        maintenance: 'maintenance',
        drained: { open: '/active/live' },
        return: [25, 50, 100],
        gate: 'shop-well',
        settle: '1s',
      },
    },
  }
}

function checksOf({ instances }: World): object {
  const health = Object.fromEntries(
    instances.map(({ name, url }) => [
      `health-${name}`,
      { kind: 'http', url: `${url}/health`, expect: { status: 200, json: { '/status': 'ok' } } },
    ]),
  )
  const quote = (qty: number) => `${instances[0]?.url}/quote?sku=tea&qty=${qty}`
  return {
    probes: {
      ...health,
      // Two at a time on one thread that v1.3.0 stops for 80 ms each: never below 160 ms there, far below it on v1.2.9.
      'quote-fast': { kind: 'http', url: quote(1), samples: 10, concurrency: 2, latency: { p95: '150ms' } },
      'totals-right': { kind: 'http', url: quote(3), expect: { json: { '/total': TEA_FOR_THREE } } },
    },
    gates: {
      'shop-well': {
        probes: [...Object.keys(health), 'quote-fast', 'totals-right'],
        attempts: 3,
        interval: '300ms',
        pass: 1,
        timeout: '5s',
      },
    },
  }
}
