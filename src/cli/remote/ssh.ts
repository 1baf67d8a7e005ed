import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { BackoutError, messageOf } from '../../core/errors.ts'
import { sshFailure } from '../../exec/ssh-errors.ts'
import { quote } from '../../exec/ssh-script.ts'
import type { RemoteHome } from './home.ts'

export interface Ended {
  readonly code: number
  /** The signal that stopped this side, where one did. */
  readonly stopped: NodeJS.Signals | null
}

interface SshCall {
  /** For a POSIX shell, in one line. */
  readonly script: string
  /** A terminal there, with this one's keys. */
  readonly terminal?: boolean
  readonly stdin?: string | Uint8Array | AsyncIterable<Uint8Array>
  /** Takes what is printed there; without it this process's own output gets it. */
  readonly onOutput?: (chunks: Readable) => Promise<void>
  /** Keeps what is printed to standard error instead of showing it. */
  readonly onErrors?: (text: string) => void
}

const KEEP = 8_000
const SSH_FAILED = 255
const LOST = /closed by remote host|client_loop|not responding|Broken pipe|Connection reset|^$/
const NEVER_THERE = /kex_exchange|banner|ssh_exchange|port \d+/

/**
 * Runs one line on the machine of the home by this machine's own ssh, with the user's ssh_config. Throws
 * `host_unreachable`, `host_key_changed`, `host_key_unknown`, `ssh_denied`, `ssh_missing`.
 */
export async function overSsh(home: RemoteHome, call: SshCall): Promise<Ended> {
  const { terminal = false, stdin, onOutput, onErrors } = call
  const child = spawn('ssh', argsOf(home, call.script, terminal), {
    stdio: [terminal ? 'inherit' : stdin === undefined ? 'ignore' : 'pipe', onOutput ? 'pipe' : 'inherit', 'pipe'],
  })
  const guard = stopWith(child)
  let printed = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    printed = (printed + text).slice(-KEEP)
    // With a terminal only ssh itself prints here: said at the end, where it is not the cause of an error.
    if (!terminal && onErrors === undefined) process.stderr.write(text)
  })
  try {
    const ended = once(child, 'close') as Promise<[number | null]>
    const fed = child.stdin === null || stdin === undefined ? null : feed(child.stdin, stdin)
    const [[code]] = await Promise.all([ended, fed, child.stdout && onOutput?.(child.stdout)])
    if (guard.signal !== null) return { code: code ?? SSH_FAILED, stopped: guard.signal }
    if (code === null || code === SSH_FAILED) throw failed(home, printed)
    if (terminal) process.stderr.write(printed)
    onErrors?.(printed)
    return { code, stopped: null }
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? sshFailure(home.address, messageOf(error)) : error
  } finally {
    guard.release()
  }
}

/** Standing there is enough: it asks for no more than it is asked for. Passwords are asked for at a terminal only. */
function argsOf(home: RemoteHome, script: string, terminal: boolean): string[] {
  const options = [
    'ConnectTimeout=10',
    'ServerAliveInterval=15',
    'ServerAliveCountMax=4',
    'LogLevel=ERROR',
    'ClearAllForwardings=yes',
    'RemoteCommand=none',
    ...(process.stdin.isTTY ? [] : ['BatchMode=yes']),
  ]
  return [
    terminal ? '-t' : '-T',
    ...options.flatMap(option => ['-o', option]),
    ...(home.port === null ? [] : ['-p', home.port]),
    '--',
    home.address,
    `exec sh -c ${quote(script)}`,
  ]
}

async function feed(to: NodeJS.WritableStream, content: NonNullable<SshCall['stdin']>): Promise<void> {
  // Where the other side ends early its exit code says why.
  to.on('error', () => {})
  const chunks = typeof content === 'string' || content instanceof Uint8Array ? [content] : content
  for await (const chunk of chunks) {
    if (to.writable && !to.write(chunk)) await Promise.race([once(to, 'drain'), once(to, 'close')])
  }
  to.end()
}

/** A signal to this process ends the connection, not what was begun on the other side. */
function stopWith(child: { kill(signal: NodeJS.Signals): boolean }) {
  let signal: NodeJS.Signals | null = null
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  const stop = (name: NodeJS.Signals) => {
    signal ??= name
    child.kill('SIGTERM')
  }
  for (const name of names) process.on(name, stop)
  return {
    get signal() {
      return signal
    },
    release: () => {
      for (const name of names) process.off(name, stop)
    },
  }
}

function failed(home: RemoteHome, printed: string): BackoutError {
  const host = home.address
  const lines = printed
    .split(/\r?\n/)
    .filter(line => line.trim() !== '')
    .slice(-4)
    .join('\n')
  if (LOST.test(lines) && !NEVER_THERE.test(lines)) {
    return new BackoutError({
      code: 'connection_lost',
      what: `The connection to ${host} was lost; a run that was begun there goes on there`,
      cause: lines === '' ? undefined : lines,
      next: 'backout status --follow, once the host answers',
      exit: 'internal',
    })
  }
  const error = sshFailure(host, printed)
  if (error.code !== 'host_unreachable') return error
  return new BackoutError({
    code: error.code,
    what: `${host}, where the home is, cannot be reached; nothing was begun`,
    cause: error.why,
    next: `make \`ssh ${home.port === null ? '' : `-p ${home.port} `}${host} true\` work; on that machine itself: BACKOUT_HOME=${home.path} backout --config ${home.path}/backout.yaml …`,
    exit: 'blocked',
  })
}
