import { access, constants } from 'node:fs/promises'
import { basename, extname, join } from 'node:path'
import type { Observation } from '../../core/contract.ts'
import { BOOKKEEPING } from '../../data/bookkeeping.ts'
import { toolOf } from '../../data/migration-files.ts'
import { type Candidate, COMMENTED, type Finds, nameFrom, type Paragraph, type Seen } from './found.ts'
import { isAside, type Site, startOf } from './site.ts'
import { tryOut } from './trial.ts'

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
  const observed = await tryOut({ id, adapter: 'sqlite', settings: { path } }, site.dir)
  const tool = typeof observed === 'string' ? null : toolIn(observed)
  const down = await downOf(site, tool)
  const migrations =
    tool === null ? null : { tool, ...(down.sure ? { down: down.line } : {}), ...inside(down.sure, runIn) }
  const about = [
    `The database ${path}. A capture backs it up and proves the backup by restoring it; what would be lost is counted before anything is undone.`,
  ]
  const hint = [
    ...(tool === null
      ? []
      : [
          `migrations.down undoes ONE migration, $BACKOUT_MIGRATION${runIn === null ? '' : ', from the release that has its script'}.`,
        ]),
    ...(tool !== null && !down.sure ? [`migrations: { down: ${JSON.stringify(down.line)} }`] : []),
    'writers: none        # if no other component writes to it',
  ]
  const settings = { path, ...(migrations === null ? {} : { migrations }) }
  const what = `SQLite database ${path}${tool === null ? '' : `, migrated by ${tool}`}`
  return { id, adapter: 'sqlite', what, about, settings, hints: hint, layer: 'data', held: null }
}

function toolIn({ state }: Observation): string | null {
  const level = (state as { level?: { tool?: string | null } } | null)?.level
  return level?.tool ?? null
}

/** Packages by which a project says that it has the tool. */
const PACKAGES: Readonly<Record<string, string>> = {
  knex: 'knex',
  sequelize: 'sequelize-cli',
  dbmate: 'dbmate',
  'node-pg-migrate': 'node-pg-migrate',
}

/** Files of the project that are the tool. */
const COMMANDS: Readonly<Record<string, string>> = { rails: 'bin/rails' }

/** The command is only taken where the project has the tool and nothing in the command is left to fill in. */
async function downOf(site: Site, tool: string | null): Promise<{ line: string; sure: boolean }> {
  const line = BOOKKEEPING.find(b => b.tool === tool)?.down ?? null
  if (tool === null || line === null) return { line: './undo-one-migration', sure: false }
  const [own, file] = [PACKAGES[tool], COMMANDS[tool]]
  const installed = own !== undefined && site.packages.has(own)
  return { line, sure: installed || (file !== undefined && (await isExecutable(join(site.dir, file)))) }
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  )
}

function inside(sure: boolean, runIn: string | null): { runIn?: string } {
  return sure && runIn !== null ? { runIn } : {}
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

/** Databases and migrations that show in package.json and in folders only. */
export async function otherDatabases(site: Site, kinds: readonly string[], sqlite: boolean): Promise<Finds> {
  const servers = SERVERS.flatMap(({ kind, title, packages }) => {
    const by = packages.filter(name => site.packages.has(name))
    return by.length === 0 ? [] : [{ kind, title, by }]
  })
  const tools = MIGRATORS.filter(name => site.packages.has(name))
  const folders = site.folders.filter(path => /(^|\/)(migrations?|migrate)$/.test(path) && !isAside(path))
  const known = await Promise.all(folders.slice(0, 5).map(path => migrationsIn(site, path)))
  const seen: Seen[] = [
    ...servers.map(s => ({ what: `${s.title} (${s.by.join(', ')} in package.json)`, then: COMMENTED })),
    ...(tools.length === 0
      ? []
      : [
          {
            what: `migration tool in package.json: ${tools.join(', ')}`,
            then: sqlite ? 'see the database' : 'no database found that it migrates',
          },
        ]),
    ...known.map(what => ({ what, then: sqlite ? 'see the database' : 'no database found that they migrate' })),
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
