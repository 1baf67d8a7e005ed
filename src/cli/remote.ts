import { readFileSync } from 'node:fs'
import type { build } from './program.ts'
import { findConfig } from './wiring/find-config.ts'

/**
 * Where `home:` is on another machine, executes the command there and answers its exit code; null where it is to be
 * executed here. Nearly free for a home on this machine: it reads the file and looks for `ssh://`.
 */
export async function forward(argv: readonly string[], program: typeof build): Promise<number | null> {
  // Set on the machine that the home is on.
  if ((process.env['BACKOUT_HOME'] ?? '') !== '') return null
  const file = findConfig(namedIn(argv))
  const text = textOf(file)
  if (!text.includes('ssh://')) return null
  const { remoteHome } = await import('./remote/home.ts')
  const home = remoteHome(file, text)
  if (home === null) return null
  const { calledIn } = await import('./remote/call.ts')
  const call = await calledIn(argv, program)
  if (call === null) return null
  return (await import('./remote/forward.ts')).forwardCall(call, home, { file, text })
}

/** Read at once: loading node:fs/promises alone would cost every start 2 ms. */
function textOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

/** The configuration that the arguments name, without knowing the commands. */
function namedIn(argv: readonly string[]): string | undefined {
  for (const [i, word] of argv.entries()) {
    if (word === '-c' || word === '--config') return argv[i + 1]
    if (word.startsWith('--config=')) return word.slice('--config='.length)
    if (/^-c[^-]/.test(word)) return word.slice(2)
    if (word === '--') return undefined
  }
  return undefined
}
