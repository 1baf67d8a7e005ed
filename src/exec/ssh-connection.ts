import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { access, lstat, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ExecResult } from '../core/contract.ts'
import { messageOf } from '../core/errors.ts'
import { type Command, runLocal } from './local.ts'
import { noForward, sshFailure, unreachable } from './ssh-errors.ts'
import { NotBegun, Session } from './ssh-session.ts'

export interface SshOptions {
  /** As ssh takes it: "web-1", "deploy@web-2". */
  readonly address: string
  /** An ssh_config to use instead of the user's. Absolute path. */
  readonly config?: string | undefined
  /** Milliseconds to get a connection; 10 s by default. */
  readonly connectMs?: number | undefined
}

/** MaxSessions is 10 a connection in OpenSSH as shipped; two stay free for sessions that are still closing. */
const SESSIONS = 8
const LONG_MS = 2 ** 31 - 1

interface Master {
  readonly socket: string
  readonly stop: AbortController
  readonly gone: Promise<void>
  readonly group: () => number
  isGone: boolean
}

/** An ssh that is asked to end does so at once; one that does not is ended like any command. */
const HANG_UP_MS = 1_000

/** The supervisor of the group ignores it, sees its ssh end, and ends: it need not go through all processes first. */
function hangUp(group: number): void {
  try {
    if (group > 0) process.kill(-group, 'SIGTERM')
  } catch {
    // It ended by itself.
  }
}

/**
 * The one connection to a host: an ssh of our own that others go through. It is supervised, so that it ends with this
 * process, and every session with it.
 */
export class Connection {
  readonly #options: SshOptions
  #master: Master | null = null
  #starting: Promise<string> | null = null
  #free = SESSIONS
  readonly #idle: Session[] = []
  readonly #queue: (() => void)[] = []
  #forwarded = 0
  readonly #forwards = new Map<string, { master: Master; path: string }>()

  constructor(options: SshOptions) {
    this.#options = options
  }

  /** The ssh command line of a session over this connection, which is made first where there is none. */
  async #client(): Promise<string[]> {
    const socket = this.#master?.isGone === false ? this.#master.socket : await this.#start()
    return [
      'ssh',
      ...common(this.#options),
      '-o',
      'ControlMaster=no',
      '-o',
      `ControlPath=${socket}`,
      this.#options.address,
    ]
  }

  /** Runs a command in a session that is free, or in a new one. Waits where all sessions that a host allows are in use. */
  async run(command: Command, signal?: AbortSignal): Promise<ExecResult> {
    await this.#turn(signal)
    try {
      return await this.#inSession(command, signal)
    } finally {
      this.#passOn()
    }
  }

