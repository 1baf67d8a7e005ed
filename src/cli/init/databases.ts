import { basename, extname, join } from 'node:path'
import { toolOf } from '../../data/migration-files.ts'
import { type Candidate, COMMENTED, type Finds, nameFrom, type Paragraph, type Seen } from './found.ts'
import { isAside, type Site, startOf } from './site.ts'
import { migrated } from './migrated.ts'

const ENDING = /\.(db|db3|sqlite|sqlite3|s3db)$/i
const HEADER = 'SQLite format 3\0'
const MOST = 5

/** SQLite files, told by what is in them. */
export async function databases(site: Site, runIn: string | null): Promise<Finds> {
  const named = site.files.filter(path => ENDING.test(path))
  const files: string[] = []
  for (const path of named) {
    if ((await startOf(join(site.dir, path), HEADER.length)).toString('latin1') === HEADER) files.push(path)
  }
  const { live, seen } = chosen(files)
  const candidates = await Promise.all(live.map(path => candidateOf(site, path, live.length === 1, runIn)))
  return { seen, candidates, paragraphs: [] }
}

/** Which are written, and why the others are not. One for development counts where there is no other. */
function chosen(files: readonly string[]): { live: readonly string[]; seen: Seen[] } {
  const whole = files.filter(path => !isAside(path))
  const serious = whole.filter(path => !isForDevelopment(path))
  const wanted = serious.length > 0 ? serious : whole
  const live = wanted.slice(0, MOST)
  const why = (path: string) => {
    if (isAside(path)) return 'looks like a test or a copy: left out'
    if (isForDevelopment(path)) return 'is for development: left out'
    return `left out, for there are more than ${MOST}: write it like the others if it belongs in`
  }
  const rest = files.filter(path => !live.includes(path))
  return { live, seen: rest.map(path => ({ what: `SQLite database ${path}`, then: why(path) })) }
}

function isForDevelopment(path: string): boolean {
  return /(^|[/._-])dev(elopment)?([/._-]|$)/i.test(path)
}

async function candidateOf(site: Site, path: string, only: boolean, runIn: string | null): Promise<Candidate> {
  const id = only ? 'db' : nameFrom(`db-${basename(path, extname(path))}`, 'db')
  const about = [
    `The database ${path}. A capture backs it up and proves the backup by restoring it; what would be lost is counted before anything is undone.`,
  ]
  const wish = { id, adapter: 'sqlite', what: `SQLite database ${path}`, about, settings: { path } }
  return migrated(site, wish, runIn)
}

const SERVERS: readonly { kind: string; title: string; packages: readonly string[] }[] = [
  { kind: 'postgres', title: 'PostgreSQL', packages: ['pg', 'postgres', 'pg-promise', '@neondatabase/serverless'] },
  { kind: 'mysql', title: 'MySQL or MariaDB', packages: ['mysql', 'mysql2', 'mariadb'] },
  { kind: 'mongodb', title: 'MongoDB', packages: ['mongodb', 'mongoose'] },
  { kind: 'redis', title: 'Redis', packages: ['redis', 'ioredis'] },
]

const MIGRATORS = [
  'knex',
  'prisma',
  'drizzle-orm',
  'drizzle-kit',
  'typeorm',
  'sequelize',
  'dbmate',
  'node-pg-migrate',
  'umzug',
]

/** Databases and migrations that show in package.json and in folders only. `found`: adapters of the databases that are known. */
export async function otherDatabases(site: Site, kinds: readonly string[], found: readonly string[]): Promise<Finds> {
  const known = found.length > 0
  const servers = SERVERS.filter(({ kind }) => !found.includes(kind)).flatMap(({ kind, title, packages }) => {
    const by = packages.filter(name => site.packages.has(name))
    return by.length === 0 ? [] : [{ kind, title, by }]
  })
  const tools = MIGRATORS.filter(name => site.packages.has(name))
  const folders = site.folders.filter(path => /(^|\/)(migrations?|migrate)$/.test(path) && !isAside(path))
  const migrations = await Promise.all(folders.slice(0, 5).map(path => migrationsIn(site, path)))
  const seen: Seen[] = [
    ...servers.map(s => ({ what: `${s.title} (${s.by.join(', ')} in package.json)`, then: COMMENTED })),
    ...(tools.length === 0
      ? []
      : [
          {
            what: `migration tool in package.json: ${tools.join(', ')}`,
            then: known ? 'see the database' : 'no database found that it migrates',
          },
        ]),
    ...migrations.map(what => ({ what, then: known ? 'see the database' : 'no database found that they migrate' })),
  ]
  return { seen, candidates: [], paragraphs: servers.map(s => serverParagraph(s, kinds)) }
}

async function migrationsIn(site: Site, path: string): Promise<string> {
  const tool = await toolOf(join(site.dir, path))
  return `migrations in ${path}/${tool === null ? '' : ` (${tool})`}`
}

function serverParagraph(
  { kind, title, by }: { kind: string; title: string; by: readonly string[] },
  kinds: readonly string[],
): Paragraph {
  if (kinds.includes(kind)) {
    const what = `package.json has ${by.join(', ')}. Fill this in below \`components:\`; docs/adapters/${kind}.md has the rest:`
    return { title, lines: [what, ...serverComponent(kind)] }
  }
  return {
    title,
    lines: [
      `package.json has ${by.join(', ')}, and this Backout has no adapter for ${title} yet: going back leaves its data and`,
      'schema as they are. Until then a `command` component can call your own backup and restore.',
    ],
  }
}

/** To be filled in: where the server is and which login Backout may use stands in no file that is safe to read. */
function serverComponent(kind: string): string[] {
  return [
    '  db:',
    `    adapter: ${kind}`,
    '    settings:',
    '      host: 127.0.0.1',
    '      database: NAME',
    '      user: backout             # `backout doctor` names the rights that it lacks',
    '      password: ${env:DB_PASSWORD}',
    '      migrations:',
    '        down: COMMAND           # undoes one migration, $BACKOUT_MIGRATION',
  ]
}
