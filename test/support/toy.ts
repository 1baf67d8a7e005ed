import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CommandLine, commandLine } from './command-line.ts'

/** A folder with a backout.yaml of two files and shell commands, driven through the real command line. */
export interface Toy extends CommandLine, AsyncDisposable {
  readonly folder: string
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
  const line = commandLine(folder)
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
    ...line,
    write,
    read,
    release,
    versions: async () => [(await read('db')).trim(), (await read('app')).trim()],
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}
