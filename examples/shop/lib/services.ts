import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { readIfThere, readJson } from './files.ts'
import { isAlive, pidOf, runs, signal, until } from './processes.ts'

/** One process that `bin/service` looks after, as `etc/services.json` says. */
export interface Service {
  readonly command: readonly string[]
  /** Answers 200 once it serves. */
  readonly health: string
  readonly envFile: string | null
  /** Besides the env file. */
  readonly env: Readonly<Record<string, string>>
}

const START_MS = 15_000
const TERM_MS = 6000
const KILL_MS = 3000
const LOCK_MS = 20_000

export function servicesOf(root: string): Record<string, Service> {
  return readJson(join(root, 'etc', 'services.json')) as Record<string, Service>
}

/** The service's process; null where it is stopped. */
export function pidOfService(root: string, name: string): number | null {
  return pidOf(pidFileOf(root, name), serviceOf(root, name).command)
}

/** Starts it unless it runs; returns once it answers. Throws with the end of its log where it does not come up. */
export function startService(root: string, name: string): Promise<void> {
  return alone(root, name, async () => {
    if (pidOfService(root, name) !== null) return
    const service = serviceOf(root, name)
    const child = spawnService(root, name, service)
    writeFileSync(pidFileOf(root, name), `${child.pid}\n`)
    let ended = false
    child.once('exit', () => (ended = true))
    const up = await until(async () => ended || (await answers(service.health)), START_MS)
    if (up && !ended) return child.unref()
    if (child.pid !== undefined) signal(child.pid, 'SIGKILL')
    throw new Error(`${name} did not come up:\n${(readIfThere(logOf(root, name)) ?? '').slice(-2000)}`)
  })
}

/** Lets it finish what it is at, then ends it; returns once it is gone. */
export function stopService(root: string, name: string): Promise<void> {
  return alone(root, name, async () => {
    const { command } = serviceOf(root, name)
    const pid = pidOfService(root, name)
    if (pid !== null) {
      signal(pid, 'SIGTERM')
      const gone = await until(() => !runs(pid, command), TERM_MS)
      if (!gone) signal(pid, 'SIGKILL')
      if (!gone && !(await until(() => !runs(pid, command), KILL_MS))) throw new Error(`${name} (${pid}) does not end`)
    }
    rmSync(pidFileOf(root, name), { force: true })
  })
}

/** The exact words that its process runs with: how it is known from others. */
export function commandOf(root: string, name: string): readonly string[] {
  return serviceOf(root, name).command
}

function serviceOf(root: string, name: string): Service {
  const services = servicesOf(root)
  const service = services[name]
  if (service === undefined) throw new Error(`there is no service ${name}: ${Object.keys(services).join(', ')}`)
  return service
}

/** A session of its own and no pipe to anybody: it lives on when whoever started it ends. */
function spawnService(root: string, name: string, service: Service): ChildProcess {
  const log = openSync(logOf(root, name), 'a')
  const [program = '', ...args] = service.command
  const own = service.envFile === null ? {} : parseEnv(readIfThere(service.envFile) ?? '')
  try {
    return spawn(program, args, {
      cwd: root,
      env: { PATH: process.env.PATH, ...own, ...service.env },
      detached: true,
      stdio: ['ignore', log, log],
    })
  } finally {
    closeSync(log)
  }
}

async function answers(url: string): Promise<boolean> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) })
    await response.body?.cancel()
    return response.ok
  } catch {
    return false
  }
}

/** One at a time for each service. A lock whose owner is gone counts for nothing. */
async function alone<T>(root: string, name: string, work: () => Promise<T>): Promise<T> {
  const lock = join(root, 'run', `${name}.lock`)
  if (!(await until(() => taken(lock), LOCK_MS))) throw new Error(`somebody else is starting or stopping ${name}`)
  try {
    return await work()
  } finally {
    rmSync(lock, { force: true })
  }
}

function taken(lock: string): boolean {
  try {
    writeFileSync(lock, `${process.pid}`, { flag: 'wx' })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const owner = Number(readIfThere(lock) ?? '')
  if (owner > 0 && owner !== process.pid && !isAlive(owner)) rmSync(lock, { force: true })
  return false
}

function pidFileOf(root: string, name: string): string {
  return join(root, 'run', `${name}.pid`)
}

function logOf(root: string, name: string): string {
  return join(root, 'log', `${name}.log`)
}
