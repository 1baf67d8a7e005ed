import { join } from 'node:path'

export const INSTANCES = ['a', 'b', 'c'] as const
export const OLD = 'v1.2.9'
export const NEW = 'v1.3.0'
export type Version = typeof OLD | typeof NEW
export const FLAG = 'new-checkout'

export type Paths = ReturnType<typeof pathsOf>

/** Where everything of one world lies. */
export function pathsOf(root: string) {
  return {
    root,
    app: join(root, 'app'),
    releases: join(root, 'app', 'releases'),
    current: join(root, 'app', 'current'),
    /** The bare repository that the team pushes its configuration to. */
    configOrigin: join(root, 'config.git'),
    /** The live checkout, which the shop reads. */
    config: join(root, 'config'),
    envFile: join(root, 'etc', 'shop.env'),
    flagFile: join(root, 'etc', 'flags.json'),
    services: join(root, 'etc', 'services.json'),
    balancerConfig: join(root, 'etc', 'balancer.json'),
    balancerState: join(root, 'data', 'weights.json'),
    /** Where the database is a file. */
    database: join(root, 'data', 'shop.db'),
    /** Where it is a server: its password, for Backout. */
    password: join(root, 'etc', 'database.password'),
    service: join(root, 'bin', 'service'),
    dbmate: join(root, 'bin', 'dbmate'),
    folders: ['app/releases', 'etc', 'data', 'bin', 'run', 'log'].map(name => join(root, name)),
  }
}
