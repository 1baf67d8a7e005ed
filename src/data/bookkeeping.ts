/** How a migration tool remembers what it applied. Queries are standard SQL with "quoted" names; give each row one column. */
export interface Bookkeeping {
  readonly tool: string
  readonly table: string
  /** Columns that the table must have: several tools share a table's name. */
  readonly columns: readonly string[]
  /** The only others that it may have. Left out: any, for nobody else calls a table so. */
  readonly more?: readonly string[]
  /** Applications call tables of their own so, too. */
  readonly common?: true
  /** The column that says when a migration was applied. */
  readonly when?: string
  /** Another table that must be there, in the same schema. */
  readonly beside?: string
  /** Lists the applied migrations, first applied first. */
  readonly applied: string
  /** Lists scripts that have no place in the order, and ran again whenever they were others. */
  readonly again?: string
  /** Lists migrations that were begun and did not end. */
  readonly dirty?: string
  /** A lock that the tool takes while it works; the query gives a row while it is held. */
  readonly lock?: { readonly table: string; readonly column: string; readonly held: string }
  /** Lists the only migrations that the tool can undo. Without it the tool undoes any that has a way back. */
  readonly undoable?: string
  /** A schema that the tool keeps for itself: nothing in it is the application's. */
  readonly home?: string
  /** The table knows where it stands, not how it came there. */
  readonly headOnly?: boolean
  /** Refuses to work while migrations are applied that it has no files of: matters to an old release left with a new schema. */
  readonly refusesUnknown?: boolean
  /** The tool's own way to undo one migration, as a suggestion; null: it has none. */
  readonly down: string | null
}

