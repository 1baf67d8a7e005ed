import { spawn } from 'node:child_process'
import { KILL_AT, MAIN } from '../support/shipped.ts'
import type { World } from './world.ts'

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly pid: number
  readonly ended: Promise<Ended>
  kill(signal: NodeJS.Signals): void
  /** Closes this end of its outputs: what it writes from here on fails with EPIPE. */
  close(): void
}

/** Starts the real command line in the world. With `preload`, its environment says where it dies. */
export function start(world: World, argv: readonly string[], env: Record<string, string> = {}): Running {
  const preload = Object.keys(env).some(name => name.startsWith('BACKOUT_TEST_')) ? ['--import', KILL_AT] : []
  const config = ['--config', world.path('backout.yaml')]
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', ...preload, MAIN, ...config, ...argv],
    {
      cwd: world.dir,
      env: { ...process.env, ...world.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    // Not `close`: an orphan keeps the pipes open.
    child.once('exit', (code, signal) => setImmediate(() => resolve({ code, signal, stdout, stderr })))
  })
  return {
    pid: child.pid ?? 0,
    ended,
    kill: signal => void child.kill(signal),
    close() {
      child.stdout.destroy()
      child.stderr.destroy()
    },
  }
}

export async function backout(world: World, ...argv: string[]): Promise<Ended> {
  return start(world, argv).ended
}
