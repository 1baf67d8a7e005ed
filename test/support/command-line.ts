import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { MAIN } from './shipped.ts'

export interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface CommandLine {
  backout(argv: readonly string[], env?: Record<string, string>): Promise<Said>
  /** The last line that the command prints, as JSON. */
  json<T>(argv: readonly string[]): Promise<T>
}

/** The real command line in a folder with a backout.yaml; its keys lie there too. */
export function commandLine(folder: string): CommandLine {
  const backout = async (argv: readonly string[], env: Record<string, string> = {}): Promise<Said> => {
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...argv], {
      cwd: folder,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, BACKOUT_KEYS: join(folder, 'keys'), BACKOUT_HOME: '', NO_COLOR: '1', ...env },
    })
    const text = { stdout: '', stderr: '' }
    child.stdout.on('data', (chunk: Buffer) => (text.stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (text.stderr += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number | null]
    return { code, ...text }
  }
  return {
    backout,
    async json<T>(argv: readonly string[]): Promise<T> {
      const { stdout, stderr } = await backout(['--json', ...argv])
      const last = stdout.trim().split('\n').at(-1)
      if (last === undefined || last === '') throw new Error(`no JSON: ${stderr}`)
      return JSON.parse(last) as T
    },
  }
}
