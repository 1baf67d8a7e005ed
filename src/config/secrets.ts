import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { BackoutError, messageOf } from '../core/errors.ts'
import { remember, type Secret } from '../core/secret.ts'
import { placeholdersIn } from './placeholders.ts'

/** A secret of the file and where it stands in it: "backout.yaml:7:12 components.app.settings.url". */
export interface PlacedSecret {
  readonly secret: Secret
  readonly place: string
}

/** What running a command gave; config does not start processes itself. */
export type RunCommand = (line: string) => Promise<{ code: number; stdout: string; stderr: string }>

/** Reads the values of all placeholders, each source once. Throws `secret_missing` with all that could not be had. */
export async function resolveSecrets(
  secrets: readonly PlacedSecret[],
  baseDir: string,
  run: RunCommand,
): Promise<void> {
  const read = new Map<string, Promise<string>>()
  const problems = new Map<string, string>()
  for (const { secret, place } of secrets) {
    let text = ''
    let at = 0
    for (const { whole, kind, name, at: begin } of placeholdersIn(secret.source)) {
      if (!read.has(whole)) read.set(whole, readOne(kind, name, baseDir, run))
      text += secret.source.slice(at, begin)
      at = begin + whole.length
      try {
        const value = (await read.get(whole)) ?? ''
        // Alone too: other programs print the password without the URL that it stands in.
        remember(value)
        text += value
      } catch (error) {
        const why = messageOf(error)
        if (!problems.has(why)) problems.set(why, place)
      }
    }
    secret.resolve(text + secret.source.slice(at))
  }
  if (problems.size === 0) return
  throw new BackoutError({
    code: 'secret_missing',
    what: `Of the secrets in backout.yaml ${problems.size === 1 ? 'one' : problems.size} cannot be read`,
    cause: [...problems].map(([why, place]) => `${place}: ${why}`).join('\n'),
    next: 'put what is missing where this command runs, then: backout doctor',
    exit: 'usage',
  })
}

async function readOne(kind: string, name: string, baseDir: string, run: RunCommand): Promise<string> {
  if (kind === 'env') {
    const value = process.env[name]
    if (value === undefined || value === '') throw new Error(`the environment variable ${name} is not set`)
    return value
  }
  if (kind === 'file') {
    const path = resolve(baseDir, name.replace(/^~(?=\/)/, homedir()))
    const content = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new Error(`the file ${path} ${UNREADABLE[error.code ?? ''] ?? `cannot be read: ${error.message}`}`)
    })
    return filled(content, `the file ${path}`)
  }
  const { code, stdout, stderr } = await run(name)
  if (code === 0) return filled(stdout, `the output of "${name}"`)
  const said = stderr.trim().split('\n').at(-1) ?? ''
  throw new Error(`the command "${name}" ended with ${code}${said === '' ? '' : `: ${said}`}`)
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: 'is not there',
  EACCES: 'may not be read by this user',
  EISDIR: 'is a folder',
}

/** Without the end of its last line. An empty secret is none: what takes it would be open to everybody. */
function filled(content: string, from: string): string {
  const value = content.replace(/\r?\n$/, '')
  if (value !== '') return value
  throw new Error(`${from} is empty`)
}