/** In the order in which they are tried: the ones with more marks first. */
export const BOOKKEEPING: readonly Bookkeeping[] = [
  {
    tool: 'knex',
    table: 'knex_migrations',
    columns: ['id', 'name', 'batch'],
    when: 'migration_time',
    applied: 'SELECT "name" FROM "knex_migrations" ORDER BY "id"',
    lock: {
      table: 'knex_migrations_lock',
      column: 'is_locked',
      held: 'SELECT 1 FROM "knex_migrations_lock" WHERE "is_locked" = 1',
    },
    refusesUnknown: true,
    down: 'npx knex migrate:down "$BACKOUT_MIGRATION"',
  },
  {
    tool: 'prisma',
    table: '_prisma_migrations',
    columns: ['migration_name', 'finished_at', 'rolled_back_at'],
    when: 'finished_at',
    applied:
      'SELECT "migration_name" FROM "_prisma_migrations" WHERE "finished_at" IS NOT NULL AND "rolled_back_at" IS NULL ORDER BY "started_at", "migration_name"',
    dirty:
      'SELECT "migration_name" FROM "_prisma_migrations" WHERE "finished_at" IS NULL AND "rolled_back_at" IS NULL ORDER BY "started_at"',
    down: null,
  },
  {
    tool: 'drizzle',
    table: '__drizzle_migrations',
    columns: ['id', 'hash', 'created_at'],
    applied: 'SELECT "hash" FROM "__drizzle_migrations" ORDER BY "created_at", "id"',
    home: 'drizzle',
    down: null,
  },
  {
    tool: 'typeorm',
    table: 'migrations',
    columns: ['id', 'timestamp', 'name'],
    more: [],
    common: true,
    applied: 'SELECT "name" FROM "migrations" ORDER BY "id"',
    down: 'npx typeorm migration:revert -d data-source.js',
  },
  {
    tool: 'laravel',
    table: 'migrations',
    columns: ['id', 'migration', 'batch'],
    more: [],
    common: true,
    applied: 'SELECT "migration" FROM "migrations" ORDER BY "batch", "id"',
    down: 'php artisan migrate:rollback --step=1',
  },
  {
    tool: 'sequelize',
    table: 'SequelizeMeta',
    columns: ['name'],
    more: ['createdAt', 'updatedAt'],
    applied: 'SELECT "name" FROM "SequelizeMeta" ORDER BY "name"',
    down: 'npx sequelize-cli db:migrate:undo --name "$BACKOUT_MIGRATION"',
  },
  {
    tool: 'node-pg-migrate',
    table: 'pgmigrations',
    columns: ['id', 'name', 'run_on'],
    when: 'run_on',
    applied: 'SELECT "name" FROM "pgmigrations" ORDER BY "run_on", "id"',
    down: 'npx node-pg-migrate down 1',
  },
  {
    tool: 'django',
    table: 'django_migrations',
    columns: ['id', 'app', 'name', 'applied'],
    when: 'applied',
    applied: `SELECT CONCAT("app", '.', "name") FROM "django_migrations" ORDER BY "id"`,
    down: 'python manage.py migrate "${BACKOUT_MIGRATION%%.*}" <the migration before it>',
  },
  {
    tool: 'flyway',
    table: 'flyway_schema_history',
    columns: ['installed_rank', 'version', 'type', 'script', 'success'],
    when: 'installed_on',
    // What was undone stays in the table, and so does what undid it.
    applied:
      'SELECT "script" FROM "flyway_schema_history" AS h WHERE "success" = TRUE AND "version" IS NOT NULL AND "type" NOT LIKE \'UNDO%\' AND "type" <> \'DELETE\' AND NOT EXISTS (SELECT 1 FROM "flyway_schema_history" AS later WHERE later."version" = h."version" AND later."installed_rank" > h."installed_rank" AND later."success" = TRUE) ORDER BY "installed_rank"',
    again:
      'SELECT DISTINCT "script" FROM "flyway_schema_history" WHERE "version" IS NULL AND "success" = TRUE AND "type" <> \'SCHEMA\'',
    dirty: 'SELECT "script" FROM "flyway_schema_history" WHERE "success" = FALSE',
    down: 'flyway undo',
  },
  {
    tool: 'liquibase',
    table: 'databasechangelog',
    columns: ['id', 'author', 'filename', 'orderexecuted'],
    when: 'dateexecuted',
    applied: `SELECT CONCAT("filename", '::', "id", '::', "author") FROM "databasechangelog" ORDER BY "orderexecuted"`,
    lock: {
      table: 'databasechangeloglock',
      column: 'locked',
      held: 'SELECT 1 FROM "databasechangeloglock" WHERE "locked" = TRUE',
    },
    down: 'liquibase rollback-count 1',
  },
  {
    tool: 'alembic',
    table: 'alembic_version',
    columns: ['version_num'],
    more: [],
    applied: 'SELECT "version_num" FROM "alembic_version" ORDER BY "version_num"',
    headOnly: true,
    refusesUnknown: true,
    down: 'alembic downgrade "$BACKOUT_LEVEL"',
  },
  {
    tool: 'atlas',
    table: 'atlas_schema_revisions',
    columns: ['version', 'type', 'applied', 'total', 'hash'],
    when: 'executed_at',
    home: 'atlas_schema_revisions',
    // A version that begins with a dot is a mark of the tool's own.
    applied:
      'SELECT "version" FROM "atlas_schema_revisions" WHERE "version" NOT LIKE \'.%\' AND ("applied" = "total" OR "type" IN (4, 6)) ORDER BY "version"',
    // 4 and 6: somebody told the tool that it is settled.
    dirty:
      'SELECT "version" FROM "atlas_schema_revisions" WHERE "version" NOT LIKE \'.%\' AND "applied" <> "total" AND "type" NOT IN (4, 6) ORDER BY "version"',
    down: 'atlas migrate down --to-version "$BACKOUT_LEVEL"',
  },
  {
    tool: 'pgroll',
    table: 'migrations',
    columns: ['schema', 'name', 'migration', 'parent', 'done'],
    when: 'created_at',
    home: 'pgroll',
    applied: 'SELECT "name" FROM "migrations" ORDER BY "created_at", "name"',
    // Begun and not completed is how an upgrade by pgroll stands while both versions are served.
    undoable: 'SELECT "name" FROM "migrations" WHERE "done" = FALSE',
    down: 'pgroll rollback',
  },
  {
    tool: 'goose',
    table: 'goose_db_version',
    columns: ['id', 'version_id', 'is_applied'],
    when: 'tstamp',
    applied:
      'SELECT "version_id" FROM "goose_db_version" AS g WHERE "is_applied" = TRUE AND "version_id" > 0 AND NOT EXISTS (SELECT 1 FROM "goose_db_version" AS later WHERE later."version_id" = g."version_id" AND later."id" > g."id") ORDER BY "id"',
    down: 'goose down',
  },
  {
    tool: 'golang-migrate',
    table: 'schema_migrations',
    columns: ['version', 'dirty'],
    more: [],
    common: true,
    applied: 'SELECT "version" FROM "schema_migrations"',
    dirty: 'SELECT "version" FROM "schema_migrations" WHERE "dirty" = TRUE',
    headOnly: true,
    refusesUnknown: true,
    down: 'migrate goto "$BACKOUT_LEVEL"',
  },
  {
    tool: 'rails',
    table: 'schema_migrations',
    columns: ['version'],
    more: [],
    common: true,
    beside: 'ar_internal_metadata',
    applied: 'SELECT "version" FROM "schema_migrations" ORDER BY "version"',
    down: 'bin/rails db:migrate:down VERSION="$BACKOUT_MIGRATION"',
  },
  {
    tool: 'dbmate',
    table: 'schema_migrations',
    columns: ['version'],
    more: [],
    common: true,
    applied: 'SELECT "version" FROM "schema_migrations" ORDER BY "version"',
    down: 'npx dbmate rollback',
  },
]

export const TOOLS = BOOKKEEPING.map(b => b.tool) as [string, ...string[]]

/** What lies between two levels. */
export interface Between {
  /** Applied now and not at the release: newest first, in the order in which they are to be undone. */
  readonly extra: readonly string[]
  /** Applied at the release and not now. */
  readonly missing: readonly string[]
}

export function between(then: readonly string[], now: readonly string[], headOnly: boolean): Between {
  const extra = now.filter(name => !then.includes(name)).toReversed()
  const missing = then.filter(name => !now.includes(name))
  if (headOnly && isBehind(then, now)) return { extra: [], missing }
  // A head that moved is one step to the head that was: the way between is the tool's to know.
  return { extra, missing: headOnly && extra.length > 0 ? [] : missing }
}

/** By numbers: heads that are none say nothing of which came first. */
function isBehind(then: readonly string[], now: readonly string[]): boolean {
  if (now.length === 0 || ![...then, ...now].every(name => /^\d+$/.test(name))) return false
  return now.every(name => then.some(other => BigInt(name) < BigInt(other)))
}
