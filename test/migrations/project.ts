import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { postgres } from '../../src/adapters/postgres/index.ts'
import { sqlite } from '../../src/adapters/sqlite/index.ts'
import type { OpenContext, Target } from '../../src/core/contract.ts'
import type { DatabasePin } from '../../src/data/flow/settings.ts'
import { memoryBackups, memoryVault } from '../conformance/stores.ts'
import { PASSWORD, type PostgresServer } from '../support/postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** A file beside these tests, to be loaded by a project's own files. */
export function driver(name: string): string {
  return join(import.meta.dirname, 'drivers', name)
}

/** A small project in a folder of its own, which has this repository's packages and one database. */
export interface Project {
  readonly dir: string
  /** The file of SQLite, or the URL of a database on a server. */
  readonly file: string
  write(path: string, text: string): Promise<void>
  /** Runs a program of the project's; throws with what it said where it fails. */
  run(argv: readonly string[]): string
  /** What its programs are run with. */
  readonly env: NodeJS.ProcessEnv
  sql(text: string): Promise<Record<string, unknown>[]>
  open(migrations: Record<string, unknown>): Promise<Target<DatabasePin>>
  readonly stores: Pick<OpenContext, 'backups' | 'vault'>
  dispose(): Promise<void>
}

export async function project(name: string): Promise<Project> {
  return projectOn(name, dir => {
    const file = join(dir, 'app.db')
    return {
      file,
      env: {},
      async sql(text) {
        const db = new DatabaseSync(file, { timeout: 2000 })
        try {
          return db.prepare(text).all()
        } finally {
          db.close()
        }
      },
      open: (migrations, ctx) => sqlite.open(sqlite.config.parse({ path: 'app.db', migrations }), ctx),
    }
  })
}

/** The same with an empty database of its own on this server. */
export async function postgresProject(name: string, server: PostgresServer): Promise<Project> {
  await server.sql(`CREATE DATABASE "${name}"`)
  const file = `postgres://postgres:${PASSWORD}@127.0.0.1:${server.port}/${name}`
  return projectOn(name, () => ({
    file,
    env: { DATABASE_URL: file },
    sql: text => server.sql(text, name),
    open: (migrations, ctx) =>
      postgres.open(postgres.config.parse(server.settings(name, { migrations, lockLimit: '2s' })), ctx),
  }))
}

interface Base extends Pick<Project, 'file' | 'sql'> {
  readonly env: Record<string, string>
  open(migrations: Record<string, unknown>, ctx: OpenContext): Promise<Target<DatabasePin>>
}

async function projectOn(name: string, on: (dir: string) => Base): Promise<Project> {
  const dir = await mkdtemp(join(tmpdir(), `backout-${name}-`))
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  const stores = { backups: memoryBackups(), vault: memoryVault() }
  const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), ...stores }
  const base = on(dir)
  const env = { ...process.env, ...base.env }
  return {
    dir,
    file: base.file,
    sql: text => base.sql(text),
    stores,
    env,
    open: migrations => base.open(migrations, ctx),
    async write(path, text) {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), text)
    },
    run([program = '', ...words]) {
      return String(execFileSync(program, words, { cwd: dir, env, stdio: 'pipe' }))
    },
    dispose: () => rm(dir, { recursive: true, force: true }),
  }
}

/** A program of one of the packages, run by this Node. */
export function tool(path: string, ...words: string[]): string[] {
  return [process.execPath, join(ROOT, 'node_modules', path), ...words]
}
