import { resolve } from 'node:path'
import type { ExecResult, OpenContext } from '../../core/contract.ts'
import { BackoutError } from '../../core/errors.ts'
import { redact, reveal } from '../../core/secret.ts'
import type { Command } from '../../exec/local.ts'
import { localRunner, type Runner, sshRunner } from '../../exec/ssh.ts'
import type { ComposeConfig } from './config.ts'

/** One project on one host, and how things are asked there. */
export interface Host {
  readonly component: string
  readonly config: ComposeConfig
  readonly runner: Runner
  readonly project: string
  readonly vault: OpenContext['vault']
  /** For people: the host and the folder. */
  readonly place: string
  /** Set once Compose was found. */
  compose: readonly string[] | null
  /** Whether that is Compose 1; null until it was asked. */
  first: boolean | null
}

const KEEP = 16 << 20

export function openHost(config: ComposeConfig, ctx: OpenContext): Host {
  const { host, sshConfig, directory, limits } = config
  const file = sshConfig === undefined ? undefined : resolve(ctx.baseDir, sshConfig)
  const runner = host === 'local' ? localRunner() : sshRunner({ address: host, config: file, connectMs: limits.answer })
  const project = config.project ?? projectOf(directory)
  const compose = config.compose?.map(reveal) ?? null
  return {
    component: ctx.component,
    config,
    runner,
    project,
    vault: ctx.vault,
    place: `${host}:${directory}`,
    compose,
    first: null,
  }
}

/** As Compose makes it from the name of a folder. */
function projectOf(directory: string): string {
  const name = directory.replace(/\/+$/, '').split('/').at(-1) ?? ''
  return name.toLowerCase().replaceAll(/[^a-z0-9_-]/g, '')
}

export function docker({ config }: Host): readonly string[] {
  return config.docker?.map(reveal) ?? ['docker']
}

/** Runs a command on the host; its exit code, whatever it is. */
export function run(
  host: Host,
  command: Partial<Command> & Pick<Command, 'argv'>,
  signal: AbortSignal,
): Promise<ExecResult> {
  return host.runner.run({ limitMs: host.config.limits.answer, keepBytes: KEEP, ...command }, signal)
}

/** Runs a command that must end well, and answers what it printed. Throws `compose_refused` with its words. */
export async function said(
  host: Host,
  what: string,
  command: Partial<Command> & Pick<Command, 'argv'>,
  signal: AbortSignal,
): Promise<string> {
  const result = await run(host, command, signal)
  if (result.code === 0) return result.stdout
  throw refused(host, what, result)
}

export function refused({ place }: Host, what: string, { code, stdout, stderr }: ExecResult): BackoutError {
  const words = redact((stderr.trim() || stdout.trim()).slice(-2_000))
  const [error, next] = /permission denied.*docker\.sock|connect to the Docker daemon/is.test(words)
    ? ['engine_unreachable', 'see that the engine is up there, and that this user may use it (group docker)']
    : ['compose_refused', 'look at the cause, and run the command by hand there']
  return new BackoutError({
    code: error,
    what: `${place}: ${what} failed (exit code ${code})`,
    cause: words || 'it said nothing',
    next,
    exit: 'failed',
  })
}

export function noFolder({ config }: Host): BackoutError {
  return new BackoutError({
    code: 'folder_gone',
    what: `There is no folder ${config.directory} on ${config.host}, or this user may not enter it`,
    next: 'make it, or correct `directory`',
    exit: 'failed',
  })
}

/** How Compose is called there: the plugin of docker, or the program of before. Throws `compose_missing`. */
export async function composeOf(host: Host, signal: AbortSignal): Promise<readonly string[]> {
  if (host.compose !== null) return host.compose
  for (const words of [[...docker(host), 'compose'], ['docker-compose']]) {
    const result = await run(host, { argv: ['sh', '-c', '"$@" version', 'sh', ...words] }, signal)
    if (result.code === 0) {
      host.compose = words
      return words
    }
  }
  throw new BackoutError({
    code: 'compose_missing',
    what: `There is neither \`docker compose\` nor \`docker-compose\` on ${host.config.host}`,
    next: 'install it there, or say in `compose` how it is called',
    exit: 'blocked',
  })
}

/** Those that Compose is given by name, of all that are captured. */
export function composeFiles({ config }: Host, paths: readonly string[]): string[] {
  return paths.filter(path => !config.also.includes(path))
}
