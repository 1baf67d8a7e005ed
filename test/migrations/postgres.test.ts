import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { stepAct } from '../conformance/walk.ts'
import { ask } from '../support/ask.ts'
import { noPostgres, type PostgresServer, postgresServer } from '../support/postgres.ts'
import { type Project, postgresProject, tool } from './project.ts'
import { story } from './story.ts'

const signal = new AbortController().signal
const skipped = noPostgres()

describe.skipIf(skipped !== null)(`migration tools on PostgreSQL${skipped === null ? '' : ` (${skipped})`}`, () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await postgresServer()
  })
  afterAll(() => server.dispose())

  const PG_MIGRATE = tool('node-pg-migrate/bin/node-pg-migrate.js')
  story(
    {
      tool: 'node-pg-migrate',
      back: 'code',
      found: async () => {},
      write: (p, { version, title, up, down }) =>
        p.write(
          `migrations/${version}_${title}.cjs`,
          `exports.up = pgm => pgm.sql(${JSON.stringify(up)})
           exports.down = pgm => pgm.sql(${JSON.stringify(down)})`,
        ),
      up: p => void p.run([...PG_MIGRATE, 'up']),
      down: () => [...PG_MIGRATE, 'down', '1'],
      called: ({ version, title }) => `${version}_${title}`,
      breaks: async (p, m, inFlight) => {
        // Undone before this, and not to be done again.
        for (const name of ['20260201000000_mail', '20260202000000_logins'])
          await rm(join(p.dir, 'migrations', `${name}.cjs`))
        await p.write(
          `migrations/${m.version}_${m.title}.cjs`,
          'exports.up = pgm => pgm.sql("ALTER TABLE people ADD half int; SELECT pg_sleep(60)")',
        )
        const [, ...words] = [...PG_MIGRATE, 'up']
        const child = spawn(process.execPath, words, { cwd: p.dir, env: p.env, stdio: 'ignore' })
        runningStill = child.pid ?? 0
        ended = once(child, 'exit')
        let told: string[] = []
        while (told.length === 0 && child.exitCode === null) {
          await sleep(50)
          told = await inFlight()
        }
        expect(told).toEqual([
          expect.stringMatching(/^node-pg-migrate is migrating right now \(session \d+ holds its lock\)$/),
        ])
        return told[0] ?? ''
      },
      ends: async () => (await ended)[0],
    },
    () => postgresProject('pg_migrate', server),
  )
  let runningStill = 0
  let ended: Promise<unknown[]> = Promise.resolve([])
  afterAll(async () => {
    if (runningStill !== 0) {
      try {
        process.kill(runningStill, 'SIGKILL')
      } catch {
        // It ended by itself.
      }
    }
    await ended
  })

  const JOURNAL = 'drizzle/meta/_journal.json'
  story(
    {
      tool: 'drizzle',
      back: 'unknown',
      found: async p => {
        await p.write(
          'migrate.mjs',
          `import { drizzle } from 'drizzle-orm/node-postgres'
           import { migrate } from 'drizzle-orm/node-postgres/migrator'
           const db = drizzle(process.env.DATABASE_URL)
           await migrate(db, { migrationsFolder: 'drizzle' })
           await db.$client.end()`,
        )
        await p.write(
          'undo.mjs',
          `import pg from 'pg'
           import { createHash } from 'node:crypto'
           import { readdirSync, readFileSync } from 'node:fs'
           const hash = process.env.BACKOUT_MIGRATION
           const files = readdirSync('drizzle').filter(name => /^\\d+_[a-z]+\\.sql$/.test(name))
           const file = files.find(name => createHash('sha256').update(readFileSync('drizzle/' + name)).digest('hex') === hash)
           const db = new pg.Client()
           await db.connect()
           await db.query('BEGIN')
           await db.query(readFileSync('drizzle/' + file.replace('.sql', '.down.sql'), 'utf8'))
           await db.query('DELETE FROM drizzle.__drizzle_migrations WHERE hash = $1', [hash])
           await db.query('COMMIT')
           await db.end()`,
        )
        await p.write(JOURNAL, JSON.stringify({ version: '7', dialect: 'postgresql', entries: [] }))
      },
      write: async (p, { version, title, up, down }) => {
        const journal = JSON.parse(await readFile(join(p.dir, JOURNAL), 'utf8')) as { entries: object[] }
        const idx = journal.entries.length
        const tag = `${String(idx).padStart(4, '0')}_${title}`
        journal.entries.push({ idx, version: '7', when: Number(version), tag, breakpoints: true })
        await p.write(JOURNAL, JSON.stringify(journal))
        await p.write(`drizzle/${tag}.sql`, up)
        await p.write(`drizzle/${tag}.down.sql`, down)
      },
      up: p => void p.run([process.execPath, 'migrate.mjs']),
      down: () => [process.execPath, 'undo.mjs'],
      called: ({ up }) => createHash('sha256').update(up).digest('hex'),
    },
    () => postgresProject('drizzle', server),
  )

  /** Bookkeeping as the tool makes it, what it then says, and the number of the lock that it takes in a database `told`. */
  const MADE: readonly [tool: string, sql: string, applied: string[], lock: string | null][] = [
    [
      'prisma',
      `CREATE TABLE _prisma_migrations (id varchar(36) PRIMARY KEY NOT NULL, checksum varchar(64) NOT NULL, finished_at timestamptz,
         migration_name varchar(255) NOT NULL, logs text, rolled_back_at timestamptz, started_at timestamptz NOT NULL DEFAULT now(), applied_steps_count integer NOT NULL DEFAULT 0);
       INSERT INTO _prisma_migrations (id, checksum, finished_at, migration_name) VALUES ('x', 'c', now(), '2026_a')`,
      ['2026_a'],
      '72707369',
    ],
    [
      'rails',
      `CREATE TABLE schema_migrations (version character varying NOT NULL PRIMARY KEY);
       CREATE TABLE ar_internal_metadata (key character varying NOT NULL PRIMARY KEY, value character varying, created_at timestamp(6) NOT NULL, updated_at timestamp(6) NOT NULL);
       INSERT INTO schema_migrations VALUES ('20260102000000'), ('20260101000000')`,
      ['20260101000000', '20260102000000'],
      // MIGRATOR_SALT * crc32('told')
      String(2_053_462_845n * 84_272_416n),
    ],
    [
      'golang-migrate',
      `CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL); INSERT INTO schema_migrations VALUES (7, false)`,
      ['7'],
      '1614989156',
    ],
    [
      'flyway',
      `CREATE TABLE flyway_schema_history (installed_rank INT NOT NULL PRIMARY KEY, version VARCHAR(50), description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL,
         script VARCHAR(1000) NOT NULL, checksum INTEGER, installed_by VARCHAR(100) NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT now(), execution_time INTEGER NOT NULL, success BOOLEAN NOT NULL);
       INSERT INTO flyway_schema_history VALUES (1, '1', 'a', 'SQL', 'V1__a.sql', 1, 'me', now(), 1, true), (2, '2', 'b', 'SQL', 'V2__b.sql', 1, 'me', now(), 1, true), (3, '2', 'b', 'UNDO_SQL', 'U2__b.sql', 1, 'me', now(), 1, true)`,
      ['V1__a.sql'],
      '77433833903597',
    ],
    [
      'liquibase',
      `CREATE TABLE databasechangelog (id VARCHAR(255) NOT NULL, author VARCHAR(255) NOT NULL, filename VARCHAR(255) NOT NULL, dateexecuted TIMESTAMP NOT NULL, orderexecuted INTEGER NOT NULL,
         exectype VARCHAR(10) NOT NULL, md5sum VARCHAR(35), description VARCHAR(255), comments VARCHAR(255), tag VARCHAR(255), liquibase VARCHAR(20), contexts VARCHAR(255), labels VARCHAR(255), deployment_id VARCHAR(10));
       CREATE TABLE databasechangeloglock (id INTEGER NOT NULL PRIMARY KEY, locked BOOLEAN NOT NULL, lockgranted TIMESTAMP, lockedby VARCHAR(255));
       INSERT INTO databasechangeloglock VALUES (1, false); INSERT INTO databasechangelog VALUES ('1', 'eva', 'c.xml', now(), 1, 'EXECUTED')`,
      ['c.xml::1::eva'],
      null,
    ],
    [
      'django',
      `CREATE TABLE django_migrations (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, app varchar(255) NOT NULL, name varchar(255) NOT NULL, applied timestamptz NOT NULL);
       INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_initial', now())`,
      ['shop.0001_initial'],
      null,
    ],
    [
      'alembic',
      `CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY); INSERT INTO alembic_version VALUES ('ae10')`,
      ['ae10'],
      null,
    ],
    [
      'goose',
      `CREATE TABLE goose_db_version (id integer PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now());
       INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (3, true)`,
      ['3'],
      '5887940537704921958',
    ],
    [
      'atlas',
      `CREATE SCHEMA atlas_schema_revisions; CREATE TABLE atlas_schema_revisions.atlas_schema_revisions (version character varying NOT NULL PRIMARY KEY, description character varying NOT NULL,
         type bigint NOT NULL DEFAULT 2, applied bigint NOT NULL DEFAULT 0, total bigint NOT NULL DEFAULT 0, executed_at timestamptz NOT NULL, execution_time bigint NOT NULL,
         error text, error_stmt text, hash character varying NOT NULL, partial_hashes jsonb, operator_version character varying NOT NULL);
       INSERT INTO atlas_schema_revisions.atlas_schema_revisions VALUES ('20260101', 'a', 2, 1, 1, now(), 1, NULL, NULL, 'h', '[]', 'v1')`,
      ['20260101'],
      '2686470616',
    ],
    [
      'pgroll',
      `CREATE SCHEMA pgroll; CREATE TABLE pgroll.migrations (schema NAME NOT NULL, name TEXT NOT NULL, migration JSONB NOT NULL, created_at TIMESTAMP NOT NULL DEFAULT now(), updated_at TIMESTAMP NOT NULL DEFAULT now(),
         parent TEXT, done BOOLEAN NOT NULL DEFAULT false, resulting_schema JSONB NOT NULL DEFAULT '{}', PRIMARY KEY (schema, name));
       CREATE FUNCTION pgroll.latest(schemaname NAME) RETURNS text LANGUAGE sql AS 'SELECT 1::text';
       INSERT INTO pgroll.migrations (schema, name, migration, done) VALUES ('public', '01_a', '{}', true)`,
      ['01_a'],
      null,
    ],
  ]

  describe('C11: bookkeeping as the tool makes it', () => {
    it.each(MADE)(
      '%s is known by it, and by the lock of its session where it takes one',
      async (name, sql, applied, lock) => {
        await server.sql('DROP DATABASE IF EXISTS told')
        const p: Project = await postgresProject('told', server)
        try {
          await p.sql(sql)
          await p.sql('CREATE TABLE orders (id int)')
          await using target = await p.open({})
          const { state, inFlight, detail } = await target.observe(signal)
          expect(state).toMatchObject({ level: { tool: name, applied } })
          expect(inFlight).toEqual([])
          expect(detail).toMatchObject({ rows: { orders: expect.any(Number) as number } })
          if (lock === null) return
          const session = await server.connect('told')
          await session.query(`SELECT pg_advisory_lock(${lock})`)
          const seen = await target.observe(signal)
          await session.end()
          expect(seen.inFlight.map(op => op.what)).toEqual([
            expect.stringMatching(`^${name} is migrating right now \\(session \\d+ holds its lock\\)$`),
          ])
        } finally {
          await p.dispose()
        }
      },
    )

    it.each([
      [
        'prisma',
        `INSERT INTO _prisma_migrations (id, checksum, migration_name) VALUES ('y', 'c', '2026_b')`,
        'prisma migration 2026_b began and did not end',
      ],
      ['golang-migrate', 'UPDATE schema_migrations SET version = 8, dirty = true', 'golang-migrate migration 8'],
      [
        'flyway',
        `INSERT INTO flyway_schema_history VALUES (4, '3', 'c', 'SQL', 'V3__c.sql', 1, 'me', now(), 1, false)`,
        'flyway migration V3__c.sql',
      ],
      [
        'atlas',
        `INSERT INTO atlas_schema_revisions.atlas_schema_revisions
           VALUES ('20260102', 'b', 2, 1, 3, now(), 1, 'no', 'x', 'h', '[]', 'v1')`,
        'atlas migration 20260102',
      ],
    ] as const)(
      '%s: a migration that died half way is named, and only a restore goes back over it',
      async (tool, half, told) => {
        await server.sql('DROP DATABASE IF EXISTS told')
        const p: Project = await postgresProject('told', server)
        try {
          await p.sql(MADE.find(([name]) => name === tool)?.[1] ?? '')
          await using target = await p.open({})
          const act = { ...stepAct(), ...p.stores, purpose: 'release', release: 'v1' } as const
          const to = await target.capture(await target.observe(signal), act)
          await p.sql(half)
          const from = await target.observe(signal)
          expect(from.summary).toContain(told)
          for (const [rung, blocks] of [
            ['leave', true],
            ['migrate-down', true],
            ['restore', false],
          ] as const) {
            const { findings, steps } = await target.propose(ask(from, to, rung))
            const blockers = findings.filter(f => f.level === 'blocker')
            expect([rung, blockers.some(f => f.what.includes(told))]).toEqual([rung, blocks])
            if (!blocks) expect(steps.map(step => step.id)).toContain('db/restore/swap')
          }
          await expect(target.capture(from, act)).rejects.toMatchObject({ code: 'migration_half_done' })
        } finally {
          await p.dispose()
        }
      },
    )
  })
})
