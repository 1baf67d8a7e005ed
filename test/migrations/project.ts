import { execFileSync, type ExecFileSyncOptions } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { OpenContext } from '../../src/core/contract.ts'
import { sqlite } from '../../src/adapters/sqlite/index.ts'
import { memoryBackups, memoryVault } from '../conformance/stores.ts'

const ROOT = join(import.meta.dirname, '..', '..')

/** A file beside these tests, to be loaded by a project's own files. */
export function driver(name: string): string {
  return join(import.meta.dirname, 'drivers', name)
}

/** A small project in a folder of its own, which has this repository's packages and one SQLite database. */
export interface Project {
  readonly dir: string
  readonly file: string
  write(path: string, text: string): Promise<void>
  /** Runs a program of the project's; throws with what it said where it fails. */
  run(argv: readonly string[], env?: Record<string, string>): string
  sql(text: string): Record<string, unknown>[]
  open(migrations: Record<string, unknown>): ReturnType<typeof sqlite.open>
  readonly stores: Pick<OpenContext, 'backups' | 'vault'>
  dispose(): Promise<void>
}

export async function project(name: string): Promise<Project> {
  const dir = await mkdtemp(join(tmpdir(), `backout-${name}-`))
  await symlink(join(ROOT, 'node_modules'), join(dir, 'node_modules'))
  const file = join(dir, 'app.db')
  const stores = { backups: memoryBackups(), vault: memoryVault() }
  const ctx = { environment: 'test', component: 'db', baseDir: dir, stateDir: join(dir, 'state'), ...stores }
  return {
    dir,
    file,
    stores,
    async write(path, text) {
      await mkdir(dirname(join(dir, path)), { recursive: true })
      await writeFile(join(dir, path), text)
    },
    run([program = '', ...words], env = {}) {
      const options: ExecFileSyncOptions = { cwd: dir, env: { ...process.env, ...env }, stdio: 'pipe' }
      return String(execFileSync(program, words, options))
    },
    sql(text) {
      const db = new DatabaseSync(file, { timeout: 2000 })
      try {
        return db.prepare(text).all()
      } finally {
        db.close()
      }
    },
    open: migrations => sqlite.open(sqlite.config.parse({ path: 'app.db', migrations }), ctx),
    dispose: () => rm(dir, { recursive: true, force: true }),
  }
}

/** A program of one of the packages, run by this Node. */
export function tool(path: string, ...words: string[]): string[] {
  return [process.execPath, join(ROOT, 'node_modules', path), ...words]
}
