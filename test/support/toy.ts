import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts')

export interface Said {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** A folder with a backout.yaml of two files and shell commands, driven through the real command line. */
export interface Toy extends AsyncDisposable {
  readonly folder: string
  backout(argv: readonly string[], env?: Record<string, string>): Promise<Said>
  json<T>(argv: readonly string[]): Promise<T>
  /** Puts a version there, not through Backout. */
  release(version: string): Promise<void>
  versions(): Promise<string[]>
  write(name: string, text: string): Promise<void>
  read(name: string): Promise<string>
}

const APP = (file: string, more = '') => `    adapter: command
    settings:
      identity: ${file}
      observe: 'printf "{\\"state\\":\\"%s\\",\\"summary\\":\\"%s\\"}" "$(cat ${file})" "$(cat ${file})"'
      apply: 'printf "%s\\n" "$BACKOUT_PIN" | tr -d \\" > ${file}'
      verify: 'test "$(cat ${file})" = "$(printf "%s" "$BACKOUT_PIN" | tr -d \\")"'
${more}`

/** `more`: further sections of backout.yaml, such as policy and hooks. */
export async function makeToy(more = 'policy: { verify: [well] }', settings = ''): Promise<Toy> {
  const folder = await mkdtemp(join(tmpdir(), 'backout-toy-'))
  const write = (name: string, text: string) => writeFile(join(folder, name), text)
  const read = (name: string) => readFile(join(folder, name), 'utf8')
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
  const release = async (version: string) => {
    await write('app', `${version}\n`)
    await write('db', `${version}\n`)
  }
  await release('v1')
  await write(
    'backout.yaml',
    `environment: toy
components:
  db:
${APP('db')}  app:
${APP('app', settings)}    dependsOn: [db]
probes:
  version: { kind: command, run: 'test "$(cat app)" = v1' }
gates:
  well: { probes: [version], attempts: 2, interval: 50ms }
${more}
`,
  )
  return {
    folder,
    backout,
    write,
    read,
    release,
    versions: async () => [(await read('db')).trim(), (await read('app')).trim()],
    async json<T>(argv: readonly string[]): Promise<T> {
      const { stdout, stderr } = await backout(['--json', ...argv])
      const last = stdout.trim().split('\n').at(-1)
      if (last === undefined || last === '') throw new Error(`no JSON: ${stderr}`)
      return JSON.parse(last) as T
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
