import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Mariadb, mariadb, noMariadb } from '../../../test/support/mariadb.ts'
import { applyCarry, planCarry } from '../../data/carry/index.ts'
import { NOTHING_SAID } from '../../data/carry/options.ts'
import type { CarrySource } from '../../data/carry/source.ts'
import { compareFingerprints } from '../../data/diff.ts'
import type { Image, Images, Job } from '../../data/engine.ts'
import { mysqlSettings } from './config.ts'
import { mysqlEngine } from './engine.ts'
import { imageOf } from './image.ts'
import { type Access, WRITE_MODE } from './session.ts'
import { zooFor } from './zoo.fixture.ts'

const why = noMariadb()
const job: Job = { signal: new AbortController().signal, guard() {}, progress() {} }

const BASE = [
  `CREATE TABLE customers (id int AUTO_INCREMENT PRIMARY KEY, name varchar(50) NOT NULL, city varchar(30) COLLATE utf8mb4_general_ci, score float, UNIQUE KEY (name)) ENGINE=InnoDB CHARSET=utf8mb4`,
  `CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, customer int NOT NULL, total decimal(8,2) NOT NULL DEFAULT 0.00, state enum('new','paid') NOT NULL DEFAULT 'new', data blob, FOREIGN KEY (customer) REFERENCES customers (id)) ENGINE=InnoDB CHARSET=utf8mb4`,
  'CREATE TABLE visits (page varchar(20), at datetime) ENGINE=InnoDB CHARSET=utf8mb4',
  'CREATE SEQUENCE numbers START WITH 100 CACHE 10',
  `INSERT INTO customers (name, city, score) VALUES ('Ada', 'london', 16777217), ('Grace', 'Arlington', 0.5), ('Emmy', 'Erlangen', 1)`,
  `INSERT INTO orders (customer, total, data) VALUES (1, 5.00, 0x00ff), (1, 15.50, NULL), (2, 25.00, '')`,
  `INSERT INTO visits VALUES ('/', '2026-01-01'), ('/', '2026-01-01'), ('/a', '0000-00-00')`,
]
const MIGRATION = [
  'ALTER TABLE orders ADD COLUMN discount decimal(8,2) NULL, MODIFY total decimal(12,2) NOT NULL DEFAULT 0.00',
  'ALTER TABLE orders ADD COLUMN note varchar(20)',
  "UPDATE customers SET city = UPPER(city) WHERE name = 'Emmy'",
]
const WRITES = [
  "INSERT INTO customers (name, city) VALUES ('Katherine', 'Hampton')",
  'INSERT INTO orders (customer, total, discount, data) VALUES (4, 99.90, 9.90, 0x27005c)',
  'INSERT INTO orders (customer, total) VALUES (1, 12345678.00)',
  "UPDATE customers SET city = 'London' WHERE id = 1",
  'UPDATE customers SET score = 0.100000001 WHERE id = 2',
  'UPDATE customers SET score = 16777218 WHERE id = 1',
  "UPDATE orders SET state = 'paid' WHERE id = 1",
  'DELETE FROM orders WHERE id = 3',
  "INSERT INTO visits VALUES ('/new', '2026-02-02')",
  "DELETE FROM visits WHERE page = '/' LIMIT 1",
  'DO NEXTVAL(numbers)',
]

