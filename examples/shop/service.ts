import { pidOfService, servicesOf, startService, stopService } from './lib/services.ts'

const USAGE = 'usage: service start|stop|restart|status|version NAME'
const STOPPED = 3

/**
 * What a service manager would be on a server: `service.ts ROOT start|stop|restart|status|version NAME`.
 * Exit codes: 0 done or running, 3 stopped, 1 failed, 2 wrong usage.
 */
async function main([root = '', verb = '', name = '']: readonly string[]): Promise<number> {
  switch (verb) {
    case 'start':
      await startService(root, name)
      return 0
    case 'stop':
      await stopService(root, name)
      return 0
    case 'restart':
      await stopService(root, name)
      await startService(root, name)
      return 0
    case 'status': {
      const pid = pidOfService(root, name)
      console.log(pid === null ? 'stopped' : `running (${pid})`)
      return pid === null ? STOPPED : 0
    }
    case 'version':
      console.log(await versionOf(root, name))
      return 0
    default:
      console.error(USAGE)
      return 2
  }
}

/** The version that the process itself says, not the one on disk. */
async function versionOf(root: string, name: string): Promise<string> {
  const health = servicesOf(root)[name]?.health
  if (health === undefined) throw new Error(`there is no service ${name}`)
  const response = await fetch(health, { signal: AbortSignal.timeout(3000) })
  const { version } = (await response.json()) as { version?: string }
  if (version === undefined) throw new Error(`${name} says no version`)
  return version
}

main(process.argv.slice(2)).then(
  code => (process.exitCode = code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error)
    process.exitCode = 1
  },
)
