import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { systemClock } from '../core/clock.ts'
import type { ExecResult } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import { SUPERVISOR } from './supervisor.ts'

export interface Command {
  readonly argv: readonly string[]
  readonly cwd?: string
  /** Added to this process's environment. */
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string | Uint8Array
  /** After so many milliseconds the whole group is ended and the call throws `command_timed_out`. */
  readonly limitMs: number
  /** Marks the child, so that an orphan is found. Safe in file names. */
  readonly idem?: string
  /** Called with the group's id before the command starts; it starts once this resolves. */
  readonly onSpawn?: (pgid: number) => Promise<void>
  /** Kept of each output, from its end; what was dropped is said. Bytes, 64 KiB by default. */
  readonly keepBytes?: number
}

/** A command of this machine whose input and output may be larger than memory. */
export interface Piped extends Omit<Command, 'stdin'> {
  /** What it reads. A stream is read only as fast as the command does. */
  readonly stdin?: string | Uint8Array | Readable
  /** Where its output goes instead of being kept, however much it is; ended with it. An error of it ends the command. */
  readonly stdout?: Writable
}

const KEEP = 64 * 1024
const DRAIN_MS = 300

/**
 * Runs a command in a supervised process group. Resolves with its exit code, whatever it is. Throws where it could not
 * be started, ran over its limit or was aborted: by then nothing of the group is alive.
 */
export async function runLocal(command: Piped, signal?: AbortSignal): Promise<ExecResult> {
  signal?.throwIfAborted()
  const child = spawn('/bin/sh', ['-c', SUPERVISOR, command.idem ?? 'backout', ...command.argv], {
    cwd: command.cwd,
    env: { ...process.env, ...command.env },
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe', 'pipe'],
  })
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  exited.catch(ignore)
  await started(child, command)
  const lifeline = child.stdio[3] as Writable
  lifeline.on('error', ignore)
  const stdout = child.stdout as Readable
  const out = command.stdout === undefined ? tail(stdout, command.keepBytes ?? KEEP) : poured(stdout, command.stdout)
  const err = tail(child.stderr as Readable, command.keepBytes ?? KEEP)
  let why: Error | undefined
  const end = (reason: Error) => {
    why ??= reason
    lifeline.destroy()
  }
  out.failed?.catch(end)
  const untimed = systemClock.after(command.limitMs, () => end(timedOut(command)))
  const onAbort = () => end(stopped(command, signal?.reason))
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    await command.onSpawn?.(child.pid ?? 0)
    lifeline.write('go\n')
    feed(child.stdin as Writable, command.stdin, end)
    const [code, killed] = await exited
    await Promise.all([out.done, err.done])
    if (why !== undefined) throw why
    return { code: code ?? (killed === 'SIGKILL' ? 137 : 143), stdout: out.text(), stderr: err.text() }
  } catch (error) {
    lifeline.destroy()
    await exited
    throw error
  } finally {
    untimed()
    signal?.removeEventListener('abort', onAbort)
    lifeline.destroy()
    if (command.stdin instanceof Readable) command.stdin.destroy()
  }
}

/** A command that ends before it read everything is no error here: its exit says more. One of what it reads is. */
function feed(stdin: Writable, content: Piped['stdin'], failed: (error: Error) => void): void {
  stdin.on('error', ignore)
  if (!(content instanceof Readable)) {
    stdin.end(content)
    return
  }
  content.on('error', failed)
  content.pipe(stdin)
}

function ignore(): void {
  // A closed pipe only says that the child is gone, which its exit tells better.
}

async function started(child: ChildProcess, command: Piped): Promise<void> {
  if (child.pid !== undefined) return
  const [error] = (await once(child, 'error')) as [Error]
  throw new BackoutError({
    code: 'command_not_started',
    what: `The command ${shown(command)} could not be started${command.cwd ? ` in ${command.cwd}` : ''}`,
    cause: error.message,
    next: 'look at the folder and at the limits of this machine (processes, memory)',
    from: error,
  })
}

