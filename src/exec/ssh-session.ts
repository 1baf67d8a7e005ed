import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import type { Readable } from 'node:stream'
import type { ExecResult } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import type { Command } from './local.ts'
import { lost, noShell, sshFailure } from './ssh-errors.ts'
import { asLine, bootstrap, remoteScript } from './ssh-script.ts'

const KEEP = 64 * 1024
const DRAIN_MS = 300
/** The other side ends a group within 2 s; one that has not said so by then does not answer. */
const END_MS = 6_000

/** Runs one command in a session of its own, given the ssh command line up to and with the host. */
export async function runSession(
  ssh: readonly string[],
  host: string,
  command: Command,
  signal?: AbortSignal,
): Promise<ExecResult> {
  signal?.throwIfAborted()
  const nonce = `backout-${randomBytes(9).toString('hex')}`
  const [program = 'ssh', ...options] = ssh
  const child = spawn(program, [...options, bootstrap(command.idem ?? 'backout')], {
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  const exited = exitOf(child)
  const keep = command.keepBytes ?? KEEP
  const out = marked(child.stdout, nonce, keep)
  const err = tail(child.stderr, keep)
  child.stdin.on('error', ignore)
  let why: BackoutError | undefined
  let patience: NodeJS.Timeout | undefined
  const end = (reason: BackoutError) => {
    why ??= reason
    child.stdin.end()
    patience ??= setTimeout(() => child.kill('SIGKILL'), END_MS)
  }
  const timer = setTimeout(() => end(timedOut(command, host)), command.limitMs)
  const onAbort = () => end(stopped(command, host, signal?.reason))
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    child.stdin.write(`${asLine(remoteScript(command, nonce))}\n`)
    const begun = await Promise.race([out.started, exited])
    if ('code' in begun) {
      await drained(child)
      if (why !== undefined) throw why
      throw begun.code === 255 || begun.code === null
        ? sshFailure(host, err.text() || (begun.error ?? ''))
        : noShell(host, out.all() + err.text())
    }
    if (why === undefined) await command.onSpawn?.(begun.pid)
    if (why === undefined) child.stdin.write('go\n')
    await Promise.race([out.ended, exited])
    await drained(child)
    if (why !== undefined) throw why
    return finished(out, err.text(), host, command)
  } finally {
    clearTimeout(timer)
    clearTimeout(patience)
    signal?.removeEventListener('abort', onAbort)
    child.stdin.end()
    child.kill('SIGTERM')
    child.stdout.destroy()
    child.stderr.destroy()
  }
}

function finished(out: Marked, stderr: string, host: string, command: Command): ExecResult {
  const code = out.code()
  if (code === 'nocwd') {
    throw new BackoutError({
      code: 'command_not_started',
      what: `The command ${shown(command)} could not be started on ${host} in ${command.cwd}`,
      cause: stderr.trim(),
      next: 'look at the folder on that host',
    })
  }
  if (code === null || !/^\d+$/.test(code)) throw lost(host, stderr)
  return { code: Number(code), stdout: out.text(), stderr }
}

function ignore(): void {
  // A closed pipe only says that ssh is gone, which its exit tells better.
}

interface Exit {
  code: number | null
  error?: string
}

function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise(resolve => {
    child.once('error', error => resolve({ code: null, error: error.message }))
    child.once('exit', code => resolve({ code }))
  })
}

/** What the command left running may keep the session open: after the end it gets a moment, no more. */
async function drained(child: ChildProcess): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  await Promise.race([
    new Promise(resolve => child.once('close', resolve)),
    new Promise(resolve => {
      timer = setTimeout(resolve, DRAIN_MS)
    }),
  ])
  clearTimeout(timer)
}

interface Marked {
  started: Promise<{ pid: number }>
  ended: Promise<void>
  /** What the other side said about the end; null where it said nothing. */
  code(): string | null
  /** What the command printed. */
  text(): string
  all(): string
}

/** Finds the marks of the other side's supervisor in its output, whatever a .bashrc prints before or a daemon after. */
function marked(stream: Readable, nonce: string, keep: number): Marked {
  const started = Promise.withResolvers<{ pid: number }>()
  const ended = Promise.withResolvers<void>()
  const kept = tail(stream, keep + 200)
  const begin = new RegExp(`${nonce} start (\\d+)\\n`)
  const finish = new RegExp(`\\n${nonce} end (\\w+)\\n`)
  let recent = ''
  let code: string | null = null
  let running = false
  stream.on('data', (chunk: Buffer) => {
    recent = recent.slice(-200) + chunk.toString('latin1')
    const first = running ? null : begin.exec(recent)
    if (first !== null) {
      running = true
      started.resolve({ pid: Number(first[1]) })
    }
    const last = finish.exec(recent)
    if (last === null) return
    code = last[1] ?? null
    ended.resolve()
  })
  return {
    started: started.promise,
    ended: ended.promise,
    code: () => code,
    all: () => kept.text(),
    text() {
      const text = kept.text()
      const [head, ...rest] = text.split(begin)
      const body = rest.length > 0 ? (rest.at(-1) ?? '') : (head ?? '')
      const end = body.search(finish)
      return end < 0 ? body : body.slice(0, end)
    },
  }
}

/** Keeps the last bytes of a stream, and says how many were left out. */
function tail(stream: Readable, keep: number): { text(): string } {
  let chunks: Buffer[] = []
  let size = 0
  let dropped = 0
  const cut = () => {
    const all = Buffer.concat(chunks)
    dropped += Math.max(0, all.length - keep)
    chunks = [all.subarray(Math.max(0, all.length - keep))]
    size = chunks[0]?.length ?? 0
  }
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    size += chunk.length
    if (size > keep * 2) cut()
  })
  return {
    text() {
      cut()
      return (dropped > 0 ? `[${dropped} bytes left out]\n` : '') + Buffer.concat(chunks).toString('utf8')
    },
  }
}

function timedOut(command: Command, host: string): BackoutError {
  return new BackoutError({
    code: 'command_timed_out',
    what: `The command ${shown(command)} did not end within ${command.limitMs} ms on ${host} and was stopped`,
    next: 'raise its time limit, or find out what it waits for',
    exit: 'failed',
  })
}

function stopped(command: Command, host: string, reason: unknown): BackoutError {
  return new BackoutError({
    code: 'command_stopped',
    what: `The command ${shown(command)} was stopped on ${host}`,
    exit: 'failed',
    from: reason,
  })
}

function shown(command: Command): string {
  const line = redact(command.argv.join(' '))
  return `"${line.length > 120 ? `${line.slice(0, 117)}...` : line}"`
}
