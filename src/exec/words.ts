import { stat } from 'node:fs/promises'
import type { ExecResult } from '../core/contract.ts'
import { BackoutError } from '../core/errors.ts'
import { redact, reveal, type Text } from '../core/secret.ts'
import { type Command, runLocal } from './local.ts'
import { withoutRows } from './without-rows.ts'

/** A command of the settings: its words and environment may hold secrets, which no output and no error shows. */
export interface UserCommand extends Omit<Command, 'argv' | 'env'> {
  readonly argv: readonly Text[]
  readonly env?: Readonly<Record<string, Text>>
}

/**
 * Runs a user's command, supervised. Throws as `runLocal` does, and the signal's own reason when it aborts. Secrets are
 * hidden in both outputs and in the errors.
 */
export async function runUser(command: UserCommand, signal?: AbortSignal): Promise<ExecResult> {
  const { argv, env, ...rest } = command
  const words = argv.map(reveal)
  const values = Object.fromEntries(Object.entries(env ?? {}).map(([name, value]) => [name, reveal(value)]))
  if (rest.cwd !== undefined) await isFolder(rest.cwd, argv)
  try {
    const { code, stdout, stderr } = await runLocal({ ...rest, argv: words, env: values }, signal)
    return { code, stdout: redact(stdout), stderr: redact(stderr) }
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw error instanceof BackoutError ? hidden(error) : error
  }
}

async function isFolder(cwd: string, argv: readonly Text[]): Promise<void> {
  const found = await stat(cwd).catch(() => null)
  if (found?.isDirectory()) return
  throw new BackoutError({
    code: 'command_not_started',
    what: `The command "${shownWords(argv)}" could not be started: ${cwd} is no folder`,
    next: 'make the folder, or correct `cwd`',
  })
}

function hidden(error: BackoutError): BackoutError {
  const { code, why, next, exit } = error
  return new BackoutError({ code, what: redact(error.message), cause: why && redact(why), next, exit })
}

/** A command as it may be shown: secrets as they are written in the file. */
export function shownWords(argv: readonly Text[]): string {
  const words = argv.map(word => (typeof word === 'string' ? word : word.source))
  const line = words[0] === 'sh' && words[1] === '-c' && words.length === 3 ? (words[2] ?? '') : words.join(' ')
  return redact(line.length > 120 ? `${line.slice(0, 117)}...` : line)
}

/**
 * What a check of the settings saw under way: exit code 0, and stdout names it; above 125 nobody can tell. null: nothing.
 * `nameless`: what it is called where the check says nothing. `untold`: what stands for what nobody can tell of.
 */
export function seenBy(
  { code, stdout }: ExecResult,
  nameless: string,
  untold: (code: number) => string,
): string | null {
  if (code === 0) return redact(stdout.trim().split('\n')[0]?.slice(0, 400) || nameless)
  return code > 125 ? untold(code) : null
}

/** The end of an output, for a cause: its last lines, not more than `max` characters, without rows of a database. */
export function lastLines(text: string, max = 400): string {
  const trimmed = withoutRows(text).trim()
  return trimmed.length > max ? `…${trimmed.slice(-max)}` : trimmed
}
