import { connect } from 'node:net'
import { resolve } from 'node:path'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { lastLines } from '../../exec/words.ts'
import type { Config, ServerState } from './config.ts'

/** One server as HAProxy has it now. */
export interface Server extends ServerState {
  readonly name: string
  /** Not stopped by health checks. */
  readonly up: boolean
  /** Requests that it is working on, or that wait for it. */
  readonly open: number
  /** Serves only when no other server can. */
  readonly backup: boolean
}

const MAX_ANSWER = 16 << 20
/** Bits of `srv_admin_state`: forced, inherited and resolver maintenance; forced and inherited drain. */
const [MAINT, DRAIN] = [0x23, 0x18]

/** The runtime API of one HAProxy. Throws `BackoutError` where it does not answer, or refuses. */
export class Runtime {
  readonly #config: Config
  readonly #baseDir: string

  constructor(config: Config, baseDir: string) {
    this.#config = config
    this.#baseDir = baseDir
  }

  /** Name of the machine or node, as HAProxy says it. */
  async node(signal: AbortSignal): Promise<string> {
    const info = await this.#ask('show info', signal)
    return /^node: (.*)$/im.exec(info)?.[1]?.trim() ?? 'unnamed'
  }

  /** All servers of the backend, by name. */
  async servers(signal: AbortSignal): Promise<Map<string, Server>> {
    const { backend } = this.#config
    const states = await this.#ask(`show servers state ${backend}`, signal)
    const counts = await this.#ask('show stat -1 4 -1', signal)
    const header = states.split('\n').find(line => line.startsWith('# '))
    if (header === undefined) throw this.#refused(`show servers state ${backend}`, states)
    const stats = table(counts, ',').filter(row => row['pxname'] === backend)
    return new Map(
      table(states.slice(states.indexOf(header)), ' ').map(row => {
        const stat = stats.find(s => s['svname'] === row['srv_name'])
        return [row['srv_name'] ?? '', serverOf(row, stat ?? {})]
      }),
    )
  }

  /** Sends a command that answers nothing when it worked. */
  async tell(command: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#ask(command, signal)
    if (answer.trim() !== '') throw this.#refused(command, answer)
  }

  async #ask(command: string, signal: AbortSignal): Promise<string> {
    try {
      return await exchange(this.#address(), `${command}\n`, this.#config.timeout, signal)
    } catch (error) {
      if (signal.aborted) throw signal.reason
      throw new BackoutError({
        code: 'haproxy_unreachable',
        what: `HAProxy did not answer "${command}" on ${this.#config.socket}`,
        cause: messageOf(error),
        next: 'look whether HAProxy runs, and whether `stats socket … level admin` allows this user',
        exit: 'failed',
        from: error,
      })
    }
  }

  #address(): { path: string } | { host: string; port: number } {
    const { socket } = this.#config
    const tcp = /^([^/]+):(\d+)$/.exec(socket)
    if (tcp === null) return { path: resolve(this.#baseDir, socket) }
    return { host: (tcp[1] ?? '').replace(/^\[(.*)\]$/, '$1'), port: Number(tcp[2]) }
  }

  #refused(command: string, answer: string): BackoutError {
    return new BackoutError({
      code: 'haproxy_refused',
      what: `HAProxy on ${this.#config.socket} refused "${command}"`,
      cause: lastLines(answer) || 'it gave no answer',
      next: 'look whether the backend and the server are there, and whether the socket has level admin',
      exit: 'failed',
    })
  }
}

function exchange(
  to: { path: string } | { host: string; port: number },
  text: string,
  ms: number,
  signal: AbortSignal,
) {
  return new Promise<string>((done, fail) => {
    signal.throwIfAborted()
    const socket = connect(to)
    let answer = ''
    const stop = (error: Error) => void socket.destroy(error)
    const timer = setTimeout(() => stop(new Error(`no answer within ${ms} ms`)), ms)
    const onAbort = () => stop(new Error('aborted'))
    signal.addEventListener('abort', onAbort, { once: true })
    socket.setEncoding('utf8')
    socket.on('connect', () => void socket.write(text))
    socket.on('data', chunk => {
      answer += String(chunk)
      if (answer.length > MAX_ANSWER) stop(new Error('the answer does not end'))
    })
    socket.on('error', fail)
    // Every answer ends with an empty line, one that says nothing too: another one was cut off.
    socket.on('end', () => (answer.endsWith('\n') ? done(answer) : stop(new Error('the answer was cut off'))))
    socket.on('close', () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      fail(new Error('the connection was closed'))
    })
  })
}

/** Rows by the names of a header that begins with "# ". The columns read here hold no separator. */
function table(text: string, separator: string): Record<string, string>[] {
  const [header, ...lines] = text.split('\n').filter(line => line !== '')
  const names = (header ?? '').replace(/^# /, '').split(separator)
  return lines.map(line => {
    const values = line.split(separator)
    return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']))
  })
}

function serverOf(row: Record<string, string>, stat: Record<string, string>): Server {
  const bits = Number(row['srv_admin_state'])
  return {
    name: row['srv_name'] ?? '',
    admin: (bits & MAINT) > 0 ? 'maint' : (bits & DRAIN) > 0 ? 'drain' : 'ready',
    weight: Number(row['srv_uweight']),
    up: row['srv_op_state'] !== '0',
    open: Number(stat['scur']) + Number(stat['qcur']),
    backup: stat['bck'] === '1',
  }
}
