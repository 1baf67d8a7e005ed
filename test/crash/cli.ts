import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rolldown } from 'rolldown'
import type { World } from './world.ts'

const root = join(import.meta.dirname, '../..')

/** The command line as it is shipped (bundled, so that hundreds of processes start fast), and what is loaded before it. */
export interface Built {
  readonly main: string
  readonly killAt: string
  readonly cache: string
  dispose(): Promise<void>
}

export async function build(): Promise<Built> {
  const dir = await mkdtemp(join(tmpdir(), 'backout-crash-cli-'))
  const bundle = await rolldown({
    input: { main: join(root, 'src/main.ts'), 'kill-at': join(root, 'test/crash/kill-at.fixture.ts') },
    platform: 'node',
    // Native code is an extra where it was compiled; without it there is JavaScript for the same.
    external: (id, importer) =>
      id.endsWith('.node') ||
      (id.startsWith('.') && id.endsWith('.ts') && importer !== undefined && !existsSync(join(importer, '..', id))),
  })
  await bundle.write({
    dir,
    format: 'esm',
    entryFileNames: '[name].mjs',
    chunkFileNames: '[name]-[hash].mjs',
    minify: true,
  })
  await bundle.close()
  return {
    main: join(dir, 'main.mjs'),
    killAt: join(dir, 'kill-at.mjs'),
    cache: join(dir, 'cache'),
    dispose: () => rm(dir, { recursive: true, force: true }),
  }
}

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
export function start(built: Built, world: World, argv: readonly string[], env: Record<string, string> = {}): Running {
  const preload = Object.keys(env).some(name => name.startsWith('BACKOUT_TEST_')) ? ['--import', built.killAt] : []
  const config = ['--config', world.path('backout.yaml')]
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', ...preload, built.main, ...config, ...argv],
    {
      cwd: world.dir,
      env: { ...process.env, NODE_COMPILE_CACHE: built.cache, ...world.env, ...env },
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

export async function backout(built: Built, world: World, ...argv: string[]): Promise<Ended> {
  return start(built, world, argv).ended
}
