import { expect } from 'vitest'
import { driver } from './project.ts'
import { story } from './story.ts'

const ENGINE = `import { readdirSync, readFileSync } from 'node:fs'
  import { SchemaEngine } from '@prisma/schema-engine-wasm'
  import { adapterFor } from ${JSON.stringify(driver('prisma.fixture.ts'))}
  const schema = 'datasource db {\\n  provider = "sqlite"\\n}\\n'
  const engine = await SchemaEngine.new({ datamodels: [['schema.prisma', schema]] }, () => {}, adapterFor('app.db'))`

/** Prisma's own schema engine, as WebAssembly; its command line would fetch the same engine from a server of Prisma's. */
story({
  tool: 'prisma',
  back: 'sql',
  found: async p => {
    await p.write(
      'deploy.mjs',
      `${ENGINE}
       const names = readdirSync('prisma/migrations').sort()
       const migrationDirectories = names.map(path => {
         const value = readFileSync(\`prisma/migrations/\${path}/migration.sql\`, 'utf8')
         return { path, migrationFile: { path: 'migration.sql', content: { tag: 'ok', value } } }
       })
       const lockfile = { path: 'migration_lock.toml', content: 'provider = "sqlite"' }
       const migrationsList = { baseDir: 'prisma/migrations', lockfile, shadowDbInitScript: '', migrationDirectories }
       await engine.applyMigrations({ migrationsList, filters: { externalTables: [], externalEnums: [] } })`,
    )
    await p.write(
      'undo.mjs',
      `import { DatabaseSync } from 'node:sqlite'
       import { readFileSync } from 'node:fs'
       const name = process.env.BACKOUT_MIGRATION
       const db = new DatabaseSync(process.env.BACKOUT_DATABASE)
       db.exec('BEGIN')
       db.exec(readFileSync(\`prisma/migrations/\${name}/down.sql\`, 'utf8'))
       db.prepare('DELETE FROM _prisma_migrations WHERE migration_name = ?').run(name)
       db.exec('COMMIT')`,
    )
  },
  write: async (p, { version, title, up, down }) => {
    await p.write(`prisma/migrations/${version}_${title}/migration.sql`, up)
    await p.write(`prisma/migrations/${version}_${title}/down.sql`, down)
  },
  up: p => void p.run([process.execPath, 'deploy.mjs']),
  down: () => [process.execPath, 'undo.mjs'],
  called: ({ version, title }) => `${version}_${title}`,
  breaks: async (p, m) => {
    await p.write(`prisma/migrations/${m.version}_${m.title}/migration.sql`, m.up)
    expect(() => p.run([process.execPath, 'deploy.mjs'])).toThrow(`migration_name="${m.version}_${m.title}"`)
    return `prisma migration ${m.version}_${m.title} began and did not end`
  },
})