function timedOut(command: Piped): BackoutError {
  return new BackoutError({
    code: 'command_timed_out',
    what: `The command ${shown(command)} did not end within ${command.limitMs} ms and was stopped`,
    next: 'raise its time limit, or find out what it waits for',
    exit: 'failed',
  })
}

function stopped(command: Piped, reason: unknown): BackoutError {
  return new BackoutError({
    code: 'command_stopped',
    what: `The command ${shown(command)} was stopped`,
    exit: 'failed',
    from: reason,
  })
}

function shown(command: Piped): string {
  const line = redact(command.argv.join(' '))
  return `"${line.length > 120 ? `${line.slice(0, 117)}...` : line}"`
}

interface Output {
  text(): string
  readonly done: Promise<void>
  /** Rejects where the output could not be taken. */
  readonly failed?: Promise<void>
}

/** All of it, as fast as it is taken. Waited for whole: an output without its end would be taken for a whole one. */
function poured(stream: Readable, to: Writable): Output {
  const done = pipeline(stream, to)
  return { text: () => '', done: done.catch(ignore), failed: done }
}

/** Keeps the last bytes of a stream. A daemon that inherited the pipe keeps it open: after the exit it gets a moment, no more. */
function tail(stream: Readable, keep: number): Output {
  let chunks: Buffer[] = []
  let size = 0
  let dropped = 0
  stream.on('data', (chunk: Buffer) => {
    chunks.push(chunk)
    size += chunk.length
    if (size <= keep * 2) return
    const all = Buffer.concat(chunks)
    dropped += all.length - keep
    chunks = [all.subarray(all.length - keep)]
    size = keep
  })
  const ended = once(stream, 'close').then(ignore, ignore)
  return {
    get done() {
      return Promise.race([ended, new Promise<void>(resolve => setTimeout(resolve, DRAIN_MS))]).finally(() =>
        stream.destroy(),
      )
    },
    text() {
      const all = Buffer.concat(chunks)
      const kept = all.subarray(Math.max(0, all.length - keep))
      const lost = dropped + all.length - kept.length
      return (lost > 0 ? `[${lost} bytes left out]\n` : '') + kept.toString('utf8')
    },
  }
}

/**
 * Whether anything of a supervised group is still alive. Where /proc tells the environment, a process that merely got
 * the same group id later is not taken for it.
 */
export async function groupAlive(pgid: number, idem: string): Promise<boolean> {
  try {
    process.kill(-pgid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
  }
  const members = await membersOf(pgid)
  if (members === null) return true
  const marked = await Promise.all(members.map(pid => carries(pid, idem)))
  return marked.some(Boolean)
}

/**
 * Whether a process of this machine carries the mark of a step: for commands whose group nobody knows, because another
 * component ran them. False where there is no /proc to ask.
 */
export async function markAlive(idem: string): Promise<boolean> {
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter(name => /^\d+$/.test(name)).map(Number)
  const marked = await Promise.all(
    pids.map(async pid => pid !== process.pid && (await carries(pid, idem)) && (await groupOf(pid)) !== null),
  )
  return marked.some(Boolean)
}

async function membersOf(pgid: number): Promise<number[] | null> {
  const names = await readdir('/proc').catch(() => null)
  if (names === null) return null
  const pids = names.filter(name => /^\d+$/.test(name)).map(Number)
  const groups = await Promise.all(pids.map(groupOf))
  return pids.filter((_, i) => groups[i] === pgid)
}

async function groupOf(pid: number): Promise<number | null> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
  const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state === undefined || state === 'Z' ? null : Number(group)
}

async function carries(pid: number, idem: string): Promise<boolean> {
  const [environ, cmdline] = await Promise.all(
    ['environ', 'cmdline'].map(name => readFile(`/proc/${pid}/${name}`, 'utf8').catch(() => '')),
  )
  return `\0${environ}`.includes(`\0BACKOUT_IDEM=${idem}\0`) || (cmdline ?? '').split('\0').includes(idem)
}
