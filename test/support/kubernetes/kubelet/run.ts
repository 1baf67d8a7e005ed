import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Clock } from '../clock.ts'
import { type Container } from '../types.ts'
import { type Image } from './registry.ts'

export interface Running {
  /** Its process is there. */
  readonly begun: Promise<void>
  /** Called once, when it ends by itself or is stopped. */
  onEnd: (code: number) => void
  readonly lines: string[]
  readonly onLine: Set<(line: string) => void>
  /** SIGTERM, and SIGKILL after so long. */
  stop(graceMs: number): void
  /** An `exec` probe or the like. */
  exec(command: readonly string[]): Promise<number>
}

/** Starts what an image does: with a shell in it the command is really run, else as its spec says. */
export function start(image: Image, container: Container, env: Record<string, string>, clock: Clock): Running {
  return image.shell === true ? shellProcess(container, env) : scripted(image, clock)
}

function scripted(image: Image, clock: Clock): Running {
  let ended = false
  const running: Running = {
    begun: Promise.resolve(),
    onEnd: () => {},
    lines: [...(image.log ?? [])],
    onLine: new Set(),
    stop(graceMs) {
      const after = Math.min(image.endsAfterMs ?? 0, graceMs)
      if (after === 0) end(graceMs === 0 && image.endsAfterMs !== undefined ? 137 : 0)
      else clock.after(after, () => end(after < graceMs || graceMs === 0 ? 0 : 137))
    },
    exec: () => Promise.resolve(ended ? 126 : 0),
  }
  const end = (code: number): void => {
    if (ended) return
    ended = true
    running.onEnd(code)
  }
  const { exits } = image
  if (exits !== undefined) clock.after(exits.afterMs ?? 5, () => end(exits.code))
  return running
}

/** Runs a command on this machine in an empty folder, with the container's environment and nothing else. */
function shellProcess(container: Container, env: Record<string, string>): Running {
  const argv = [...(container.command ?? []), ...(container.args ?? [])]
  let child: ChildProcess | null = null
  let dir: string | null = null
  let stopped = false
  const { promise, resolve } = Promise.withResolvers<void>()
  const running: Running = {
    begun: promise,
    onEnd: () => {},
    lines: [],
    onLine: new Set(),
    stop(graceMs) {
      stopped = true
      if (child === null) return running.onEnd(137)
      kill(child, 'SIGTERM')
      setTimeout(() => child !== null && kill(child, 'SIGKILL'), graceMs).unref()
    },
    exec: command => once(command, dir ?? '/', env),
  }
  const begin = async (): Promise<void> => {
    dir = await mkdtemp(join(tmpdir(), 'backout-container-'))
    const code = stopped
      ? 137
      : await follow(argv, dir, env, running, started => {
          child = started
          resolve()
        })
    child = null
    await rm(dir, { recursive: true, force: true })
    running.onEnd(code)
  }
  void begin()
  return running
}

function follow(
  argv: readonly string[],
  cwd: string,
  env: Record<string, string>,
  running: Running,
  started: (child: ChildProcess) => void,
): Promise<number> {
  // Without a command busybox is an interactive shell without input: it ends at once.
  const [program = 'true', ...rest] = argv
  const child = spawn(program, rest, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true })
  started(child)
  for (const stream of [child.stdout, child.stderr]) {
    let left = ''
    stream.on('data', (data: Buffer) => {
      const parts = (left + data.toString()).split('\n')
      left = parts.pop() ?? ''
      for (const line of parts) say(running, line)
    })
    stream.on('end', () => left !== '' && say(running, left))
  }
  return new Promise(resolve => {
    child.on('error', error => {
      say(running, error.message)
      resolve(127)
    })
    child.on('close', (code, signal) => resolve(code ?? (signal === 'SIGKILL' ? 137 : 143)))
  })
}

function say(running: Running, line: string): void {
  running.lines.push(line)
  for (const listener of running.onLine) listener(line)
}

function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) process.kill(-child.pid, signal)
  } catch {
    // It has ended already.
  }
}

function once(command: readonly string[], cwd: string, env: Record<string, string>): Promise<number> {
  const [program = 'true', ...rest] = command
  return new Promise(resolve => {
    const child = spawn(program, rest, { cwd, env, stdio: 'ignore', timeout: 5000 })
    child.on('error', () => resolve(127))
    child.on('close', code => resolve(code ?? 137))
  })
}
