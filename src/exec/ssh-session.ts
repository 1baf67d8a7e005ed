import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { systemClock } from '../core/clock.ts'
import type { ExecResult } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { redact } from '../core/secret.ts'
import type { Command } from './local.ts'
import { lost, noShell, sshFailure } from './ssh-errors.ts'
import { type Marked, marked } from './ssh-output.ts'
import { asLine, BOOTSTRAP, dispatcher, remoteScript } from './ssh-script.ts'

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
  const session = new Session(ssh, host)
  try {
    return await session.run(command, signal)
  } finally {
    session.close()
  }
}

interface Leash {
  pulled(): boolean
  /** Throws why it was pulled. */
  check(): void
  off(): void
}

interface Exit {
  readonly code: number | null
  readonly error?: string
}

/**
 * A login in which commands run one after another: starting ssh and a login shell costs both sides more than most of
 * what is run. A command that did not end cleanly, or left something behind that still holds its output, is the last one.
 */
export class Session {
  readonly #host: string
  readonly #child: ChildProcessWithoutNullStreams
  readonly #exited: Promise<Exit>
  readonly #closed: Promise<unknown>
  #free = true
  #used = false

  /** @param ssh The command line of ssh, up to and with the host. */
  constructor(ssh: readonly string[], host: string) {
    const [program = 'ssh', ...options] = ssh
    this.#host = host
    this.#child = spawn(program, [...options, BOOTSTRAP], { detached: true, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#exited = new Promise(resolve => {
      this.#child.once('error', error => resolve({ code: null, error: error.message }))
      this.#child.once('exit', code => resolve({ code }))
    })
    this.#closed = new Promise(resolve => this.#child.once('close', resolve))
    void this.#exited.then(() => void (this.#free = false))
    this.#child.stdin.on('error', ignore)
    this.#child.stdin.write(`${asLine(dispatcher())}\n`)
  }

  /** Whether the next command may come. */
  get free(): boolean {
    return this.#free
  }

  /** Throws `NotBegun` where the session, used before, had ended by itself: the command can be given to another one. */
  async run(command: Command, signal?: AbortSignal): Promise<ExecResult> {
    const used = this.#used
    this.#used = true
    this.#free = false
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.off('data', this.#stray)
    const nonce = `backout-${randomBytes(9).toString('hex')}`
    const out = marked(this.#child, nonce, command.keepBytes ?? KEEP)
    const leash = this.#leash(command, signal)
    try {
      this.#child.stdin.write(`${nonce} ${command.idem ?? 'backout'}\n${asLine(remoteScript(command, nonce))}\n`)
      const begun = await Promise.race([out.started, this.#exited])
      if ('code' in begun) {
        await this.#drained()
        leash.check()
        throw used ? new NotBegun() : this.#failure(begun, out)
      }
      if (!leash.pulled()) await command.onSpawn?.(begun.pid)
      if (!leash.pulled()) this.#child.stdin.write('go\n')
      await Promise.race([out.ended, this.#exited])
      const clean = await this.#drained(out.free)
      leash.check()
      const result = finished(out, this.#host, command)
      this.#free = clean && this.#child.exitCode === null
      return result
    } finally {
      leash.off()
      out.stop()
      if (this.#free) this.#listen()
    }
  }

  close(): void {
    this.#free = false
    const { stdin, stdout, stderr } = this.#child
    stdin.end()
    this.#child.kill('SIGTERM')
    stdout.destroy()
    stderr.destroy()
  }

  /** Ends the command, and with it the session, at its limit and when aborted. */
  #leash(command: Command, signal?: AbortSignal): Leash {
    let why: BackoutError | undefined
    let patience: NodeJS.Timeout | undefined
    const end = (reason: BackoutError) => {
      why ??= reason
      this.#child.stdin.end()
      patience ??= setTimeout(() => this.#child.kill('SIGKILL'), END_MS)
    }
    const untimed = systemClock.after(command.limitMs, () => end(timedOut(command, this.#host)))
    const onAbort = () => end(stopped(command, this.#host, signal?.reason))
    signal?.addEventListener('abort', onAbort, { once: true })
    return {
      pulled: () => why !== undefined,
      check() {
        if (why !== undefined) throw why
      },
      off() {
        untimed()
        clearTimeout(patience)
        signal?.removeEventListener('abort', onAbort)
      },
    }
  }

  #failure({ code, error }: Exit, out: Marked): BackoutError {
    if (code === 255 || code === null) return sshFailure(this.#host, out.stderr() || (error ?? ''))
    return noShell(this.#host, out.all())
  }

  /** What the command left running may keep its output open: after the end it gets a moment, no more. */
  async #drained(free: Promise<void> = new Promise(() => {})): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>(resolve => void (timer = setTimeout(resolve, DRAIN_MS, false)))
    const clean = await Promise.race([free.then(() => true), this.#closed.then(() => false), late])
    clearTimeout(timer)
    return clean
  }

  readonly #stray = () => {
    this.#free = false
  }

  /** Nobody should be left who prints between two commands. */
  #listen(): void {
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on('data', this.#stray)
  }
}

/** The session was over before the command began. */
export class NotBegun extends Error {}

function finished(out: Marked, host: string, command: Command): ExecResult {
  const code = out.code()
  if (code === 'nocwd') {
    throw new BackoutError({
      code: 'command_not_started',
      what: `The command ${shown(command)} could not be started on ${host} in ${command.cwd}`,
      cause: out.stderr().trim(),
      next: 'look at the folder on that host',
    })
  }
  if (code === null || !/^\d+$/.test(code)) throw lost(host, out.stderr())
  return { code: Number(code), stdout: out.stdout(), stderr: out.stderr() }
}

function ignore(): void {
  // A closed pipe only says that ssh is gone, which its exit tells better.
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