  /** Waits for a session; whoever is told to stop meanwhile gives its place up. */
  async #turn(signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted()
    if (this.#free > 0) {
      this.#free -= 1
      return
    }
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#queue.push(resolve)
    try {
      await unlessAborted(promise, signal)
    } catch (error) {
      const place = this.#queue.indexOf(resolve)
      if (place >= 0) this.#queue.splice(place, 1)
      else this.#passOn()
      throw error
    }
  }

  #passOn(): void {
    const next = this.#queue.shift()
    if (next === undefined) this.#free += 1
    else next()
  }

  async #inSession(command: Command, signal?: AbortSignal): Promise<ExecResult> {
    for (;;) {
      signal?.throwIfAborted()
      const session =
        this.#idle.pop() ?? new Session(await unlessAborted(this.#client(), signal), this.#options.address)
      try {
        if (session.free) return await session.run(command, signal)
      } catch (error) {
        if (!(error instanceof NotBegun)) throw error
      } finally {
        if (session.free) this.#idle.push(session)
        else session.close()
      }
    }
  }

  /**
   * A socket of this machine that leads to a socket of the host, made anew where the connection was. Throws as `run`
   * does, and `ssh_no_forward` where the host does not allow it.
   */
  async forward(remote: string, signal?: AbortSignal): Promise<string> {
    await unlessAborted(this.#client(), signal)
    const master = this.#master
    if (master === null) throw unreachable(this.#options.address, 'the connection ended at once')
    const known = this.#forwards.get(remote)
    if (known?.master === master) return known.path
    // Never a path again: ssh would take it for the forward that is there.
    const path = `${master.socket}.${this.#forwarded++}`
    await rm(path, { force: true })
    // What stands in ssh_config is the connection's business: this only asks it for one thing more.
    const argv = ['ssh', '-F', 'none', '-S', master.socket, '-O', 'forward', '-L', `${path}:${remote}`, '--', 'host']
    const limitMs = this.#options.connectMs ?? 10_000
    const { code, stderr } = await runLocal({ argv, limitMs, idem: 'backout-ssh' }, signal)
    if (code !== 0) throw noForward(this.#options.address, remote, stderr)
    this.#forwards.set(remote, { master, path })
    return path
  }

  async close(): Promise<void> {
    for (const session of this.#idle.splice(0)) session.close()
    await this.#starting?.catch(() => {})
    const master = this.#master
    this.#master = null
    if (master === null) return
    hangUp(master.group())
    const late = setTimeout(() => master.stop.abort(), HANG_UP_MS)
    await master.gone
    clearTimeout(late)
    await Promise.all([...this.#forwards.values()].map(({ path }) => rm(path, { force: true })))
    this.#forwards.clear()
  }

  #start(): Promise<string> {
    this.#starting ??= this.#connect().finally(() => {
      this.#starting = null
    })
    return this.#starting
  }

  async #connect(): Promise<string> {
    const { address, connectMs = 10_000 } = this.#options
    const socket = await socketPath(this.#options)
    await rm(socket, { force: true })
    const stop = new AbortController()
    let ended: string | null = null
    const argv = [
      'ssh',
      ...common(this.#options),
      '-N',
      '-o',
      'ControlMaster=yes',
      '-o',
      `ControlPath=${socket}`,
      address,
    ]
    let group = 0
    const onSpawn = async (pgid: number) => void (group = pgid)
    const gone = runLocal({ argv, limitMs: LONG_MS, idem: 'backout-ssh', onSpawn }, stop.signal).then(
      result => void (ended = result.stderr),
      error => void (ended = messageOf(error)),
    )
    const master = { socket, stop, gone, isGone: false, group: () => group }
    void gone.then(() => {
      master.isGone = true
    })
    // A jump host's own connect does not know our limit: twice the time covers it.
    const until = performance.now() + connectMs * 2
    while (!(await exists(socket))) {
      if (ended !== null) throw sshFailure(address, ended)
      if (performance.now() > until) {
        stop.abort()
        await gone
        throw unreachable(address, `no connection within ${connectMs * 2} ms`)
      }
      await new Promise(resolve => setTimeout(resolve, 10))
    }
    this.#master = master
    return socket
  }
}

async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work
  const aborted = Promise.withResolvers<never>()
  const stop = () => aborted.reject(signal.reason)
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await Promise.race([work, aborted.promise])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** Never asks, never forwards, never runs what a config adds for people; everything else is the user's ssh_config. */
function common({ config, connectMs = 10_000 }: SshOptions): string[] {
  const options = [
    'BatchMode=yes',
    `ConnectTimeout=${Math.max(1, Math.ceil(connectMs / 1000))}`,
    'ServerAliveInterval=5',
    'ServerAliveCountMax=3',
    'LogLevel=ERROR',
    'ClearAllForwardings=yes',
    'PermitLocalCommand=no',
    'RemoteCommand=none',
    'RequestTTY=no',
    'ControlPersist=no',
  ]
  return [...(config === undefined ? [] : ['-F', config]), ...options.flatMap(o => ['-o', o])]
}

async function exists(path: string): Promise<boolean> {
  return access(path, constants.F_OK).then(
    () => true,
    () => false,
  )
}

/** A private folder with a short path: a socket's path holds 104 bytes at most, of which ssh needs 17 itself. */
async function socketPath({ address, config }: SshOptions): Promise<string> {
  const name = createHash('sha256').update(`${address}\0${config}`).digest('hex').slice(0, 8)
  const base = [process.env.XDG_RUNTIME_DIR, tmpdir()].find(dir => dir !== undefined && dir !== '' && dir.length < 40)
  const dir = join(base ?? '/tmp', `backout-${process.getuid?.() ?? 0}`)
  await mkdir(dir, { recursive: true, mode: 0o700 }).catch(() => {})
  const own = await lstat(dir).catch(() => null)
  const safe = own?.isDirectory() === true && own.uid === process.getuid?.() && (own.mode & 0o077) === 0
  if (safe) await sweep(dir)
  return join(safe ? dir : await mkdtemp(join(base ?? '/tmp', 'backout-')), `${name}-${process.pid}`)
}

/** Takes away sockets of processes that were killed before their ssh could. */
async function sweep(dir: string): Promise<void> {
  const names = await readdir(dir).catch(() => [])
  await Promise.all(names.filter(isLeft).map(name => rm(join(dir, name), { force: true })))
}

function isLeft(name: string): boolean {
  const pid = Number(/^[0-9a-f]{8}-(\d+)/.exec(name)?.[1])
  if (!Number.isInteger(pid)) return false
  try {
    process.kill(pid, 0)
    return false
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH'
  }
}
