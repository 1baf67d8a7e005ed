import { join } from 'node:path'

export const INSTANCES = ['a', 'b'] as const

export interface WorldConfig {
  readonly components: Readonly<Record<string, object>>
  readonly [section: string]: unknown
}

/** The backout.yaml of a world: every adapter, every kind of step, a gate, and hooks of both kinds. */
export function configOf(dir: string, trafficUrl: string): WorldConfig {
  const tool = (name: string) => join(dir, 'tools', name)
  const put = (...words: string[]) => [tool('put.sh'), ...words]
  const service = (names: string) => ({
    service: {
      start: [tool('service.sh'), 'start', names],
      stop: [tool('service.sh'), 'stop', names],
      status: [tool('service.sh'), 'status', names],
    },
    version: [tool('service.sh'), 'version', names],
    limits: { settle: '0s' },
  })
  return {
    environment: 'shop',
    components: {
      db: {
        adapter: 'sqlite',
        settings: {
          path: 'data/shop.db',
          migrations: { down: [process.execPath, tool('down.cjs')], runIn: 'app' },
          rungs: ['migrate-down'],
        },
      },
      archive: { adapter: 'sqlite', settings: { path: 'data/archive.db', writers: 'none', rungs: ['restore'] } },
      conf: {
        adapter: 'git-config',
        settings: {
          repository: 'conf.git',
          to: 'conf',
          check: ['test', '-f', '{dir}/site.conf'],
          reload: [tool('done.sh'), 'reload-conf'],
        },
      },
      env: { adapter: 'env-file', settings: { path: 'shop.env', reload: [tool('done.sh'), 'reload-env'] } },
      flags: {
        adapter: 'flag-file',
        settings: { path: 'flags.json', format: 'json', reload: [tool('done.sh'), 'reload-flags'] },
      },
      search: {
        adapter: 'command',
        settings: {
          identity: 'search',
          observe: [tool('say.sh'), 'search/index'],
          apply: `exec ${tool('put.sh')} search search/index "$(eval echo $BACKOUT_PIN)"`,
          verify: [tool('is.sh'), 'search/index'],
        },
      },
      mail: {
        adapter: 'command',
        settings: {
          identity: 'mail',
          observe: [tool('say.sh'), 'mail/box'],
          apply: put('mail', 'mail/box', 'mail-1'),
        },
      },
      app: {
        adapter: 'hosts',
        dependsOn: ['db', 'conf', 'env', 'flags'],
        settings: { hosts: ['local'], root: join(dir, 'app'), instances: [...INSTANCES], ...service('{instance}') },
      },
      edge: { adapter: 'hosts', settings: { hosts: ['local'], root: join(dir, 'edge'), ...service('edge') } },
      traffic: {
        adapter: 'traffic-http',
        dependsOn: ['app'],
        settings: {
          read: { url: `${trafficUrl}/admin/state`, weights: '/weights' },
          write: { url: `${trafficUrl}/admin/weights` },
          live: 'live',
          maintenance: 'maintenance',
          drained: { open: '/active/live' },
          return: [50, 100],
          gate: 'well',
        },
      },
    },
    probes: { well: { kind: 'http', url: `${trafficUrl}/admin/state` } },
    gates: { well: { probes: ['well'], attempts: 2, interval: '50ms' } },
    policy: { verify: ['well'], watch: { gates: ['well'], for: '0s' } },
    hooks: {
      announce: { before: { run: [tool('done.sh'), 'hook-announce'], repeat: true } },
      data: { after: { run: put('hook-data', 'run/hook-data', 'there') } },
    },
  }
}
