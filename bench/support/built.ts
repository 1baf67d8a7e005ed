import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { ROOT } from './measure.ts'

/** The command line as it is installed, on the Node that the repository brings. */
export const BACKOUT = [
  join(ROOT, 'node_modules', '.bin', 'node'),
  '--disable-warning=ExperimentalWarning',
  join(ROOT, 'dist', 'main.js'),
] as const

/** Builds what is measured, so that it is what the sources say. */
export function built(): void {
  execFileSync(BACKOUT[0], [join(ROOT, 'tools', 'build.ts')], { stdio: 'inherit' })
}
