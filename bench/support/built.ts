import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './measure.ts'

/** What Node is told when the installed command starts, as its first line says. */
export const FLAGS = (/^#!.* node (.*)/.exec(readFileSync(join(ROOT, 'src', 'main.ts'), 'utf8'))?.[1] ?? '').split(' ')

/** The command line as it is installed, on the Node that the repository brings. */
export const BACKOUT = [join(ROOT, 'node_modules', '.bin', 'node'), ...FLAGS, join(ROOT, 'dist', 'main.js')] as const

/** Builds what is measured, so that it is what the sources say. */
export function built(): void {
  execFileSync(BACKOUT[0], [join(ROOT, 'tools', 'build.ts')], { stdio: 'inherit' })
}
