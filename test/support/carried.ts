import { expect } from 'vitest'
import { archiveIn } from '../../src/data/carry/archive.ts'
import { type ApplyOptions, applyCarry, type CarryOutcome } from '../../src/data/carry/index.ts'
import { readLines } from '../../src/data/carry/lines.ts'
import { type CarryOptions, NOTHING_SAID } from '../../src/data/carry/options.ts'
import type { ListedRow } from '../../src/data/carry/rows.ts'
import { JOB, type Merge } from './merge.ts'

/** Carries, and reads what is listed; the proof holds. */
export async function carried(
  merge: Merge,
  said: Partial<CarryOptions> = {},
  how: ApplyOptions = {},
  job = JOB,
): Promise<CarryOutcome & { listed: ListedRow[] }> {
  const outcome = await applyCarry(merge.source, { ...NOTHING_SAID, ...said }, job, how)
  expect(outcome.proof.problems).toEqual([])
  const listed: ListedRow[] = []
  for (const part of outcome.archive.parts.filter(p => p.what === 'conflicts')) {
    await readLines(archiveIn(merge.source.dir), part, row => void listed.push(row as ListedRow))
  }
  return { ...outcome, listed }
}

/** Table, key and kind. */
export const kinds = (listed: readonly ListedRow[]) =>
  listed.map(l => `${l.table} ${Object.values(l.key).join()} ${l.kind}`)

export const SHOP = `
  CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT, age INTEGER CHECK (age > 0));
  CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER REFERENCES users(id) ON DELETE CASCADE, total INTEGER);
  INSERT INTO users VALUES (1, 'ann', 'Ann', 30), (2, 'bob', 'Bob', 40), (3, 'cid', 'Cid', 50);
  INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20);`

/** The same shop without what makes a table count by itself. */
export const PLAIN_SHOP = `
  CREATE TABLE users (id INTEGER PRIMARY KEY, email TEXT UNIQUE, age INTEGER CHECK (age > 0));
  CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users(id), total INTEGER);
  INSERT INTO users VALUES (1, 'ann', 30), (2, 'bob', 40);
  INSERT INTO orders VALUES (1, 1, 10), (2, 2, 20);`
