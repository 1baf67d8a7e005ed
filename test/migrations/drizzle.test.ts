import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { story } from './story.ts'

const JOURNAL = 'drizzle/meta/_journal.json'

/** Drizzle has no way back: a project that wants one writes it, as this one does in `<migration>.down.sql`. */
story({
  tool: 'drizzle',
  back: 'unknown',
  found: async p => {
    await p.write(
      'migrate.mjs',
      `import { DatabaseSync } from 'node:sqlite'
       import { drizzle } from 'drizzle-orm/sqlite-proxy'
       import { migrate } from 'drizzle-orm/sqlite-proxy/migrator'
       const client = new DatabaseSync(${JSON.stringify(p.file)})
       const db = drizzle(async (sql, params) => {
         const statement = client.prepare(sql)
         statement.setReturnArrays(true)
         return { rows: statement.all(...params) }
       })
       await migrate(db, async queries => { for (const query of queries) client.exec(query) }, { migrationsFolder: 'drizzle' })`,
    )
    await p.write(
      'undo.mjs',
      `import { DatabaseSync } from 'node:sqlite'
       import { createHash } from 'node:crypto'
       import { readFileSync } from 'node:fs'
       const hash = process.env.BACKOUT_MIGRATION
       const { entries } = JSON.parse(readFileSync('${JOURNAL}', 'utf8'))
       const { tag } = entries.find(e => createHash('sha256').update(readFileSync(\`drizzle/\${e.tag}.sql\`)).digest('hex') === hash)
       const db = new DatabaseSync(process.env.BACKOUT_DATABASE)
       db.exec('BEGIN')
       db.exec(readFileSync(\`drizzle/\${tag}.down.sql\`, 'utf8'))
       db.prepare('DELETE FROM __drizzle_migrations WHERE hash = ?').run(hash)
       db.exec('COMMIT')`,
    )
    await p.write(JOURNAL, JSON.stringify({ version: '7', dialect: 'sqlite', entries: [] }))
  },
  write: async (p, { version, title, up, down }) => {
    const journal = JSON.parse(await readFile(join(p.dir, JOURNAL), 'utf8')) as { entries: object[] }
    const idx = journal.entries.length
    const tag = `${String(idx).padStart(4, '0')}_${title}`
    journal.entries.push({ idx, version: '6', when: Number(version), tag, breakpoints: true })
    await p.write(JOURNAL, JSON.stringify(journal))
    await p.write(`drizzle/${tag}.sql`, up)
    await p.write(`drizzle/${tag}.down.sql`, down)
  },
  up: p => void p.run([process.execPath, 'migrate.mjs']),
  down: () => [process.execPath, 'undo.mjs'],
  called: ({ up }) => createHash('sha256').update(up).digest('hex'),
})
