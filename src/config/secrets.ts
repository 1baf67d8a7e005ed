import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { resolve } from 'node:path'
import { BackoutError, messageOf } from '../core/errors.ts'
import { remember, type Secret } from '../core/secret.ts'

const PLACEHOLDER = /\$\{(env|file|cmd):([^}]+)\}/g

export function hasPlaceholder(text: string): boolean {
  return text.match(PLACEHOLDER) !== null
}

/** What running a command gave; config does not start processes itself. */
export type RunCommand = (line: string) => Promise<{ code: number; stdout: string; stderr: string }>

/** Reads the values of all placeholders, each source once. Throws `secret_missing` with all that could not be had. */
export async function resolveSecrets(secrets: readonly Secret[], baseDir: string, run: RunCommand): Promise<void> {
  const read = new Map<string, Promise<string>>()
  const problems: string[] = []
  for (const secret of secrets) {
    let text = ''
    let at = 0
    for (const match of secret.source.matchAll(PLACEHOLDER)) {
      const [whole, kind = '', name = ''] = match
      if (!read.has(whole)) read.set(whole, readOne(kind, name.trim(), baseDir, run))
      text += secret.source.slice(at, match.index)
      at = match.index + whole.length
      try {
        const value = (await read.get(whole)) ?? ''
        // Alone too: other programs print the password without the URL that it stands in.
        remember(value)
        text += value
      } catch (error) {
        problems.push(messageOf(error))
      }
    }
    secret.resolve(text + secret.source.slice(at))
  }
  if (problems.length === 0) return
  throw new BackoutError({
    code: 'secret_missing',
    what: `Of the secrets in backout.yaml ${problems.length === 1 ? 'one' : problems.length} cannot be read`,
    cause: [...new Set(problems)].join('\n'),
    next: 'set them where this command runs, then run it again',
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
    return filled(await readFile(path, 'utf8'), `the file ${path}`)
  }
  const { code, stdout, stderr } = await run(name)
  if (code === 0) return filled(stdout, `the output of "${name}"`)
  throw new Error(`the command "${name}" ended with ${code}: ${stderr.trim().split('\n').at(-1) ?? ''}`)
}

/** Without the end of its last line. An empty secret is none: what takes it would be open to everybody. */
function filled(content: string, from: string): string {
  const value = content.replace(/\r?\n$/, '')
  if (value !== '') return value
  throw new Error(`${from} is empty`)
}