describe.skipIf(why !== null)(
  `C14: data is carried forward on MariaDB${why === null ? '' : ` (skipped: ${why})`}`,
  () => {
    let server: Mariadb
    let other: Mariadb
    let dir: string
    const access = (on: Mariadb): Access => ({
      server: mysqlSettings.parse({ socket: on.socket, user: 'root', database: 'shop' }),
      baseDir: '/',
      connectLimit: 5_000,
      busyLimit: 2_000,
      own: new Set(),
    })
    const make = async (on: Mariadb, database: string, ...statements: readonly string[]) =>
      on.sql(
        `DROP DATABASE IF EXISTS ${database}`,
        `CREATE DATABASE ${database} CHARACTER SET utf8mb4`,
        `USE ${database}`,
        "SET sql_mode = 'ALLOW_INVALID_DATES', foreign_key_checks = 0",
        ...statements,
      )
    const schemaOf = (image: Pick<Image, 'reading'>) => image.reading(job.signal, db => db.schema())

    beforeAll(async () => {
      ;[server, other] = await Promise.all([mariadb(), mariadb()])
    })
    afterAll(async () => {
      await Promise.all([server, other].map(s => s?.dispose()))
    })
    beforeEach(async () => {
      dir = await mkdtemp(join(tmpdir(), 'backout-mysql-'))
      return () => rm(dir, { recursive: true, force: true })
    })

    /** `where`: the server that holds the images. */
    const source = async (where: Mariadb): Promise<CarrySource> => {
      await make(server, 'shop', ...BASE)
      await make(where, 'shop_base', ...BASE)
      await make(where, 'shop_migrated', ...BASE, ...MIGRATION)
      await make(where, 'shop_theirs', ...BASE, ...MIGRATION, ...WRITES)
      const engine = mysqlEngine(mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'shop' }), '/')
      const elsewhere = access(where)
      const images: Images = {
        base: imageOf(elsewhere, 'shop_base'),
        theirs: imageOf(elsewhere, 'shop_theirs'),
        migrated: imageOf(elsewhere, 'shop_migrated'),
      }
      return {
        component: 'db',
        run: 'run-1',
        dialect: engine.dialect,
        dir: join(dir, 'carry'),
        images,
        ownWork: false,
        touched: null,
        untold: null,
        renames: [],
        doubts: [],
        schemas: {
          ours: await schemaOf(engine),
          base: await schemaOf(images.base),
          theirs: await schemaOf(images.theirs),
          migrated: images.migrated === null ? null : await schemaOf(images.migrated),
        },
        merging: on => engine.merging(images, on),
      }
    }

    it.each(['the same server', 'another server'])(
      'from images on %s, cell by cell, and the rest stays as it was',
      async where => {
        const from = await source(where === 'the same server' ? server : other)
        const plan = await planCarry(from, NOTHING_SAID, job)
        const outcome = await applyCarry(from, NOTHING_SAID, job, { hash: plan.hash })
        expect(outcome.proof).toMatchObject({ ok: true, listed: 2 })
        const customers = await server.sql(
          'USE shop',
          'SELECT id, name, city, score + 0e0 AS score FROM customers ORDER BY id',
        )
        expect(customers).toEqual([
          { id: 1, name: 'Ada', city: 'London', score: 16777218 },
          { id: 2, name: 'Grace', city: 'Arlington', score: Math.fround(0.100000001) },
          { id: 3, name: 'Emmy', city: 'Erlangen', score: 1 },
          { id: 4, name: 'Katherine', city: 'Hampton', score: null },
        ])
        const orders = await server.sql(
          'USE shop',
          'SELECT id, customer, total, state, HEX(data) AS data FROM orders ORDER BY id',
        )
        expect(orders).toEqual([
          { id: 1, customer: 1, total: '5.00', state: 'paid', data: '00FF' },
          { id: 2, customer: 1, total: '15.50', state: 'new', data: null },
          { id: 4, customer: 4, total: '99.90', state: 'new', data: '27005C' },
        ])
        const visits = await server.sql(
          'USE shop',
          'SELECT page, COUNT(*) AS n FROM visits GROUP BY page ORDER BY page',
        )
        expect(visits).toEqual([
          { page: '/', n: 1 },
          { page: '/a', n: 1 },
          { page: '/new', n: 1 },
        ])
        const [next] = await server.sql(
          'USE shop',
          'INSERT INTO orders (customer) VALUES (1)',
          'SELECT LAST_INSERT_ID() AS id, NEXTVAL(numbers) AS n',
        )
        expect(Number(next?.['id'])).toBe(6)
        expect(Number(next?.['n'])).toBeGreaterThan(100)
        const again = await applyCarry(from, NOTHING_SAID, job)
        expect(again.carried).toBe(0)
        expect(await server.sql(`SHOW DATABASES LIKE 'shop\\\\_backout%'`)).toEqual([])
      },
    )

    it('brings every text of the zoo back to the value that it is of', async () => {
      await make(server, 'zoo', ...(await zooFor(server)))
      const engine = mysqlEngine(mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'zoo' }), '/')
      const { dialect } = engine
      const read = (of: Pick<Image, 'reading'>) =>
        of.reading(job.signal, async db => {
          const schema = await db.schema()
          return { schema, data: await db.fingerprint(schema) }
        })
      const { schema, data } = await read(engine)
      const copies = Object.entries(schema.tables).flatMap(([name, { columns }]) => {
        const own = Object.entries(columns).filter(([, c]) => !c.generated)
        const values = own.map(([c, { type }]) => dialect.value(dialect.text(dialect.quote(c), type), type))
        const table = dialect.table(name)
        const list = own.map(([c]) => dialect.quote(c)).join(', ')
        return [
          `CREATE TABLE ${table} LIKE zoo.${table}`,
          `INSERT INTO ${table} (${list}) SELECT ${values.join(', ')} FROM zoo.${table}`,
        ]
      })
      await make(server, 'zoo_again', `SET SESSION sql_mode = '${WRITE_MODE}', time_zone = '+00:00'`, ...copies)
      const again = await read(imageOf(access(server), 'zoo_again'))
      expect(compareFingerprints(data, again.data)).toEqual([])
      for (const [name, { columns }] of Object.entries(schema.tables)) {
        const unlike = Object.keys(columns).map(c => `(${dialect.differs(dialect.quote(c), dialect.quote(c))})`)
        const sql = `SELECT COUNT(*) AS n FROM ${dialect.table(name)} WHERE ${unlike.join(' OR ')}`
        const [row] = await engine.reading(job.signal, db => db.query(sql))
        expect([name, Number(row?.['n'])]).toEqual([name, 0])
        // What a type makes cheaper says the same of every pair of values.
        const otherwise = Object.entries(columns).map(([c, { type }]) => {
          const [a, b] = [`a.${dialect.quote(c)}`, `b.${dialect.quote(c)}`]
          return `(${dialect.differs(a, b)}) <> (${dialect.differs(a, b, type)})`
        })
        const table = dialect.table(name)
        const pairs = `SELECT COUNT(*) AS n FROM ${table} AS a JOIN ${table} AS b WHERE ${otherwise.join(' OR ')}`
        const [found] = await engine.reading(job.signal, db => db.query(pairs))
        expect([name, Number(found?.['n'])]).toEqual([name, 0])
      }
    })

    it('tells values that differ in what a comparison overlooks', async () => {
      await make(server, 'zoo', ...(await zooFor(server)))
      const engine = mysqlEngine(mysqlSettings.parse({ socket: server.socket, user: 'root', database: 'zoo' }), '/')
      const differing = (a: string, b: string) =>
        engine.reading(job.signal, async db =>
          Number((await db.query(`SELECT ${engine.dialect.differs(a, b)} AS n FROM numbers LIMIT 1`))[0]?.['n']),
        )
      const ci = (text: string) => `(_utf8mb4'${text}' COLLATE utf8mb4_general_ci)`
      expect(await differing(ci('a'), ci('A'))).toBe(1)
      expect(await differing(ci('a'), ci('a '))).toBe(1)
      expect(await differing('CAST(16777217 AS FLOAT)', 'CAST(16777218 AS FLOAT)')).toBe(1)
      expect(await differing('1.0', '1.00')).toBe(1)
      expect(await differing('NULL', '0')).toBe(1)
      expect(await differing('NULL', 'NULL')).toBe(0)
      expect(await differing(ci('a'), `(_utf8mb4'a' COLLATE utf8mb4_unicode_ci)`)).toBe(0)
    })
  },
)
