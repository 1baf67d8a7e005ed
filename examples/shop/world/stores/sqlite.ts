import { copyFile, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import type { Paths } from '../paths.ts'
import type { Store } from '../store.ts'

const BUSY_MS = 5000

export function sqliteStore({ database }: Pick<Paths, 'database'>): Store {
  const fileOf = (copy?: string) => (copy === undefined ? database : join(dirname(database), `${copy}.db`))
  return {
    url: copy => `sqlite:${fileOf(copy)}`,
    adapter: 'sqlite',
    settings: { path: database },
    version: `SELECT 'SQLite ' || sqlite_version() AS version`,
    dbmate: ['--url', `sqlite:${database}`],
    numbered: 'INTEGER PRIMARY KEY AUTOINCREMENT',
    built: `SELECT type || ' ' || name || ' ' || coalesce(sql, '') AS line FROM sqlite_schema`,
    async copy(name) {
      const db = new DatabaseSync(database, { readOnly: true, timeout: BUSY_MS })
      try {
        await backup(db, fileOf(name))
      } finally {
        db.close()
      }
    },
    async put(copy, aside) {
      for (const end of ['-wal', '-shm', '']) {
        await rename(`${database}${end}`, `${fileOf(aside)}${end}`).catch((error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT' || end === '') throw error
        })
      }
      await copyFile(fileOf(copy), database)
    },
    pids: () => [],
    stop: async () => {},
  }
}
