import { spawn } from 'node:child_process'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it } from 'vitest'
import { played } from '../support/merge.ts'
import { dumpOf, soundness } from '../support/merge-oracle.ts'

const rows = (from: number, to: number) =>
  `WITH RECURSIVE s(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM s WHERE i < ${to})`

/** Runs the fixture; kills it once it has told of so many batches. Answers its last line. */
async function run(dir: string, ours: string, killAt: number): Promise<string> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'killed.fixture.ts'), dir, ours], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let batches = 0
  let last = ''
  for await (const line of createInterface({ input: child.stdout })) {
    last = line
    if (line.startsWith('carrying rows') && ++batches === killAt) child.kill('SIGKILL')
  }
  return last
}

it('ends the same after SIGKILL in the middle of it, again and again', async () => {
  const { dir, ours } = played({
    base: `CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE orders (id INTEGER PRIMARY KEY, user_id INTEGER REFERENCES users(id), total INTEGER);
      CREATE TABLE log (line TEXT); ${rows(1, 500)} INSERT INTO users SELECT i, 'u' || i FROM s; ${rows(1, 2000)} INSERT INTO orders SELECT i, i % 500 + 1, i FROM s;
      INSERT INTO log VALUES ('a'), ('a')`,
    writes: `${rows(501, 900)} INSERT INTO users SELECT i, 'n' || i FROM s; ${rows(2001, 4000)} INSERT INTO orders SELECT i, i % 900 + 1, i FROM s;
      UPDATE orders SET total = -total WHERE id % 2 = 0; DELETE FROM orders WHERE id % 7 = 0 AND id < 2000; INSERT INTO log SELECT 'l' || (id % 300) FROM orders`,
    after: `UPDATE orders SET total = 1 WHERE id = 2; INSERT INTO users VALUES (600, 'taken')`,
  })
  try {
    const whole = join(dir, 'whole.db')
    copyFileSync(ours, whole)
    expect(await run(dir, whole, Infinity)).toBe('end ')
    for (const at of [1, 2, 4, 3]) expect(await run(dir, ours, at)).not.toMatch(/^end/)
    expect(await run(dir, ours, Infinity)).toBe('end ')
    expect(dumpOf(ours, true)).toEqual(dumpOf(whole, true))
    expect(soundness(ours)).toEqual([])
  } finally {
    rmSync(dir, { recursive: true })
  }
}, 120_000)
