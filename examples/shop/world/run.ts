import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const exec = promisify(execFile)
const LIMIT_MS = 30_000

/** Runs a program and gives what it printed. Throws with what it complained of where it fails. */
export async function run(argv: readonly string[], cwd: string, env: Record<string, string> = {}): Promise<string> {
  const [program = '', ...args] = argv
  try {
    const { stdout } = await exec(program, args, { cwd, env: { ...process.env, ...env }, timeout: LIMIT_MS })
    return stdout
  } catch (error) {
    const { stderr, stdout } = error as { stderr?: string; stdout?: string }
    throw new Error(`${argv.join(' ')} failed: ${stderr || stdout || (error as Error).message}`, { cause: error })
  }
}
