import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { main } from '../program.ts'
import type { Check } from './check.ts'

const MAIN = join(import.meta.dirname, '../../main.ts')

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** What doctor answers with --json. */
export interface Answer {
  readonly accepted: boolean
  readonly checks: readonly Check[]
  readonly next: readonly string[]
}

/** A temporary folder that the real command line works in, with keys and settings of its own. */
export class Folder implements AsyncDisposable {
  readonly root: string
  readonly dir: string
  readonly env: NodeJS.ProcessEnv

  private constructor(root: string) {
    this.root = root
    this.dir = join(root, 'shop')
    this.env = {
      ...process.env,
      BACKOUT_KEYS: join(root, 'keys'),
      XDG_CONFIG_HOME: join(root, 'xdg'),
      KUBECONFIG: join(root, 'kube'),
      NO_COLOR: '1',
    }
    for (const name of ['CI', 'BACKOUT_CONFIG', 'BACKOUT_HOME']) delete this.env[name]
  }

  static async make(files: Readonly<Record<string, string>> = {}): Promise<Folder> {
    const folder = new Folder(await mkdtemp(join(tmpdir(), 'backout-folder-')))
    await mkdir(folder.dir)
    for (const [path, text] of Object.entries(files)) await folder.write(path, text)
    return folder
  }

  path(name: string): string {
    return join(this.dir, name)
  }

  async write(name: string, text: string, mode = 0o644): Promise<void> {
    await mkdir(dirname(this.path(name)), { recursive: true })
    await writeFile(this.path(name), text, { mode })
  }

  async database(name: string, sql: string): Promise<void> {
    await mkdir(dirname(this.path(name)), { recursive: true })
    const db = new DatabaseSync(this.path(name))
    db.exec(sql)
    db.close()
  }

  git(...argv: string[]): void {
    const who = ['-c', 'user.name=a', '-c', 'user.email=a@example.org']
    execFileSync('git', ['-C', this.dir, ...who, ...argv], { stdio: 'pipe' })
  }

  start(...argv: string[]): ChildProcess {
    const node = ['--disable-warning=ExperimentalWarning', MAIN, ...argv]
    return spawn(process.execPath, node, { cwd: this.dir, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
  }

  /** The real command line in this process, which is much quicker than a new one. */
  async run(...argv: string[]): Promise<Ran> {
    const before = { cwd: process.cwd(), env: { ...process.env } }
    const out = listen(process.stdout)
    const err = listen(process.stderr)
    process.chdir(this.dir)
    process.env = { ...this.env }
    try {
      return { code: await main(argv), stdout: out.text(), stderr: err.text() }
    } finally {
      process.env = before.env
      process.chdir(before.cwd)
      out.stop()
      err.stop()
    }
  }

  async spawned(...argv: string[]): Promise<Ran> {
    const child = this.start(...argv)
    let stdout = ''
    let stderr = ''
    child.stdout?.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr?.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    const [code] = (await once(child, 'close')) as [number]
    return { code, stdout, stderr }
  }

  async doctor(): Promise<Answer & { code: number }> {
    const { code, stdout } = await this.run('doctor', '--json')
    return { code, ...(JSON.parse(stdout) as Answer) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.root, { recursive: true, force: true })
  }
}

function listen(stream: NodeJS.WriteStream): { text(): string; stop(): void } {
  const write = stream.write.bind(stream)
  let text = ''
  stream.write = ((chunk: string | Uint8Array) => {
    text += Buffer.from(chunk).toString()
    return true
  }) as typeof write
  return { text: () => text, stop: () => void (stream.write = write) }
}

/** The codes of one level, sorted. */
export function codes({ checks }: Answer, level: Check['level']): string[] {
  return checks
    .filter(c => c.level === level)
    .map(c => c.code)
    .toSorted()
}

export const KNEX = `CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER);
  INSERT INTO orders (total) VALUES (3), (4);
  CREATE TABLE knex_migrations (id INTEGER PRIMARY KEY, name TEXT, batch INTEGER, migration_time TEXT);
  INSERT INTO knex_migrations (name, batch) VALUES ('001_init.js', 1);`
